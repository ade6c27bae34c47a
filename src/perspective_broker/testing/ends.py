"""One end of a connection without an event loop: a broker and its host, which runs methods where they are called."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..dialects.offer import negotiate
from ..errors import BadArguments, NoSuchMethod
from ..flavors import Exportable, Observer, Policy, Reference, Registry, default_registry, export_target
from ..flavors.dispatch import blame, find_call
from ..limits import Limits
from ..ports import Deadline, Method, ObjectId, Perspective, Value
from ..session import (
    Broker,
    CloseCause,
    Host,
    IncomingCall,
    OutgoingCall,
    Unready,
    not_run,
    of_this_call,
)

__all__ = ["Cancelled", "Clock", "End", "Later", "Outcome", "SansIOObserver", "SansIOReference"]


class Cancelled(Exception):
    """How an :class:`Outcome` ends that was given up."""


class Clock:
    """The time of both ends, in seconds. It stands still until it is moved."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now


class Outcome:
    """How one call of ours ended, or that it has not. What :meth:`SansIOReference.call` returns.

    Args:
        deadline: when its caller gives it up, if it does.

    Attributes:
        done: whether it has ended.
        value: the answer, when it has and went well.
        error: the exception, when it has and did not.
        cancelled: whether it was given up.
        when_done: called when it has ended.
    """

    def __init__(self, deadline: Deadline | None = None) -> None:
        self.deadline = deadline
        self.when_done: Callable[[], object] | None = None
        self.done: bool = False
        self.value: Any = None
        self.error: Exception | None = None
        self.cancelled: bool = False
        self._broker: Broker | None = None
        self._call: OutgoingCall | None = None

    def succeed(self, value: Any) -> None:
        assert not self.done, "a call ends exactly once"
        self.done, self.value = True, value
        self._tell()

    def fail(self, error: Exception) -> None:
        assert not self.done, "a call ends exactly once"
        self.done, self.error = True, error
        self._tell()

    def _tell(self) -> None:
        if self.when_done is not None:
            self.when_done()

    def abandon(self) -> None:
        assert not self.done, "a call ends exactly once"
        self.done = self.cancelled = True
        self.error = Cancelled("a call that this one depends on was given up")
        self._tell()

    def cancel(self) -> None:
        """Give the call up."""
        if self.done:  # a call on a promise that has failed was never made
            return
        assert self._broker is not None
        assert self._call is not None
        self.done = self.cancelled = True
        self.error = Cancelled("the call was given up")
        self._broker.outgoing.cancel(self._call)

    def call(self, name: str, /, *args: Any, **kwargs: Any) -> Outcome:
        """Call a method of what the answer will be, without waiting for it where the dialect can."""
        outcome = Outcome(self.deadline)
        outcome._broker = broker = self._broker
        assert broker is not None
        if not self.done:
            assert self._call is not None
            outcome._call = broker.outgoing.call_answer(self._call, name, args, kwargs, outcome)
        elif self.error is not None:
            outcome.fail(not_run(self.error))
        elif isinstance(self.value, SansIOReference):
            return self.value.call(name, *args, **kwargs)
        else:
            outcome._call = broker.outgoing.call_here(self.value, name, args, kwargs, outcome)
        return outcome

    def tell(self, name: str, /, *args: Any, **kwargs: Any) -> None:
        """The same without an answer."""
        assert self._broker is not None
        assert self._call is not None
        assert not self.done
        self._broker.outgoing.call_answer(self._call, name, args, kwargs, None)

    def result(self) -> Any:
        """Return the answer, or raise what the call failed with; AssertionError when it has not ended."""
        assert self.done, "the call has not ended"
        if self.error is not None:
            raise self.error
        return self.value

    def __repr__(self) -> str:
        state = "pending" if not self.done else repr(self.error if self.error is not None else self.value)
        return f"<Outcome {state}>"


