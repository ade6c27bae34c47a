"""From operations to bytes: what a session asks of the writing half of a dialect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum

from ..errors import UsageError
from ..limits import Limits
from ..native import mypyc_attr
from .values import CallTarget, Message, Perspective, Rank, Value

__all__ = ["Feature", "Unsupported", "Writer"]


class Feature(Enum):
    """An operation, or a group of them, that not every dialect has. Each names the methods that it stands for."""

    #: ``encode_cancel``
    CANCEL = "cancel"
    #: the peer answers calls of ``pb:describe`` (:mod:`perspective_broker.flavors.describing`)
    DESCRIBE = "describe"
    #: ``encode_due``
    DEADLINES = "deadlines"
    #: ``encode_farewell``, ``encode_draining``
    FAREWELL = "farewell"
    #: values of more types, see :mod:`perspective_broker.dialects.pb7.more`
    MORE_VALUES = "more-values"
    #: the peer knows no bound for its calls that have no answer: what is beyond ours waits, and is not refused
    NO_WINDOW = "no-window"
    #: ``speak_as_in_2002``
    OF_2002 = "2002"
    #: ``rank``, ``piece``
    PIECES = "pieces"
    #: the peer passes calls of an answer that is an object of ours on to this side, instead of dropping them
    PASSES_HOME = "passes-home"
    #: ``encode_ping``, ``encode_pong``
    PING = "ping"
    #: ``encode_kept``, ``encode_forget``, ``encode_dropped``, ``object_answered``; targets and values may be a
    #: :class:`~.values.PromisedAnswer`; and of the dialect ``decode_kept``, ``home_in``
    PIPELINING = "pipelining"


class Unsupported(UsageError):
    """A method of a dialect was called that belongs to a feature which the dialect does not have."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Writer:
    """How operations of this side become bytes: one instance per connection, owned by its dialect.

    Encoding raises :class:`~perspective_broker.errors.SerializationError` or whatever the application's own hooks
    raise, and then has left nothing behind. Methods of a feature that the dialect does not have raise
    :class:`Unsupported`.

    Args:
        name: of the dialect.
        features: what it can do beyond what every dialect can.
        frames: whether messages pass through :meth:`frame` when they leave.
    """

    def __init__(self, name: str, features: frozenset[Feature], frames: bool = False) -> None:
        self.name = name
        self.features: frozenset[Feature] = features
        self.frames: bool = frames

    def frame(self, messages: Sequence[bytes | memoryview]) -> list[bytes | memoryview]:
        """Return the bytes of messages that leave now, in this order. Asked only of a dialect that ``frames``."""
        raise NotImplementedError

    def has(self, feature: Feature) -> bool:
        """Return whether the dialect has a feature, and the peer understands it."""
        return feature in self.features

    def use_features(self, features: frozenset[Feature]) -> None:
        """Set the features that the peer understands."""
        self.features = features

    def use_limits(self, limits: Limits) -> None:
        """The peer is taken to accept what ``limits`` allow."""
        raise NotImplementedError

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
        raise self.lacks(Feature.CANCEL)

    # -- Feature.DEADLINES

    def encode_due(self, message: Message, seconds: float) -> Message:
        """Return a call of ours with the time that its caller leaves it; unchanged when that is too long to encode."""
        raise self.lacks(Feature.DEADLINES)

    # -- Feature.FAREWELL

    def encode_farewell(self, code: str, reason: str) -> bytes:
        """Return the last message of a connection that this side ends."""
        raise self.lacks(Feature.FAREWELL)

    def encode_draining(self) -> bytes:
        """Return the notice that this side takes no new calls."""
        raise self.lacks(Feature.FAREWELL)

    # -- Feature.OF_2002

    def speak_as_in_2002(self) -> None:
        """Write from now on nothing that a program of 2002 cannot read; reading does not change."""
        raise self.lacks(Feature.OF_2002)

    # -- Feature.PIECES

    def rank(self, message: Message) -> tuple[Rank, int]:
        """Return what a message of ours may pass on its way out, and the request that it is or is about; 0 for none."""
        raise self.lacks(Feature.PIECES)

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
        raise self.lacks(Feature.PIECES)

    # -- Feature.PING

    def encode_ping(self, payload: bytes) -> bytes:
        """Return a ping; the peer sends ``payload``, at most 125 bytes, back as a pong."""
        raise self.lacks(Feature.PING)

    def encode_pong(self, payload: bytes) -> bytes:
        """Return the answer to a ping."""
        raise self.lacks(Feature.PING)

    # -- Feature.PIPELINING

    def encode_kept(self, message: Message) -> Message:
        """Return a call of ours with the wish that its answer be kept until :meth:`encode_forget`."""
        raise self.lacks(Feature.PIPELINING)

    def encode_forget(self, request: int) -> bytes:
        """Return the notice that no further message will refer to a kept answer."""
        raise self.lacks(Feature.PIPELINING)

    def encode_dropped(self, request: int, because: int) -> bytes:
        """Return the notice that a call of the peer was not run because of the answer to another one."""
        raise self.lacks(Feature.PIPELINING)

    def object_answered(self, message: Message) -> int | None:
        """Return the id of our object that an answer of ours is; None when the answer is anything else."""
        raise self.lacks(Feature.PIPELINING)

    def lacks(self, feature: Feature) -> Unsupported:
        """Return the error of a method whose feature the dialect does not have."""
        return Unsupported(f"the dialect {self.name} has no {feature.value}")
