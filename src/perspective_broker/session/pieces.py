"""The order in which messages leave when one of them is so large that it travels in pieces.

As long as every message is small this does not run: messages leave in the order in which they were made. The law of
order decides which messages may pass a large one (the table in ``docs/wire/pb7.md``, section 2a). Each rank of message
has a queue of its own here:

- *calls*, one-way calls and updates leave one behind the other;
- *answers* pass calls, and each other;
- *releases* and their like pass nothing that was made before them, because that may refer to the released object;
- *the rest* (pings, cancellations) passes everything.

A message that refers to a replica passes nothing either, because the message that introduces the replica may be before
it. Every message waits at most for older ones, so there is no circle.

Pieces are cut when the transport has room for them, never ahead, and large messages take turns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, cast

from ..native import mypyc_attr
from ..ports import LARGE_MESSAGE, Message, Rank, Writer

__all__ = ["MESSAGES_AT_ONCE", "NOTHING_LARGE", "Capacity", "PieceQueue", "weight"]

#: Large messages of one side that are under way at once: what a receiver has to keep of them is bounded by it. One is
#: for calls, the others for answers.
MESSAGES_AT_ONCE: Final = 4


def weight(message: Message) -> int:
    """Return the bytes as which a message counts in a window or a buffer: a large one counts as a few small ones.

    Two of them fill the window of a caller (Limits.window_bytes).
    """
    return min(len(message), LARGE_MESSAGE)


@mypyc_attr(allow_interpreted_subclasses=True)
class Capacity:
    """Knows how much the transport takes."""

    def capacity(self) -> int:
        """Return the bytes that it takes now."""
        raise NotImplementedError


class _Waiting:
    """A message that waits for its turn.

    Attributes:
        message: as it was made.
        serial: its place among all that waited.
        rank: what it may pass.
        strict: whether it passes nothing, in spite of its rank.
        request: the call that it is, or is about; 0 for none.
        large: whether it leaves in pieces,
        number: under which, when they have begun,
        sent: and how far it has left.
    """

    __slots__ = ("large", "message", "number", "rank", "request", "sent", "serial", "strict")

    def __init__(self, message: Message, serial: int, rank: Rank, request: int, strict: bool) -> None:
        self.message = message
        self.serial = serial
        self.rank = rank
        self.strict = strict
        self.request = request
        self.large = len(message) >= LARGE_MESSAGE
        self.number: int | None = None
        self.sent = 0


class PieceQueue:
    """The messages of one connection that wait because a large one is under way.

    Attributes:
        bytes: of them, as far as they have not left.
        weight: the same, with large messages counted as :func:`weight` counts them.
        small_bytes: of those that are not large.
    """

    def __init__(self) -> None:
        self._calls: deque[_Waiting] = deque()
        self._answers: deque[_Waiting] = deque()
        self._back: deque[_Waiting] = deque()  # what gives something back, and small answers that are strict
        self._turns: deque[_Waiting] = deque()  # large messages that have begun
        self._numbers = set(range(MESSAGES_AT_ONCE))
        self._serial = 0
        self.bytes: int = 0
        self.weight: int = 0
        self.small_bytes: int = 0

    def __bool__(self) -> bool:
        return self.bytes > 0

    def take(
        self,
        messages: list[Message],
        writer: Writer,
        strict: Callable[[Message, Rank], bool],
        room: Capacity | None,
    ) -> list[bytes | memoryview]:
        """Return what leaves now.

        Args:
            messages: made since the last time, in order.
            writer: knows the rank of a message, and cuts pieces.
            strict: whether a message of that rank refers to a replica, or may.
            room: returns how many bytes the transport takes; None takes everything.
        """
        out: list[bytes | memoryview] = []
        for message in messages:
            rank, request = writer.rank(message)
            self._serial += 1
            self._add(_Waiting(message, self._serial, rank, request, strict(message, rank)), out)
        self._small_ones(out)
        left = None if room is None else room.capacity() - sum(map(len, out))
        # At least one piece leaves each time: a peer judges how long a message takes.
        while (piece := self._piece(writer, out, left or 0)) and (left is None or left > piece):
            if left is not None:
                left -= piece
        return out

    def _add(self, waiting: _Waiting, out: list[bytes | memoryview]) -> None:
        """Let a message leave at once, if it may, or wait in its queue."""
        rank = waiting.rank
        if rank is Rank.AT_ONCE:
            if waiting.request and any(call.request == waiting.request for call in self._calls):
                rank = Rank.CALL  # it is about a call that waits itself, and means nothing before that
            else:
                out.append(cast(bytes, waiting.message))  # what is in parts is large
                return
        line = self._calls
        if rank is Rank.ANSWER:
            line = self._answers if waiting.large else self._back
            if not waiting.large and not waiting.strict:
                out.append(cast(bytes, waiting.message))  # what is in parts is large
                return
        elif rank is Rank.GIVES_BACK:
            line = self._back
            waiting.strict = True
        line.append(waiting)
        self.bytes += len(waiting.message)
        self.weight += weight(waiting.message)
        if not waiting.large:
            self.small_bytes += len(waiting.message)
            if len(line) == 1:
                self._small_ones(out)

    def _oldest_but(self, line: deque[_Waiting]) -> int:
        """Return the serial of the oldest message that waits in another queue."""
        oldest = [other[0].serial for other in (self._calls, self._back) if other and other is not line]
        if line is not self._answers:  # which end in any order, so the first of them need not be the oldest
            oldest += [answer.serial for answer in self._answers]
        return min(oldest, default=self._serial + 1)

    def _may_leave(self, waiting: _Waiting, line: deque[_Waiting]) -> bool:
        """Whether the first message of a queue waits for no message of another queue."""
        return not waiting.strict or waiting.serial < self._oldest_but(line)

    def _small_ones(self, out: list[bytes | memoryview]) -> None:
        """Let every small message leave that may."""
        moved = True
        while moved:
            moved = False
            for line in (self._calls, self._back):
                while line and not line[0].large and self._may_leave(line[0], line):
                    waiting = line.popleft()
                    out.append(cast(bytes, waiting.message))
                    self.bytes -= len(waiting.message)
                    self.weight -= len(waiting.message)
                    self.small_bytes -= len(waiting.message)
                    moved = True

    def _begin(self) -> None:
        """Give large messages that may leave a number and a place among those that take turns."""
        if self._calls and self._calls[0].number is None and self._may_leave(self._calls[0], self._calls):
            self._begin_one(self._calls[0])
        # One number is a call's, or calls would wait for answers.
        begun = sum(answer.number is not None for answer in self._answers)
        for answer in self._answers:
            if begun == MESSAGES_AT_ONCE - 1:
                return
            if answer.number is None and self._answer_may_leave(answer):
                self._begin_one(answer)
                begun += 1

    def _answer_may_leave(self, answer: _Waiting) -> bool:
        """The same as :meth:`_may_leave` for a large answer, whose queue has no order of its own."""
        older = (other.serial < answer.serial for other in self._answers)
        return not answer.strict or (self._may_leave(answer, self._answers) and not any(older))

    def _begin_one(self, waiting: _Waiting) -> None:
        waiting.number = min(self._numbers)
        self._numbers.discard(waiting.number)
        self._turns.append(waiting)

    def _piece(self, writer: Writer, out: list[bytes | memoryview], room: int) -> int:
        """Add one piece to ``out``, and what may follow it; return how many bytes that is, 0 when nothing is left."""
        self._begin()
        if not self._turns:
            return 0
        waiting = self._turns.popleft()
        before = len(out)
        assert waiting.number is not None
        # Where nothing takes turns, what the transport has room for is one piece.
        piece, sent = writer.piece(waiting.message, waiting.sent, waiting.number, 0 if self._turns else room)
        out += piece
        self.bytes -= sent - waiting.sent
        waiting.sent = sent
        if sent < len(waiting.message):
            self._turns.append(waiting)
        else:
            self._numbers.add(waiting.number)
            self.weight -= LARGE_MESSAGE
            (self._calls if waiting.rank is not Rank.ANSWER else self._answers).remove(waiting)
            self._small_ones(out)
        return sum(len(out[place]) for place in range(before, len(out)))


#: Of every connection on which nothing large has left so far: a queue of its own takes 3.5 KB. Nothing is put in.
NOTHING_LARGE: Final = PieceQueue()
