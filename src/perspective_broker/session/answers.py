"""The answers that the peer has asked us to keep, because calls of its own depend on them.

What is kept is the encoded answer with the objects that its ids mean, or a mark that it was an error. As the target
of a call it is the object that it was; as an argument it is decoded anew for each call, as if the caller had sent
back what it got. So what went by value stays a value of its own, and is charged by the bytes that it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import DecodeError, LimitExceeded, ProtocolError, UnknownObject
from ..flavors import Cacheable, Reference, RemoteCache, Target
from ..limits import Limits
from ..ports import Message, NullPort, ObjectId
from .memory import Memory

if TYPE_CHECKING:
    from .serving import IncomingCall

__all__ = ["KeptAnswer", "KeptAnswers", "Mentioned", "Pins"]


class Pins(NullPort):
    """Objects that ids mean, held so that they mean the same later, whatever is given back meanwhile.

    It is the :class:`~perspective_broker.ports.Importer` of an answer that is decoded by the side that encoded it.

    Attributes:
        objects: ours, by the id under which the peer has them.
        references: to the peer's objects, by their id.
        caches: our cacheables, by their replica's id.
        replicas: of the peer's cacheables, by their id.
    """

    def __init__(self) -> None:
        self.objects: dict[ObjectId, Any] = {}
        self.references: dict[ObjectId, Reference] = {}
        self.caches: dict[int, Cacheable] = {}
        self.replicas: dict[int, RemoteCache] = {}

    def local_object(self, luid: ObjectId) -> Any:
        return _found(self.objects.get(luid))

    def import_reference(self, luid: ObjectId, perspective: Any) -> Any:
        return _found(self.references.get(luid))

    def import_named(self, name: str) -> Any:
        return _found(self.references.get(name))

    def local_cache(self, luid: int) -> Any:
        return _found(self.caches.get(luid))

    def import_cache(self, luid: int) -> Any:
        return _found(self.replicas.get(luid))


def _found(value: Any) -> Any:
    if value is None:
        raise UnknownObject("an answer mentions what it did not hold")
    return value


class KeptAnswer:
    """One answer of ours that the peer may still refer to.

    Attributes:
        request: the call's.
        is_known: whether the call has ended.
        is_forgotten: whether the peer will mention it no more, although calls wait for it.
        message: the answer as it was sent; None of an error.
        pins: the objects that it mentions.
        target: what calls to it reach; None when it is no object of ours.
        error: in its place, for a call that depends on it: the answer is too much to be kept.
        dependents: calls of the peer that wait for it, in the order in which they came.
        size: bytes as which it counts.
    """

    __slots__ = (
        "dependents",
        "error",
        "is_forgotten",
        "is_known",
        "message",
        "pins",
        "request",
        "size",
        "target",
    )

    def __init__(self, request: int) -> None:
        self.request = request
        self.is_known = False
        self.is_forgotten = False
        self.message: Message | None = None
        self.pins: Pins | None = None
        self.target: Target | None = None
        self.error: LimitExceeded | None = None
        self.dependents: dict[IncomingCall, None] = {}
        self.size = 0

    def is_obstacle(self, is_target: bool) -> bool:
        """Whether a call that depends on the answer, which is known, cannot run.

        Args:
            is_target: whether it is a call *to* the answer.
        """
        return self.message is None or (is_target and self.target is None)


class KeptAnswers:
    """The answers of one connection that are kept, or will be.

    Args:
        memory: is charged their bytes.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._answers: dict[int, KeptAnswer] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._answers)

    def promise(self, request: int, limits: Limits) -> None:
        """A call has come whose answer is to be kept.

        Raises:
            ProtocolError: too many are kept, or one under that id.
        """
        if request in self._answers:
            raise ProtocolError("duplicate-id", "a request id was used again before its answer was forgotten")
        if len(self._answers) >= limits.references_exported:
            raise ProtocolError(
                "limit-kept",
                f"at most {limits.references_exported} answers are kept (Limits.references_exported)",
            )
        self._answers[request] = KeptAnswer(request)

    def find(self, request: int) -> KeptAnswer | None:
        """Return what is kept, or will be, of a call's answer; None when nothing is."""
        return self._answers.get(request)

    def depended_on(self, requests: Sequence[int]) -> dict[int, KeptAnswer]:
        """Return the answers that a call depends on, by request.

        Raises:
            ProtocolError: one that is not kept.
        """
        found = {}
        for request in requests:
            answer = self._answers.get(request)
            if answer is None or answer.is_forgotten:
                raise ProtocolError("bad-id", "a call depends on an answer that is not kept")
            found[request] = answer
        return found

    def keep(
        self, answer: KeptAnswer, message: Message, pins: Pins, target: Target | None, limits: Limits
    ) -> None:
        """A call has ended with a value."""
        if self._bytes + len(message) > 4 * limits.message_bytes:
            answer.error = LimitExceeded("answers to be kept are larger than 4 times Limits.message_bytes")
        else:
            answer.message, answer.pins, answer.target = message, pins, target
            answer.size = len(message)
            self._bytes += answer.size
            self._memory.charge(answer.size)

    def forget(self, request: int) -> bool:
        """The peer will mention the answer no more; False when it was not kept. Calls that wait hold it themselves."""
        answer = self._answers.get(request)
        if answer is None or answer.is_forgotten:
            return False
        answer.is_forgotten = True
        if answer.is_known:
            self.drop(answer)
        return True

    def drop(self, answer: KeptAnswer) -> None:
        """Keep an answer no more."""
        del self._answers[answer.request]
        self._bytes -= answer.size
        self._memory.charge(-answer.size)

    def clear(self) -> None:
        """The connection has ended."""
        self._answers.clear()
        self._bytes = 0


class Mentioned:
    """The answers that one call mentions, while its arguments are decoded.

    Each mention is decoded anew, so all together may be no larger than a message.

    Args:
        answers: by request.
        most_bytes: that they may have together.
    """

    __slots__ = ("_answers", "_left")

    def __init__(self, answers: dict[int, KeptAnswer], most_bytes: int) -> None:
        self._answers = answers
        self._left = most_bytes

    def find(self, request: int) -> KeptAnswer:
        """Return an answer that is a value.

        Raises:
            UnknownObject: the call did not say that it depends on it.
            DecodeError: the answers that are mentioned are too large together.
        """
        answer = self._answers.get(request)
        if answer is None or answer.message is None:
            raise UnknownObject("an answer is mentioned that is not kept")
        self._left -= answer.size
        if self._left < 0:
            raise DecodeError(
                "the answers that a call mentions are larger than a message (Limits.message_bytes)"
            )
        return answer