class Later:
    """Returned by a method under test: the answer comes when the test says so.

    Attributes:
        cancelled: whether the broker stopped the method because nobody waits for it any more.
    """

    def __init__(self) -> None:
        self.cancelled: bool = False
        self._end: End | None = None
        self._call: IncomingCall | None = None

    def answer(self, value: Any = None) -> None:
        """End the method by returning ``value``."""
        end, call = self._take()
        end.broker.incoming.answer_call(call, value)

    def fail(self, error: BaseException) -> None:
        """End the method by raising ``error``."""
        end, call = self._take()
        end.broker.incoming.fail_call(call, error)

    def _begin(self, end: End, call: IncomingCall) -> None:
        self._end, self._call = end, call
        call.handle = self
        end.running.append(self)

    def _take(self) -> tuple[End, IncomingCall]:
        end, call = self._end, self._call
        assert end is not None, "the method was not called yet, or has ended"
        assert call is not None
        self._end = self._call = None
        if self in end.running:
            end.running.remove(self)
        return end, call


class SansIOReference(Reference):
    """A reference of one :class:`End`: calls are encoded at once and carried when the link is told to."""

    __slots__ = ("__weakref__", "_end")

    def __init__(self, end: End, luid: ObjectId, perspective: Perspective) -> None:
        super().__init__(end.broker, luid, perspective)
        self._end = end

    def call(self, name: str, /, *args: Value, **kwargs: Value) -> Outcome:
        """Call a method; the outcome is filled in when the answer has been carried back."""
        outcome = Outcome(self._end.deadline)
        outcome._broker = broker = self._end.broker
        outcome._call = broker.outgoing.call(self, name, args, kwargs, outcome)
        return outcome

    def tell(self, name: str, /, *args: Value, **kwargs: Value) -> None:
        """Call a method that sends no answer."""
        self._end.broker.outgoing.tell(self, name, args, kwargs)

    def release(self) -> None:
        """Give the reference back now."""
        self._end.broker.importer.release(self)


class SansIOObserver(Observer):
    """The far end of a replica, as a cacheable object of one :class:`End` sees it."""

    __slots__ = ("_end",)

    def __init__(self, end: End, luid: int, perspective: Perspective) -> None:
        super().__init__(end.broker, luid, perspective)
        self._end = end

    def call(self, name: str, /, *args: Value, **kwargs: Value) -> Outcome:
        """Call ``observe_<name>`` of the replica."""
        outcome = Outcome()
        outcome._broker = broker = self._end.broker
        outcome._call = broker.outgoing.update(self, name, args, kwargs, outcome)
        return outcome

    def tell(self, name: str, /, *args: Value, **kwargs: Value) -> None:
        """Call ``observe_<name>`` of the replica and ask for no answer."""
        self._end.broker.outgoing.update(self, name, args, kwargs, None)


