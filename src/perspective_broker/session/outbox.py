"""The messages to the peer that the driver has not taken yet, in the order in which they leave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from ..limits import Limits
from ..ports import LARGE_MESSAGE, Feature, Message, Rank
from ..queues import NOTHING, own
from .caches import Observers
from .context import Context
from .deadlines import MUCH_UNREAD
from .memory import Memory
from .outgoing_call import OutgoingCall
from .pieces import NOTHING_LARGE, Capacity, PieceQueue, weight

__all__ = ["Outbox"]


class Outbox:
    """The write queue of one connection, in front of the driver's transport.

    Args:
        context: of the connection.
        memory: is charged what the peer does not read.
        observers: the table of replicas, to which a message may refer.

    Attributes:
        large: the messages that wait because a large one is on its way out.
        size: bytes of all messages, or a little more: large ones count as :func:`.pieces.weight` counts them once they
            are in pieces.
        batch: number of the messages that leave together next: one that has not left can still be changed.
        bytes_sent: handed to the driver so far.
        is_blocked: whether the transport takes nothing more for now.
    """

    def __init__(self, context: Context, memory: Memory, observers: Observers) -> None:
        self._context = context
        self._host = context.host
        self._lifecycle = context.lifecycle
        self._memory = memory
        self._observers = observers
        self.large: PieceQueue = NOTHING_LARGE
        self.size: int = 0
        self.batch: int = 1
        self.bytes_sent: int = 0
        self.is_blocked: bool = False
        self._messages: list[Message] = []
        self._in_transport = 0  # bytes that the transport keeps while it is blocked
        self._refusal_bytes = 0  # of refusals of calls among the messages
        self._strict: dict[int, None] = NOTHING  # answers among them that refer to a replica, by identity
        self.use_limits(context.limits)

    def use_limits(self, limits: Limits) -> None:
        """Go by other limits from now on. They are looked up here once, not by every call."""
        self._high = limits.write_buffer_high

    # -- in

    def send(self, message: Message) -> None:
        """Queue a message."""
        if self._lifecycle.ended or self._lifecycle.muted:
            return
        messages = self._messages
        messages.append(message)
        self.size += len(message)
        if len(messages) == 1:
            self._host.write_soon()

    def send_call(self, call: OutgoingCall, message: Message) -> None:
        """Queue a call; until it leaves, its message can still ask the peer to keep its answer."""
        call.batch = self.batch
        call.position = len(self._messages)
        self.send(message)

    def send_answer(self, message: Message, refers_to_replica: bool) -> None:
        """Queue an answer. It passes our own calls that wait for room, but not what introduces a replica."""
        if refers_to_replica:
            self._strict = own(self._strict)
            self._strict[id(message)] = None
        self.send(message)

    def send_refusal(self, message: Message) -> None:
        """Queue the refusal of a call. A peer that does not read its refusals is not read, either."""
        self._refusal_bytes += len(message)
        self.send(message)

    def has_left(self, call: OutgoingCall) -> bool:
        """Whether the message of a call that was sent cannot be changed any more."""
        return call.batch != self.batch

    def ask_to_keep(self, call: OutgoingCall) -> None:
        """Change the message of a call that has not left: the peer keeps the answer."""
        writer = self._context.writer
        self._messages[call.position] = writer.encode_kept(self._messages[call.position])

    # -- out

    def take(self, room: Capacity | None) -> Sequence[bytes | memoryview]:
        """Return, and forget, what leaves now.

        Args:
            room: see :meth:`.Broker.data_to_send`.
        """
        out: Sequence[bytes | memoryview]
        if self.size < LARGE_MESSAGE or not self._context.writer.has(Feature.PIECES):
            out = cast("list[bytes | memoryview]", self._messages)  # they are too small to be in parts
            self._messages = []
            self.batch += 1
            self.bytes_sent += self.size
            self.size = 0
            if self._refusal_bytes:
                self._refusals_left()
        else:
            out = self._take_pieces(room)
        if self._memory.unread:
            self.count_unread()
        if self._strict:
            self._strict.clear()
        return out

    def _take_pieces(self, room: Capacity | None) -> list[bytes | memoryview]:
        messages, self._messages = self._messages, []
        self.batch += 1
        if not self.large and max(map(len, messages)) < LARGE_MESSAGE:  # only many small ones
            self.bytes_sent += self.size
            self.size = 0
            self._refusals_left()
            return cast("list[bytes | memoryview]", messages)
        if self.large is NOTHING_LARGE:
            self.large = PieceQueue()
        out = self.large.take(messages, self._context.writer, self._passes_nothing, room)
        self.bytes_sent += sum(map(len, out))
        self.size = self.large.weight
        if self.large:
            self._host.wake()  # more in another turn, unless the transport is full
        else:
            self._refusals_left()
        return out

    def _passes_nothing(self, message: Message, rank: Rank) -> bool:
        """Whether a message refers to a replica of ours, or may: it must not pass the message that introduces it."""
        if rank is Rank.ANSWER:
            return id(message) in self._strict
        return rank is Rank.CALL and len(self._observers) > 0

    def _refusals_left(self) -> None:
        if self.holds_refusals:
            self._host.wake()  # reading may go on
        self._refusal_bytes = 0

    # -- how full it is

    @property
    def holds_refusals(self) -> bool:
        """Whether so many refusals wait that reading must stop. They need no method that would wait for room."""
        return self._refusal_bytes > self._high

    @property
    def has_room(self) -> bool:
        """Whether one more method may start whose answer has to be sent."""
        return not self.is_blocked and self.size < self._high

    @property
    def small_bytes(self) -> int:
        """Bytes that have not left, without large messages, because those take long and are not updates."""
        small = sum(size for size in map(len, self._messages) if size < LARGE_MESSAGE)
        return small + self.large.small_bytes

    @property
    def exact_size(self) -> int:
        """Bytes that have not left."""
        return self.size - self.large.weight + self.large.bytes

    @property
    def weight(self) -> int:
        """Bytes that have not left, with every large message counted as a few small ones. It looks at all of them."""
        return self.large.weight + sum(map(weight, self._messages))

    def set_blocked(self, is_blocked: bool, now: float, buffered: int) -> None:
        """The transport, which keeps ``buffered`` bytes, can take no more, or can again."""
        self.is_blocked = is_blocked
        self._in_transport = buffered
        self._context.deadlines.set_blocked(now if is_blocked else None)
        if is_blocked or self._memory.unread:
            self.count_unread()

    def count_unread(self) -> None:
        """Charge the peer the bytes that wait for it to read."""
        unread = self._in_transport + self.exact_size
        self._memory.leaves_unread(unread)
        self._context.deadlines.set_unread(unread)
        if self.is_blocked and unread > MUCH_UNREAD:
            self._host.on_deadline()

    def drop_pieces(self) -> None:
        """The connection has ended: large messages that have begun will never leave."""
        self.large = NOTHING_LARGE
        self.size = sum(map(len, self._messages))
