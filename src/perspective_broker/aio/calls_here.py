"""Calls on answers that came home: what a promise was kept with is an object of this program, or no reference here.

The broker has kept the order of these calls, and has the host make them here.
"""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from typing import Final

from ..flavors import Exportable, export_target
from ..flavors.dispatch import find_call
from ..flavors.guard import ordinary
from ..flavors.offer import Sender
from ..ports import Method, Value
from ..session import OutgoingCall, Unready, not_callable, not_run, of_this_call
from .caller import Answer, Caller
from .calls import Promise
from .deadlines import Limit, under
from .faces import face_of
from .held import HeldReference, usable
from .pending import begin, call_of

__all__ = ["call_here"]

#: Methods that run here. A loop holds its tasks weakly, and nothing else holds the task of a one-way call.
_running_here: Final[set[asyncio.Future[Value]]] = set()


def call_here(
    caller: Caller,
    call: OutgoingCall,
    target: Value,
    name: str,
    args: tuple[Value, ...],
    kwargs: dict[str, Value],
) -> None:
    """Call a method of what a promise turned out to be, and tell the broker how that ended.

    Raises:
        Unready: an argument is a promise without an outcome; nothing was called.
        Exception: an argument is a promise that has failed; nothing was called.
    """
    answer = call.answerable
    if any(isinstance(value, Promise) and value.cancelled() for value in (*args, *kwargs.values())):
        caller.outgoing.cancel(call)
        if answer is not None:
            answer.abandon()
        return
    args = tuple(map(_settled, args))
    kwargs = {key: _settled(value) for key, value in kwargs.items()}
    limit = answer.deadline if isinstance(answer, Answer) else None
    if limit is None:
        _run_here(caller, call, target, name, args, kwargs)
        return
    # The broker runs in a context of its own, and the block may have been left meanwhile.
    context = copy_context()
    context.run(under.set, Limit(caller.loop, limit.when))
    context.run(_run_here, caller, call, target, name, args, kwargs)


def _settled(value: Value) -> Value:
    """Return the answer that is meant by an argument which is a promise; any other argument as it is."""
    if not isinstance(value, Promise):
        return value
    if not value.done():
        raise Unready(call_of(value))
    error = value.exception()
    if isinstance(error, Exception):
        raise not_run(error)
    return value.result()


def _run_here(
    caller: Caller,
    call: OutgoingCall,
    target: Value,
    name: str,
    args: tuple[Value, ...],
    kwargs: dict[str, Value],
) -> None:
    method: Method | None = None  # of an object of this program
    sender: Sender | None = None
    try:
        result: Value
        if isinstance(target, HeldReference):
            there = usable(target)
            result = begin(Promise(loop=there.loop), there, target, name, args, kwargs)
        elif isinstance(target, Exportable):  # one of our own objects came home
            method, (received, named, sender) = find_call(export_target(target, None), name, args, kwargs)
            if (face := face_of(caller.loop)) is not None:
                method = face.method(method, received, named)
            result = method(*received, **named)
        else:
            raise not_callable(target)
        if not hasattr(type(result), "__await__"):
            caller.outgoing.ended_here(call, result if sender is None else sender.send(result), None)
            return
        running = call.handle = asyncio.ensure_future(result)
        _running_here.add(running)
    except BaseException as raised:  # the method's, or a hook's
        error = ordinary(raised)
        if not isinstance(error, Exception):
            raise
        caller.outgoing.ended_here(call, None, of_this_call(error, method is not None))
        return

    def ended(running: asyncio.Future[Value]) -> None:
        call.handle = None
        _running_here.discard(running)
        if running.cancelled():
            answer = call.answerable
            caller.outgoing.cancel(call)
            if answer is not None:
                answer.abandon()
            return
        raised = running.exception()
        if raised is None:
            value = running.result()
            try:
                value = value if sender is None else sender.send(value)
            except Exception as unsent:
                raised = unsent
            else:
                caller.outgoing.ended_here(call, value, None)
                return
        error = ordinary(raised)
        if not isinstance(error, Exception):
            error = RuntimeError()
        if method is not None:  # otherwise it is the error of this call, by way of another connection
            error = of_this_call(error, True)
        caller.outgoing.ended_here(call, None, error)

    running.add_done_callback(ended)