class End(Host):
    """One side of a :class:`BrokerPair`: a broker and its host, which runs methods where they are called.

    A method that returns a :class:`Later` is answered when the test resolves it; any other is answered at once.

    Attributes:
        broker: the protocol machine.
        running: the :class:`Later` answers not given yet, oldest first.
        invoked: names of the methods that were started, in order.
        cause: why the connection ended; None while it lives.
        defect: the exception in the broker that ended it; None when none did.
        woken: whether the broker asked to be looked at.
        opened: how often it said that calls may begin.
        deadline: when the calls that are made here are given up; None for never.
        said_last: whether the broker says nothing more.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        server: bool,
        root: Exportable | None = None,
        limits: Limits | None = None,
        registry: Registry | None = None,
        policy: Policy | None = None,
        dialects: Iterable[str] | None = None,
        unsafe_tracebacks: bool = False,
    ) -> None:
        limits = limits or Limits()
        self.clock = clock
        self.running: list[Later] = []
        self.invoked: list[str] = []
        self.cause: CloseCause | None = None
        self.defect: BaseException | None = None
        self.woken: bool = False
        self.opened: int = 0
        self.deadline: Deadline | None = None
        self.blocked: bool = False
        self.said_last: bool = False
        self.broker: Broker = Broker(self, limits, clock.now, unsafe_tracebacks=unsafe_tracebacks)
        if root is not None:
            self.broker.tables.exports.name("root", root)
        self.broker.start(
            negotiate(
                self.broker.receiver,
                self.broker.exporter,
                self.broker.importer,
                server=server,
                limits=limits,
                registry=registry or default_registry,
                policy=policy or Policy(),
                dialects=dialects,
            )
        )

    @property
    def root(self) -> SansIOReference:
        """The reference to the peer's root object."""
        reference = self.broker.root()
        assert isinstance(reference, SansIOReference)
        return reference

    @property
    def code(self) -> str:
        """Why the connection ended, as a short word; ``""`` while it lives."""
        return "" if self.cause is None else self.cause.code

    def receive(self, data: bytes) -> None:
        """Take bytes from the peer and act on them.

        Raises:
            AssertionError: the broker met an exception that it does not expect, here or before.
        """
        self.broker.receive_data(data, self.clock.now)
        self.turn()

    def turn(self) -> None:
        """Act on everything that has come, as far as the broker will."""
        self.woken = False
        while self.broker.process(64, self.clock.now):
            pass
        self.check()

    def take(self) -> bytes:
        """Return what the broker has to say now, as a driver would write it."""
        data = b"" if self.blocked else b"".join(self.broker.data_to_send())
        self.check()
        return data

    def check(self) -> None:
        """Assert that the broker has met no exception that it does not expect. (It ends its connection then.)"""
        if self.defect is not None:
            raise AssertionError("the core raised") from self.defect

    def set_blocked(self, blocked: bool) -> None:
        """Let the transport be full, or not any more."""
        self.blocked = blocked
        self.broker.set_blocked(blocked, self.clock.now)

    # -- Host

    def invoke(
        self, call: IncomingCall, method: Method, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        self._alive()
        self.invoked.append(call.name)
        try:
            result = method(*args, **kwargs)
        except TypeError as error:
            self.broker.incoming.fail_or_refuse(call, blame(error, call.name, method, args, kwargs))
            return
        except Exception as error:
            self.broker.incoming.fail_call(call, error)
            return
        if isinstance(result, Later):
            result._begin(self, call)
        else:
            self.broker.incoming.answer_call(call, result)

    def cancel(self, call: IncomingCall) -> None:
        self._alive()
        later = call.handle
        if later is not None:
            later.cancelled = True

    def adapt(self, value: Any) -> Any:
        if not isinstance(value, Outcome):
            return value
        if value.done:
            return self._settled(value)
        assert value._call is not None
        return self.broker.outgoing.mention(value._call)

    def call_here(
        self, call: OutgoingCall, target: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        args = tuple(self._settled(arg) for arg in args)
        kwargs = {key: self._settled(arg) for key, arg in kwargs.items()}
        if not isinstance(target, Exportable):
            error = TypeError(f"a {type(target).__name__} cannot be called")
            self.broker.outgoing.ended_here(call, None, of_this_call(error, False))
            return
        where = export_target(target, None)
        self.invoked.append(name)
        try:
            method, (received, named, sender) = find_call(where, name, args, kwargs)
            value = method(*received, **named)
            if sender is not None:
                value = sender.send(value)
        except Exception as raised:
            self.broker.outgoing.ended_here(
                call, None, of_this_call(raised, not isinstance(raised, (BadArguments, NoSuchMethod)))
            )
        else:
            self.broker.outgoing.ended_here(call, value, None)

    def _settled(self, arg: Any) -> Any:
        """Return what an argument of a call that is made here is: the answer, for one that is promised."""
        if not isinstance(arg, Outcome):
            return arg
        if not arg.done:
            assert arg._call is not None
            raise Unready(arg._call)
        if arg.error is not None:
            raise not_run(arg.error)
        return arg.result()

    def cancel_here(self, call: OutgoingCall) -> None:
        raise AssertionError("a method here has ended when it is called")

    def on_closing(self) -> None:
        self._alive()

    def on_last_message(self) -> None:
        self.said_last = True

    def on_draining(self) -> None:
        self._alive()

    def on_deadline(self) -> None:
        self._alive()

    def make_reference(self, luid: ObjectId, perspective: Perspective) -> SansIOReference:
        self._alive()
        return SansIOReference(self, luid, perspective)

    def make_observer(self, luid: int, perspective: Perspective) -> SansIOObserver:
        self._alive()
        return SansIOObserver(self, luid, perspective)

    def wake(self) -> None:
        self.woken = True

    def wake_from_anywhere(self) -> None:
        self.woken = True

    def on_open(self) -> None:
        self._alive()
        self.opened += 1

    def on_closed(self, cause: CloseCause) -> None:
        self._alive()
        self.cause = cause
        if cause.code == "internal" and not cause.clean:  # by a farewell it is the peer's
            self.defect = sys.exception() or RuntimeError(cause.reason)

    def _alive(self) -> None:
        assert self.cause is None, "a host is not called after on_closed"
