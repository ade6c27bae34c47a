"""From the bytes of a call to the method that it runs: its arguments are decoded, and its method is looked up."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ..errors import BadArguments, CallError, LimitExceeded, NoSuchMethod, ProtocolError
from ..flavors import RemoteCache, Target, hears_of_errors, replica_luid, report_unread
from ..flavors.describing import DESCRIBE
from ..flavors.dispatch import find_offered, look_up, no_such_method
from ..ports import Method, Undecoded, Value
from .caches import Replicas, tell_end
from .context import Context
from .incoming_call import IncomingCall
from .replies import Refusal

__all__ = ["CallStarter", "forget", "prepare"]


class CallStarter:
    """Queues, starts and ends calls; :class:`.incoming_calls.IncomingCalls` does it."""

    def queue(self, call: IncomingCall) -> None:
        """Queue a call that is ready."""
        raise NotImplementedError

    def start_queued(self) -> None:
        """Start the queued calls, as far as there are slots."""
        raise NotImplementedError

    def refuse(self, call: IncomingCall, error: Refusal) -> None:
        """End a call before its method could run."""
        raise NotImplementedError

    def fail_call(self, call: IncomingCall, error: BaseException) -> None:
        """End a call with an exception of the application."""
        raise NotImplementedError

    def refuse_begun(self, call: IncomingCall, error: Refusal) -> None:
        """The same as :meth:`refuse` for a call that has its slot."""
        raise NotImplementedError


def prepare(
    context: Context,
    replicas: Replicas,
    calls: CallStarter,
    call: IncomingCall,
    target: Target,
    arguments: Undecoded,
) -> bool:
    """Decode a call and find its method; False when it is over before it began.

    Args:
        context: of the connection.
        replicas: are notified of updates that cannot be decoded.
        calls: is notified of calls that end here.
        call: to be prepared.
        target: that is called.
        arguments: not decoded yet.

    Raises:
        ProtocolError: the arguments break the protocol.
    """
    holder, perspective = target.holder, target.perspective
    try:
        args, call.kwargs = context.dialect.decode_arguments(arguments, perspective)
        offered = None if target.offer is None else target.offer.find(call.name)
        if offered is None:
            method = look_up(holder, target.prefix, call.name)
            if method is None:
                return _may_describe(context, calls, call, target, args)
            call.method = method
        else:
            call.method = find_offered(holder, offered)
            args, call.kwargs, call.sender = offered.receive(args, call.kwargs, context.is_classic)
    except (NoSuchMethod, BadArguments) as error:
        calls.refuse(call, error)
        return False
    except (CallError, LimitExceeded) as error:
        if (
            context.lifecycle.ended
            or not isinstance(error, CallError)
            or not (isinstance(holder, RemoteCache) or hears_of_errors(holder))
        ):
            calls.refuse(call, error)
            return False
        # In its turn, because the calls before it may not have begun, either.
        call.method, call.perspective = (
            partial(_tell_unread, context, replicas, calls, call, holder, error),
            perspective,
        )
        call.forget_arguments()
        return True
    except ProtocolError:
        raise
    except Exception as error:  # of the application: a property that raises, a class that cannot be made
        calls.fail_call(call, error)
        return False
    if context.lifecycle.ended:  # by a hook of the application
        return False
    call.args = (*target.leading, *args) if target.leading else args
    call.perspective = perspective
    return True


def _may_describe(
    context: Context, calls: CallStarter, call: IncomingCall, target: Target, args: Sequence[Value]
) -> bool:
    """Prepare a call for which the object has no method: it is refused, or asks what methods there are."""
    describe: Method | None = None
    if call.name == DESCRIBE and not isinstance(target.holder, RemoteCache):
        describe = context.host.describe(target)
    if describe is None:
        calls.refuse(call, no_such_method(target.holder, call.name))
        return False
    if args or call.kwargs:
        calls.refuse(call, BadArguments(f"{DESCRIBE} takes no arguments"))
        return False
    call.method, call.args = describe, ()
    call.perspective = target.perspective
    return True


def forget(context: Context, arguments: Undecoded) -> None:
    """Decode arguments that no method gets: the references in them are counted, and so released."""
    try:
        context.dialect.decode_arguments(arguments, None)
    except CallError:
        pass


def _tell_unread(
    context: Context,
    replicas: Replicas,
    calls: CallStarter,
    call: IncomingCall,
    holder: Value,
    error: CallError,
) -> None:
    """Notify the object that was to be called that the call could not be decoded."""
    calls.refuse_begun(call, error)
    if context.lifecycle.ended:
        return
    if hears_of_errors(holder):
        report_unread(holder, error)
    elif replicas.spoil(replica_luid(holder)):  # it is not true any more
        tell_end(holder)
