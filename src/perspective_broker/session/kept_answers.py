"""The answers that the peer has asked us to keep, because calls of its own depend on them.

Kept is the encoded answer with the objects that its ids mean, or a mark that it was an error. As the target of a call
it is the object that it was; as an argument it is decoded anew for each call, as if the caller had sent back what it
got. So a copy stays a copy, and is charged by its bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import DecodeError, LimitExceeded, ProtocolError, UnknownObject
from ..flavors import Target
from ..limits import Limits
from ..ports import Message
from ..queues import NOTHING, own
from .incoming_call import KeptAnswer, Pins
from .memory import Memory

__all__ = ["KeptAnswers", "References"]


class KeptAnswers:
    """The answers of one connection that are kept, or will be.

    Args:
        memory: is charged their bytes.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._answers: dict[int, KeptAnswer] = NOTHING
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._answers)

    def promise(self, request: int, limits: Limits) -> None:
        """A call has come whose answer will be kept.

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
        self._answers = own(self._answers)
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
        """No further message refers to the answer; False when it was not kept. Calls that wait hold it themselves."""
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


class References:
    """The answers to which one call refers, while its arguments are decoded.

    Each reference is decoded anew, so all together may have at most the size of a message.

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
            UnknownObject: the call did not declare that it depends on it.
            DecodeError: the answers to which it refers are too large together.
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
