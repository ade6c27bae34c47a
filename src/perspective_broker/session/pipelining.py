"""Promise pipelining: calls that hang on the answer of a call which has none yet.

The caller addresses a call to an answer, or mentions an answer among the arguments, and sends it at once. It marks
the call whose answer that is, and the callee keeps such an answer until it is told to forget it, which the caller
does as soon as it has the answer itself. The callee starts calls in the order in which they came; one that hangs on
an answer which is not there yet waits, and so does what comes behind it.

A call *to* an answer is the callee's business only if the answer is an object of its own. Otherwise (an error, a
value, an object of the caller's) the callee drops the call without a word: the caller, who gets the same answer,
settles it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ..errors import ProtocolError
from ..limits import Limits
from ..ports import ObjectId

__all__ = [
    "NOTHING",
    "Barrier",
    "Hanging",
    "KeptAnswer",
    "KeptAnswers",
    "Mentions",
    "Pipelines",
    "PutOff",
    "Unready",
]


class Unready(Exception):
    """A promise is mentioned whose answer is not known and cannot be kept for us. Never leaves the library.

    Attributes:
        promise: the driver's promise.
    """

    def __init__(self, promise: Any) -> None:
        super().__init__("a promise that is not kept yet")
        self.promise = promise


class Barrier(NamedTuple):
    """In the place of a message that waits: what cannot be made before a promise is kept.

    Attributes:
        ready: whether it can be made now.
        say: makes it; when the connection has ended, tells whom it concerns.
    """

    ready: Callable[[], bool]
    say: Callable[[], None]


class Hanging(NamedTuple):
    """One call of ours that hangs on an answer.

    Attributes:
        request: its id.
        to: whether it is a call *to* the answer; else it only mentions it.
        again: makes the call anew, now that the answer is known, or was an error.
    """

    request: int
    to: bool
    again: Callable[[], None]


class Mentions:
    """What mentions one answer that the peer keeps.

    Attributes:
        hanging: calls of ours that end with it, or may.
        last_place: of the last message that mentions it, among those that wait for room.
    """

    __slots__ = ("hanging", "last_place")

    def __init__(self) -> None:
        self.hanging: list[Hanging] = []
        self.last_place = 0


class Pipelines:
    """The caller's side: which of our calls' answers the peer keeps, and what hangs on them."""

    def __init__(self) -> None:
        self._kept: dict[int, Mentions] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, request: int) -> bool:
        return request in self._kept

    def keep(self, request: int) -> None:
        """The peer has been asked to keep the answer of that call."""
        self._kept[request] = Mentions()

    def mentioned(self, on: int, place: int, hanging: Hanging | None = None) -> None:
        """A message that mentions an answer which is kept was sent, or waits at ``place``; see :class:`Questions`."""
        mentions = self._kept[on]
        mentions.last_place = place
        if hanging is not None:
            mentions.hanging.append(hanging)

    def answered(self, request: int) -> Mentions | None:
        """The answer has come: return what mentions it; None when the peer was not asked to keep it."""
        return self._kept.pop(request, None)

    def clear(self) -> None:
        """The connection has ended."""
        self._kept.clear()


class KeptAnswer(NamedTuple):
    """An answer of ours that the peer may still refer to.

    Attributes:
        good: whether it is a value, not an error.
        value: it.
        perspective: under which it was sent.
        size: encoded bytes.
    """

    good: bool
    value: Any
    perspective: Any
    size: int


#: What is kept of an answer that is an error, or of a call that was dropped.
NOTHING = KeptAnswer(False, None, None, 0)


class KeptAnswers:
    """The callee's side: the answers that the peer has asked us to keep."""

    def __init__(self) -> None:
        self._answers: dict[int, KeptAnswer | None] = {}  # None until the method has ended
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._answers)

    def __contains__(self, request: int) -> bool:
        return request in self._answers

    def promise(self, request: int, limits: Limits) -> None:
        """A call has come whose answer is to be kept.

        Raises:
            ProtocolError: too many are kept, or too large ones, or one under that id.
        """
        if request in self._answers:
            raise ProtocolError("duplicate-id", "a request id was used again before its answer was forgotten")
        if len(self._answers) >= limits.references_exported or self._bytes > 4 * limits.message_bytes:
            raise ProtocolError("limit-kept", "too many answers, or too large ones, are to be kept")
        self._answers[request] = None

    def keep(self, request: int, answer: KeptAnswer) -> None:
        """The call has ended; nothing is kept when its answer is not wanted (any more)."""
        if request in self._answers:
            self._answers[request] = answer
            self._bytes += answer.size

    def check(self, requests: Iterable[int]) -> None:
        """Judge what a call says it hangs on.

        Raises:
            ProtocolError: an answer that nobody keeps.
        """
        for request in requests:
            if request not in self._answers:
                raise ProtocolError("bad-id", "a call hangs on an answer that is not kept")

    def all_known(self, requests: Iterable[int]) -> bool:
        """Whether there are all of these answers."""
        return all(self._answers.get(request) is not None for request in requests)

    def known(self, request: int) -> KeptAnswer | None:
        """Return an answer, or None while there is none."""
        return self._answers.get(request)

    def forget(self, request: int) -> bool:
        """The peer has the answer now; False when it was not kept."""
        if request not in self._answers:
            return False
        answer = self._answers.pop(request)
        if answer is not None:
            self._bytes -= answer.size
        return True

    def clear(self) -> None:
        """The connection has ended."""
        self._answers.clear()
        self._bytes = 0


class PutOff:
    """What the peer gave back behind calls that could not be decoded yet: these may still mention it.

    Kept by what it is about: whoever gives one thing back many times costs one entry.
    """

    def __init__(self) -> None:
        self.releases: dict[ObjectId, int] = {}
        self.decaches: dict[int, int] = {}
        self.forgotten: dict[int, None] = {}
        self.messages = 0  #: that said so

    def add(self, other: PutOff) -> None:
        """Take over what was put off behind another call."""
        for luid, count in other.releases.items():
            self.releases[luid] = self.releases.get(luid, 0) + count
        for replica, count in other.decaches.items():
            self.decaches[replica] = self.decaches.get(replica, 0) + count
        self.forgotten.update(other.forgotten)
        self.messages += other.messages
