"""Host: what a broker asks of its driver, the half that knows an event loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..flavors import Exportable, Observer, Reference, RemoteCache, Target
from ..native import mypyc_attr
from ..ports import Method, ObjectId, Perspective, Value
from .cause import CloseCause
from .incoming_call import IncomingCall
from .outgoing_call import OutgoingCall

__all__ = ["Host"]


@mypyc_attr(allow_interpreted_subclasses=True)
class Host:
    """A driver, as its broker sees it. Never called after :meth:`on_closed`."""

    # -- the peer's calls

    def invoke(
        self, call: IncomingCall, method: Method, args: Sequence[Value], kwargs: Mapping[str, Value]
    ) -> None:
        """Run a method and report its outcome to ``broker.incoming``, once.

        Methods start in the order in which this is called. The call's ``handle`` is the driver's to use.
        """
        raise NotImplementedError

    def cancel(self, call: IncomingCall) -> None:
        """Stop a running method, because the peer does not wait for it any more; its end is reported like any other."""
        raise NotImplementedError

    def describe(self, target: Target) -> Method | None:
        """Return what answers the peer's question what it can call of ``target``; None when it may not ask."""
        return None

    # -- our calls

    def call_here(
        self, call: OutgoingCall, target: Value, name: str, args: tuple[Value, ...], kwargs: dict[str, Value]
    ) -> None:
        """Call a method of ``target``, to which a promise was kept, and report to ``broker.outgoing.ended_here``, once.

        Raises:
            Unready: an argument is a promise without an outcome; nothing was called.
            Exception: an argument is a promise that has failed; nothing was called.
        """
        raise NotImplementedError

    def cancel_here(self, call: OutgoingCall) -> None:
        """Stop the method that :meth:`call_here` began: its outcome is not wanted any more."""
        raise NotImplementedError

    # -- values

    #: Whether a reference to an object of a third program crosses as what :meth:`adapt` returns for it.
    forwards: bool = False

    def adapt(self, value: Value) -> Value:
        """See :meth:`.Exporter.adapt`; for a promise without an outcome return ``broker.outgoing.mention(...)``."""
        raise NotImplementedError

    def make_reference(self, luid: ObjectId, perspective: Perspective) -> Reference:
        """Return a new reference to the peer's object."""
        raise NotImplementedError

    def make_observer(self, luid: int, perspective: Perspective) -> Observer:
        """Return a new observer for the peer's replica ``luid``."""
        raise NotImplementedError

    # -- turns and time

    def wake(self) -> None:
        """There is something to send, or to do: ask for ``data_to_send`` soon. Called in the loop's thread."""
        raise NotImplementedError

    def write_soon(self) -> None:
        """There is something to send, where there was nothing: ask for ``data_to_send`` soon."""
        self.wake()

    def wake_from_anywhere(self) -> None:
        """The same, from the thread that a finaliser runs in, in the middle of the code that it interrupted."""
        raise NotImplementedError

    def on_deadline(self) -> None:
        """``broker.next_deadline()`` may be earlier than it was."""
        raise NotImplementedError

    # -- events

    def on_agreed(self) -> None:
        """Both sides have agreed on a dialect; the peer has not greeted in it yet."""

    def on_open(self) -> None:
        """Calls may begin."""
        raise NotImplementedError

    def on_replica(self, replica: RemoteCache) -> None:
        """A replica of an object of the peer has arrived, for the first time or again."""

    def on_freed(self, obj: Exportable) -> None:
        """The peer has released an object of ours for good."""

    def on_draining(self) -> None:
        """The peer takes no new calls any more."""
        raise NotImplementedError

    def on_closing(self) -> None:
        """The connection ends in order: no new calls are taken. The driver sees to it that it does end."""
        raise NotImplementedError

    def on_last_message(self) -> None:
        """This side has sent its last message: write it, and end the bytes that are sent. Reading goes on."""
        raise NotImplementedError

    def on_closed(self, cause: CloseCause) -> None:
        """The connection has ended; every call of ours has its outcome already."""
        raise NotImplementedError
