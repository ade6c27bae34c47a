"""From bytes to operations: what a session asks of a dialect, and where it delivers the peer's operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ..limits import Limits
from ..native import mypyc_attr
from ..queues import NOTHING
from .codec import Importer
from .values import CallTarget, Data, Message, ObjectId, Perspective, Undecoded, Value
from .writer import Feature, Writer

__all__ = ["DELIVERED", "NEEDS_DATA", "READING", "Dialect", "Receiver"]

#: Results of :meth:`Dialect.next_message` (integers, because every message returns one).
NEEDS_DATA: Final = 0
DELIVERED: Final = 1
READING: Final = 2


@mypyc_attr(allow_interpreted_subclasses=True)
class Receiver:
    """The peer's operations, as a dialect decodes them. Called by the dialect, in the order of the wire.

    ``arguments`` and ``payload`` are the dialect's own half-decoded values. Only after the receiver has found the
    object that is called does it know under which perspective they are decoded, and hands them back to
    :meth:`Dialect.decode_arguments` or :meth:`Dialect.decode_value`.
    """

    def on_dialect(self, dialect: Dialect, rest: bytes) -> None:
        """Both sides have agreed on ``dialect``, which is not opened yet; ``rest`` is the beginning of its input."""
        raise NotImplementedError

    def on_ready(self) -> None:
        """The peer has shown that it speaks the dialect; calls may begin."""
        raise NotImplementedError

    def on_call(
        self,
        request: int,
        target: CallTarget,
        name: str,
        wants_answer: bool,
        arguments: Undecoded,
        keep: bool = False,
        depends_on: Sequence[int] = (),
        seconds: float | None = None,
    ) -> None:
        """A call.

        Args:
            request: the peer's id of it.
            target: the object, or the promised answer, that is called.
            name: of the method.
            wants_answer: False for a one-way call.
            arguments: not decoded yet.
            keep: whether its answer is kept until :meth:`on_forget`.
            depends_on: the calls to whose answers the arguments refer.
            seconds: what the caller leaves the call; None when that is not bounded.
        """
        raise NotImplementedError

    def on_forget(self, request: int) -> None:
        """The answer of that call need not be kept any longer."""
        raise NotImplementedError

    def on_update(self, request: int, luid: int, name: str, wants_answer: bool, arguments: Undecoded) -> None:
        """A call of an ``observe_`` method of our replica ``luid``."""
        raise NotImplementedError

    def on_answer(self, request: int, payload: Undecoded) -> None:
        """A call of ours has ended with a value."""
        raise NotImplementedError

    def on_error(self, request: int, payload: Undecoded) -> None:
        """A call of ours has ended with an error."""
        raise NotImplementedError

    def on_dropped(self, request: int, because: int) -> None:
        """A call of ours was not run, because of the answer to the call ``because``, on which it depends."""
        raise NotImplementedError

    def on_release(self, luid: ObjectId, count: int) -> None:
        """The peer gives back ``count`` of its counts on our object."""
        raise NotImplementedError

    def on_decache(self, luid: int, count: int) -> None:
        """The peer has dropped its replica of our object."""
        raise NotImplementedError

    def on_uncache(self, luid: int) -> None:
        """The owner of a replica of ours will send nothing more for it."""
        raise NotImplementedError

    def on_cancel(self, request: int) -> None:
        """The peer does not wait for the answer any more; it gets one all the same."""
        raise NotImplementedError

    def on_ping(self, payload: bytes) -> None:
        """The peer asks for a pong with the same payload."""
        raise NotImplementedError

    def on_pong(self, payload: bytes) -> None:
        """The peer has answered a ping."""
        raise NotImplementedError

    def on_farewell(self, code: str, reason: str) -> None:
        """The peer ends the connection, with a code and a reason."""
        raise NotImplementedError

    def on_draining(self) -> None:
        """The peer takes no new calls and will end the connection soon."""
        raise NotImplementedError

    def on_complaint(self, text: str) -> None:
        """The peer reports that it did not understand a message; it goes on."""
        raise NotImplementedError

    def send(self, data: Message) -> None:
        """Queue bytes that the dialect sends by itself (its greeting, a complaint)."""
        raise NotImplementedError

    # -- for dialects that keep answers, and settle promises, themselves

    def on_call_of(self, request: int, target: Value, name: str, arguments: Undecoded) -> None:
        """A call, which wants an answer, of an object that the dialect has found by itself.

        Args:
            request: the peer's id of it.
            target: the :class:`~perspective_broker.flavors.Target` that is called.
            name: of the method.
            arguments: not decoded yet.
        """
        raise NotImplementedError

    def send_made(self, make: Callable[[], Message]) -> None:
        """Send what ``make`` encodes, as soon as no other message is being encoded."""
        raise NotImplementedError

    def go_on(self) -> None:
        """Ask for :meth:`Dialect.next_message` soon, although no bytes have come."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class Dialect:
    """How the peer's bytes become operations: one instance per connection, owned by its broker.

    Decoding raises nothing but :class:`~perspective_broker.errors.ProtocolError` and, where its method documents it,
    :class:`~perspective_broker.errors.CallError`.

    Args:
        writer: how operations of this side become bytes.
    """

    def __init__(self, writer: Writer) -> None:
        self.writer = writer

    @property
    def name(self) -> str:
        """The dialect's name."""
        return self.writer.name

    def open(self) -> None:
        """Send the dialect's greeting. Called once, before any data is received."""
        raise NotImplementedError

    def use_limits(self, limits: Limits) -> None:
        """Judge what comes from now on by ``limits`` (before and after a login they differ)."""
        raise NotImplementedError

    def receive_data(self, data: Data) -> None:
        """Keep bytes from the peer. Linear in their number, however they are chopped."""
        raise NotImplementedError

    def next_message(self) -> int:
        """Go on with what has come.

        Returns:
            ``NEEDS_DATA``: more bytes are needed for the next operation; ``DELIVERED``: the receiver was given one;
            ``READING``: a large message is being read, and this was one step of several.

        Raises:
            ProtocolError: the bytes are not this dialect; nothing more may be asked.
        """
        raise NotImplementedError

    @property
    def mid_message(self) -> int:
        """Bytes received of a message that is not complete; 0 between messages."""
        raise NotImplementedError

    @property
    def last_size(self) -> int:
        """Encoded bytes of the message that :meth:`next_message` delivered last."""
        raise NotImplementedError

    @property
    def last_weight(self) -> int:
        """Bytes of memory, or a little more, that the values of the message take which is being delivered."""
        raise NotImplementedError

    def decode_arguments(
        self, arguments: Undecoded, perspective: Perspective
    ) -> tuple[Sequence[Value], Mapping[str, Value]]:
        """Return ``(args, kwargs)``; raises :class:`CallError`."""
        raise NotImplementedError

    def decode_value(self, payload: Undecoded, perspective: Perspective) -> Value:
        """Return the value of an answer; raises :class:`CallError`."""
        raise NotImplementedError

    def decode_error(self, payload: Undecoded, perspective: Perspective) -> Exception:
        """Return (never raise) the exception that an error message stands for."""
        raise NotImplementedError

    @property
    def unfinished(self) -> Mapping[int, int]:
        """Messages of the peer of which pieces have come but not the last: a number that is used once -> bytes so far.

        (Always empty in a dialect without pieces.)
        """
        return NOTHING

    def forget_unfinished(self) -> None:
        """The connection has ended: drop incomplete messages. (Only dialects with pieces have them.)"""

    # -- Feature.PIPELINING

    def decode_kept(self, message: Message, importer: Importer) -> Value:
        """Return the value of an answer of ours, decoded on this side."""
        raise self.writer.lacks(Feature.PIPELINING)

    def home_in(self, arguments: Undecoded) -> tuple[list[ObjectId], list[int]]:
        """Return the ids of our objects, and of replicas of ours, that come home in arguments not decoded yet."""
        raise self.writer.lacks(Feature.PIPELINING)
