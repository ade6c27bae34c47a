"""Bytes and operations: what a session asks of a dialect, and where a dialect delivers the peer's operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from types import MappingProxyType
from typing import Final

from ..errors import UsageError
from ..limits import Limits
from ..native import mypyc_attr
from .codec import Importer
from .values import CallTarget, Data, Message, ObjectId, Perspective, Rank, Undecoded, Value

__all__ = ["DELIVERED", "NEEDS_DATA", "READING", "Dialect", "Feature", "Receiver", "Unsupported"]

#: What :meth:`Dialect.next_message` has done (integers, because every message returns one).
NEEDS_DATA: Final = 0
DELIVERED: Final = 1
READING: Final = 2


class Feature(Enum):
    """An operation, or a group of them, that not every dialect has. Each names the methods that it stands for."""

    #: ``encode_cancel``
    CANCEL = "cancel"
    #: ``encode_due``
    DEADLINES = "deadlines"
    #: ``encode_farewell``, ``encode_draining``
    FAREWELL = "farewell"
    #: ``speak_as_in_2002``
    OF_2002 = "2002"
    #: ``rank``, ``piece``, ``forget_unfinished``
    PIECES = "pieces"
    #: ``encode_ping``, ``encode_pong``
    PING = "ping"
    #: ``encode_kept``, ``encode_forget``, ``encode_dropped``, ``object_answered``, ``decode_kept``, ``home_in``;
    #: targets and values may be a :class:`~.values.PromisedAnswer`
    PIPELINING = "pipelining"


class Unsupported(UsageError):
    """A method of a dialect was called that belongs to a feature which the dialect does not have."""


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
        """The peer ends the connection, and says why."""
        raise NotImplementedError

    def on_draining(self) -> None:
        """The peer takes no new calls and will end the connection soon."""
        raise NotImplementedError

    def on_complaint(self, text: str) -> None:
        """The peer says that it did not understand something; it goes on."""
        raise NotImplementedError

    def send(self, data: Message) -> None:
        """Queue bytes that the dialect sends by itself (its greeting, a complaint)."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class Dialect:
    """How operations become bytes and back: one instance per connection, owned by its broker.

    Decoding raises nothing but :class:`~perspective_broker.errors.ProtocolError` and, where its method says so,
    :class:`~perspective_broker.errors.CallError`. Encoding raises
    :class:`~perspective_broker.errors.SerializationError` or whatever the application's own hooks raise, and then has
    left nothing behind. Methods of a feature that a dialect does not have raise :class:`Unsupported`.

    Args:
        name: of the dialect.
        features: what it can do beyond what every dialect can. It may grow when the peer says what it understands.

    Attributes:
        unfinished: messages of the peer of which pieces have come but not the last: a number that is used once -> bytes
            so far.
    """

    def __init__(self, name: str, features: frozenset[Feature]) -> None:
        self.name = name
        self.features = features
        self.unfinished: Mapping[int, int] = _NOTHING_UNFINISHED

    def has(self, feature: Feature) -> bool:
        """Return whether the dialect has a feature, and the peer understands it."""
        return feature in self.features

    # -- receiving

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

    # -- sending

    def encode_call(
        self,
        request: int,
        target: CallTarget,
        name: str,
        wants_answer: bool,
        args: tuple[Value, ...],
        kwargs: dict[str, Value],
        perspective: Perspective,
    ) -> Message:
        """Return the message of a call; our objects in it are counted."""
        raise NotImplementedError

    def encode_answer(self, request: int, value: Value, perspective: Perspective) -> Message:
        """Return the message of an answer; our objects in it are counted."""
        raise NotImplementedError

    def encode_error(
        self, request: int, error: BaseException, traceback: bool, perspective: Perspective
    ) -> Message:
        """Return the message of an error, with its traceback or without."""
        raise NotImplementedError

    def encode_releases(self, owed: Mapping[int, int]) -> bytes:
        """Return what gives back counts on the peer's objects: id -> count, at least one."""
        raise NotImplementedError

    def encode_update(
        self,
        request: int,
        luid: int,
        name: str,
        wants_answer: bool,
        args: tuple[Value, ...],
        kwargs: dict[str, Value],
        perspective: Perspective,
    ) -> Message:
        """The same as :meth:`encode_call`, to the peer's replica ``luid``."""
        raise NotImplementedError

    def encode_decache(self, luid: int, count: int) -> bytes:
        """Return what gives back counts on a replica of the peer's object."""
        raise NotImplementedError

    def encode_uncache(self, luid: int) -> bytes:
        """Return the notice that nothing more is sent for the peer's replica."""
        raise NotImplementedError

    # -- Feature.CANCEL

    def encode_cancel(self, request: int) -> bytes:
        """Return the wish that a call of ours be given up; its answer comes all the same."""
        raise self._lacks(Feature.CANCEL)

    # -- Feature.DEADLINES

    def encode_due(self, message: Message, seconds: float) -> Message:
        """Return a call of ours with the time that its caller leaves it; unchanged when that is too long to be said."""
        raise self._lacks(Feature.DEADLINES)

    # -- Feature.FAREWELL

    def encode_farewell(self, code: str, reason: str) -> bytes:
        """Return the last message of a connection that this side ends."""
        raise self._lacks(Feature.FAREWELL)

    def encode_draining(self) -> bytes:
        """Return the notice that this side takes no new calls."""
        raise self._lacks(Feature.FAREWELL)

    # -- Feature.OF_2002

    def speak_as_in_2002(self) -> None:
        """Write from now on nothing that a program of 2002 cannot read; reading does not change."""
        raise self._lacks(Feature.OF_2002)

    # -- Feature.PIECES

    def rank(self, message: Message) -> tuple[Rank, int]:
        """Return what a message of ours may pass on its way out, and the request that it is or is about; 0 for none."""
        raise self._lacks(Feature.PIECES)

    def piece(
        self, message: Message, sent: int, number: int, room: int = 0
    ) -> tuple[list[bytes | memoryview], int]:
        """Return the next piece of a message of ours, header and content, and how much of it is sent then.

        Args:
            message: of which.
            sent: how much of it is sent.
            number: under which its pieces travel.
            room: bytes that may be one piece although it is longer than pieces are.
        """
        raise self._lacks(Feature.PIECES)

    def forget_unfinished(self) -> None:
        """The connection has ended: drop incomplete messages. (Without pieces there are none.)"""

    # -- Feature.PING

    def encode_ping(self, payload: bytes) -> bytes:
        """Return a ping; the peer sends ``payload``, at most 125 bytes, back as a pong."""
        raise self._lacks(Feature.PING)

    def encode_pong(self, payload: bytes) -> bytes:
        """Return the answer to a ping."""
        raise self._lacks(Feature.PING)

    # -- Feature.PIPELINING

    def encode_kept(self, message: Message) -> Message:
        """Return a call of ours with the wish that its answer be kept until :meth:`encode_forget`."""
        raise self._lacks(Feature.PIPELINING)

    def encode_forget(self, request: int) -> bytes:
        """Return the notice that no further message will refer to a kept answer."""
        raise self._lacks(Feature.PIPELINING)

    def encode_dropped(self, request: int, because: int) -> bytes:
        """Return the notice that a call of the peer was not run because of the answer to another one."""
        raise self._lacks(Feature.PIPELINING)

    def object_answered(self, message: Message) -> int | None:
        """Return the id of our object that an answer of ours is; None when the answer is anything else."""
        raise self._lacks(Feature.PIPELINING)

    def decode_kept(self, message: Message, importer: Importer) -> Value:
        """Return the value of an answer of ours, decoded on this side."""
        raise self._lacks(Feature.PIPELINING)

    def home_in(self, arguments: Undecoded) -> tuple[list[ObjectId], list[int]]:
        """Return the ids of our objects, and of replicas of ours, that come home in arguments not decoded yet."""
        raise self._lacks(Feature.PIPELINING)

    def _lacks(self, feature: Feature) -> Unsupported:
        return Unsupported(f"the dialect {self.name} has no {feature.value}")


_NOTHING_UNFINISHED: Final[Mapping[int, int]] = MappingProxyType({})
