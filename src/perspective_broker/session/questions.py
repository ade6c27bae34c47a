"""Our own calls: which are on their way, which wait for room, and who is told how each one ended.

A peer can only take so much at once. Calls beyond the window wait here, already encoded (so that they say
what was meant when they were made), in order, and so does what has no answer and is said after them. Answers never
queue behind them: two sides that call each other at full tilt cannot block each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import ProtocolError
from ..limits import Limits
from ..ports import LARGE_MESSAGE, Answerable, Message
from ..queues import Queue, put
from .pipelining import Barrier

__all__ = ["Question", "Questions"]


class Question:
    """One call of ours.

    Attributes:
        answerable: who is told how it ended.
        message: as it was sent.
        perspective: under which the answer is decoded.
        place: where it waited for room; 0 when it did not.
    """

    __slots__ = ("answerable", "message", "perspective", "place")

    def __init__(self, answerable: Answerable, message: Message, perspective: Any, place: int) -> None:
        self.answerable = answerable
        self.message = message
        self.perspective = perspective
        self.place = place


class Questions:
    """The calls of one connection that have no answer yet, and the messages waiting for the window.

    Args:
        limits: ``calls_in_flight`` and ``window_bytes`` bound what is on its way.
        send: hands a message to the connection.
    """

    def __init__(self, limits: Limits, send: Callable[[Message], None]) -> None:
        self.limits = limits
        self._send = send
        self._next = 1
        self._asked: dict[int, Question] = {}
        self._on_their_way = 0
        self._bytes = 0
        self._held: Queue[tuple[Message | Barrier, int]] = ()  # message, and its id if it is a call
        self._behind: dict[int, Message] = {}  # what is said directly behind a call that waits
        # While what a barrier held back is said: how many messages of it were put before what waits.
        self._ahead: int | None = None
        self._held_bytes = 0
        self._told_bytes = 0
        self._last_place = 0

    def __contains__(self, request: int) -> bool:
        return request in self._asked

    def __len__(self) -> int:
        """Calls without an answer, held ones included."""
        return len(self._asked)

    def ids(self) -> list[int]:
        """Return the ids of these calls."""
        return list(self._asked)

    @property
    def held(self) -> int:
        """Messages that wait for room in the window."""
        return len(self._held)

    @property
    def held_bytes(self) -> int:
        """Encoded size of these messages."""
        return self._held_bytes

    @property
    def told_bytes(self) -> int:
        """Encoded size of those of them that have no answer."""
        return self._told_bytes

    @property
    def last_place(self) -> int:
        """What :meth:`send_until` needs to be told to send the last message of all; 0 when none waits."""
        return self._last_place if self._held else 0

    def send_until(self, place: int) -> None:
        """Send what waits up to a :attr:`last_place` of before, room or not: an answer builds on it."""
        while self._held and self._last_place - len(self._held) < place:
            if isinstance(self._held[0][0], Barrier):
                return
            self._send_first()

    def has_left(self, place: int) -> bool:
        """Whether everything up to a place of before has been sent."""
        return place <= self._last_place - len(self._held)

    def next_request(self) -> int:
        """Return a request id that was never used on this connection."""
        request = self._next
        self._next += 1
        return request

    def ask(self, request: int, message: Message, answerable: Answerable, perspective: Any) -> None:
        """Send a call, now or when there is room; tell ``answerable`` how it ended."""
        if self._must_wait or not self._has_room():
            place = self._hold(message, request)
            self._asked[request] = Question(answerable, message, perspective, place)
        else:
            self._asked[request] = Question(answerable, message, perspective, 0)
            self._on_their_way += 1
            size = len(message)
            self._bytes += size if size < LARGE_MESSAGE else LARGE_MESSAGE  # see outgoing.weight
            self._send(message)

    def find(self, request: int) -> Question | None:
        """Return a call that has no answer yet, or None."""
        return self._asked.get(request)

    def replace(self, request: int, message: Message) -> bool:
        """Say a call that waits differently, in as many bytes; False when it does not wait."""
        question = self._asked[request]
        if not self._held:
            return False
        for place, (held, _) in enumerate(self._held):
            if held is question.message:
                self._held[place] = (message, request)
                self.replaced(request, message)
                return True
        return False

    def replaced(self, request: int, message: Message) -> None:
        """A call is said differently."""
        self._asked[request].message = message

    def hold_back(self, barrier: Barrier) -> None:
        """Let everything said from now on wait until ``barrier`` is ready, and has been said."""
        self._put(barrier, 0)

    @property
    def _must_wait(self) -> bool:
        """Whether something waits that has to be sent before what is said now."""
        return bool(self._held) if self._ahead is None else self._ahead > 0

    def tell(self, message: Message) -> None:
        """Send something that has no answer, in order with the calls."""
        if self._must_wait:
            self._hold(message)
        else:
            self._send(message)

    def tell_behind(self, request: int, message: Message) -> None:
        """Say something about a call without an answer: now, or directly behind the call if that waits for room.

        Behind what waits after it, it could come too late: there may be no room until the call has ended.
        """
        if self.has_left(self._asked[request].place):
            self._send(message)
        else:
            self._behind[request] = message

    def _hold(self, message: Message, request: int = 0) -> int:
        """Let a message wait; return its place."""
        self._held_bytes += len(message)
        if not request:
            self._told_bytes += len(message)
        return self._put(message, request)

    def _put(self, waiting: Message | Barrier, request: int) -> int:
        if self._ahead is None:
            self._held = put(self._held, (waiting, request))
            self._last_place += 1
            return self._last_place
        # Places count from the end, so those of what waits behind stay what they are.
        assert self._held
        self._held.insert(self._ahead, (waiting, request))
        self._ahead += 1
        return self._last_place - len(self._held) + self._ahead

    def settle(self, request: int) -> Question | None:
        """Take a call off the table: its answer has come.

        Returns:
            The call; None when it was settled before.

        Raises:
            ProtocolError: no such call was ever made.
        """
        asked = self._asked.pop(request, None)
        if asked is None:
            if 0 < request < self._next:
                return None
            raise ProtocolError("bad-id", "an answer to a call that was never made")
        self._on_their_way -= 1
        size = len(asked.message)
        self._bytes -= size if size < LARGE_MESSAGE else LARGE_MESSAGE
        if self._held:
            self.release_held()
        return asked

    def _has_room(self) -> bool:
        return self._on_their_way < self.limits.calls_in_flight and self._bytes < self.limits.window_bytes

    def release_held(self) -> None:
        """Send what waits, as far as there is room for it."""
        if self._ahead is not None:
            return  # a barrier's message is being said: what waits behind it goes on when that is done
        while self._held:
            message, request = self._held[0]
            if isinstance(message, Barrier):
                if not message.ready():
                    return
                self._held.popleft()
                self._ahead = 0
                try:
                    message.say()
                finally:
                    self._ahead = None
            elif request and not self._has_room():
                return
            else:
                self._send_first()

    def _send_first(self) -> None:
        """Send the message that waited longest."""
        assert self._held
        message, request = self._held.popleft()
        assert not isinstance(message, Barrier)
        self._held_bytes -= len(message)
        if request:
            self._on_their_way += 1
            self._bytes += min(len(message), LARGE_MESSAGE)
        else:
            self._told_bytes -= len(message)
        self._send(message)
        if self._behind and request in self._behind:
            self._send(self._behind.pop(request))

    def abandon(self) -> tuple[list[Answerable], list[Barrier]]:
        """Forget every call and return whom to tell, and what was held back: the connection has ended."""
        told = [question.answerable for question in self._asked.values()]
        barriers = [message for message, _ in self._held if isinstance(message, Barrier)]
        self._asked.clear()
        self._held = ()
        self._behind.clear()
        self._on_their_way = self._bytes = self._held_bytes = self._told_bytes = 0
        return told, barriers
