"""Our calls that have no outcome: those on their way, those that wait for a slot, those that wait alone.

The window bounds what is on its way. Calls beyond it wait in one queue, first in, first out, already encoded (so that
their arguments are as they were when the call was made); a one-way call that is made behind them waits with them.
Answers, updates, releases and the messages of streams are not queued.

**Slots.** A call may leave when fewer than ``Limits.calls_in_flight`` calls and ``Limits.window_bytes`` are on their
way. Beyond that each call of the peer that has arrived here and has not ended lends one more slot, for a call of any
size: the peer waits for it, so it may need the method that is called here. The callee does the same
(:mod:`.answers`). Together the two rules exclude a deadlock between methods that wait only for calls of their own, at
any limits, depth and fan-out; ``docs/understand/order-and-errors.md`` has the proof. A call that waits at the peer
for an answer takes no slot, or it would take the slot of the call on which that answer depends.
"""

from __future__ import annotations

from typing import Final

from ..errors import ProtocolError
from ..limits import Limits
from ..native import mypyc_attr
from ..ports import LARGE_MESSAGE, Message
from ..queues import NO_LINE, NOTHING, Line, first_in, get_in, own
from .outgoing_call import (
    ALONE,
    DEPENDENT_SLOT,
    LENT_SLOT,
    NO_SLOT,
    QUEUED,
    SENT,
    WINDOW_SLOT,
    Content,
    OutgoingCall,
)
from .pieces import weight

__all__ = ["Questions", "WayOut"]

#: Bytes of memory of a call that waits, beside its message.
_WAITING: Final = 512


@mypyc_attr(allow_interpreted_subclasses=True)
class WayOut:
    """Sends calls: what the queue asks of :class:`.call_sender.CallSender`."""

    def send_message(self, call: OutgoingCall, message: Message) -> None:
        """Send the message of a call."""
        raise NotImplementedError

    def has_left(self, call: OutgoingCall) -> None:
        """A call has left the queue."""
        raise NotImplementedError


class Questions:
    """The calls of one connection that have no outcome yet, and the queue in front of the window.

    Args:
        limits: ``calls_in_flight`` and ``window_bytes`` bound what is on its way.
        way_out: sends calls.

    Attributes:
        moves: counts calls that were sent or answered, for judging whether anything moves.
        held_bytes: encoded size of the calls in the queue,
        told_bytes: and of the one-way calls among them.
        alone: the calls that wait alone.
        dependents: calls that wait at the peer for an answer, or are queued and will,
        dependent_bytes: their size,
        dependent_tells: and how many of them are one-way.
    """

    def __init__(
        self,
        limits: Limits,
        way_out: WayOut,
    ) -> None:
        self.use_limits(limits)
        self._way_out = way_out
        self._next = 1
        self._asked: dict[int, OutgoingCall] = NOTHING
        self._queue: Line[OutgoingCall] = NO_LINE
        self._on_their_way = 0
        self._bytes = 0
        self._on_loan = 0
        self._updates = 0
        self._alone_with_answer = 0
        self.moves: int = 0
        self.held_bytes: int = 0
        self.told_bytes: int = 0
        self.alone: dict[OutgoingCall, None] = NOTHING
        self.dependents: int = 0
        self.dependent_bytes: int = 0
        self.dependent_tells: int = 0

    def use_limits(self, limits: Limits) -> None:
        """Go by other limits from now on. They are looked up here once, not by every call."""
        self._window = limits.calls_in_flight
        self._window_bytes = limits.window_bytes
        self._most_bytes = limits.memory_bytes

    def __len__(self) -> int:
        """Calls that wait for an answer; those in the queue and those that wait alone are among them."""
        return len(self._asked) + self._alone_with_answer

    @property
    def is_overfull(self) -> bool:
        """Whether the queue takes as much memory as it may."""
        return self.held_bytes + _WAITING * len(self._queue) > self._most_bytes

    @property
    def dependents_have_room(self) -> bool:
        """Whether one more call may wait at the peer for an answer."""
        return self.dependents < self._window and self.dependent_bytes < self._window_bytes

    def ids(self) -> list[int]:
        """Return the ids of the calls that have one and want an answer."""
        return list(self._asked)

    def find(self, request: int) -> OutgoingCall | None:
        """Return a call that waits for an answer, or None."""
        return self._asked.get(request)

    @property
    def queued(self) -> int:
        """Calls in the queue."""
        return len(self._queue)

    @property
    def idle(self) -> bool:
        """Whether no call waits for an answer, and none waits to leave. An update is not a call."""
        return len(self) == self._updates and not self._queue and not self.alone

    def next_request(self) -> int:
        """Return a request id that was never used on this connection."""
        request = self._next
        self._next += 1
        return request

    # -- on the way out

    def ask(self, call: OutgoingCall, message: Message, lent: int) -> bool:
        """Send a call that wants an answer, or put it in the queue; return whether it was sent.

        Args:
            call: which has a request.
            message: its encoding.
            lent: the peer's calls that have not ended here.
        """
        size = len(message)
        call.size = size if size < LARGE_MESSAGE else LARGE_MESSAGE  # weight(message), without a call of it
        self._asked = own(self._asked)
        self._asked[call.request] = call
        if self._queue or not self._take_slot(call, lent):
            self._put(call, message)
            return False
        call.stage = SENT
        self.moves += 1
        self._way_out.send_message(call, message)
        return True

    def ask_dependent(self, call: OutgoingCall, message: Message) -> bool:
        """The same for a call that waits at the peer for an answer, and takes no slot until that has come."""
        call.size = weight(message)
        call.slot = DEPENDENT_SLOT
        self.dependents += 1
        self.dependent_bytes += call.size
        if call.wants_answer:
            self._asked = own(self._asked)
            self._asked[call.request] = call
        else:
            self.dependent_tells += 1
        if self._queue:
            self._put(call, message)
            return False
        self._leave(call, message)
        return True

    def ask_at_once(self, call: OutgoingCall, message: Message) -> None:
        """Send a call past the queue: it takes no slot, or the queue has been sent before."""
        call.size = weight(message)
        if call.wants_answer:
            self._asked = own(self._asked)
            self._asked[call.request] = call
            if call.is_update:
                self._updates += 1
            elif not call.at_once:
                self._take(call)
        self._leave(call, message)

    def tell(self, call: OutgoingCall, message: Message) -> None:
        """Put a one-way call into the queue, which is not empty."""
        call.size = weight(message)
        self._put(call, message)

    def _put(self, call: OutgoingCall, message: Message) -> None:
        self._queue = get_in(self._queue, call)
        call.stage = QUEUED
        call.message = message
        self.held_bytes += len(message)
        if not call.wants_answer:
            self.told_bytes += len(message)
        if call.links is not None:
            for dependency in call.links.dependencies:
                dependency.linked().uses += 1

    def _take_slot(self, call: OutgoingCall, lent: int) -> bool:
        """Take a slot for one more call; False when all are taken."""
        if self._on_their_way < self._window and self._bytes < self._window_bytes:
            self._take(call)
            return True
        if self._on_loan < lent:
            self._on_loan += 1
            call.slot = LENT_SLOT
            return True
        return False

    def _take(self, call: OutgoingCall) -> None:
        self._on_their_way += 1
        self._bytes += call.size
        call.slot = WINDOW_SLOT

    def _free_slot(self, call: OutgoingCall) -> None:
        slot, call.slot = call.slot, NO_SLOT
        if slot == WINDOW_SLOT:
            self._on_their_way -= 1
            self._bytes -= call.size
        elif slot == LENT_SLOT:
            self._on_loan -= 1
        elif slot == DEPENDENT_SLOT:
            self.dependents -= 1
            self.dependent_bytes -= call.size
            if not call.wants_answer and not call.is_stub:
                self.dependent_tells -= 1

    def is_ready(self, call: OutgoingCall) -> None:
        """The answers for which a call waits, or will wait, at the peer have come: from now on it takes a slot."""
        if call.slot == DEPENDENT_SLOT:
            self._free_slot(call)
            if call.stage == SENT and call.wants_answer:
                self._take(call)

    def pump(self, lent: int) -> None:
        """Send the calls in the queue for which there are slots."""
        queue = self._queue
        while queue:
            call = next(iter(queue))
            if call.wants_answer and not call.waits_there and not self._take_slot(call, lent):
                return
            self._leave_queue(call)

    def flush(self) -> None:
        """Send the whole queue, with slots or without."""
        while self._queue:
            call = next(iter(self._queue))
            if call.wants_answer and not call.waits_there:
                self._take(call)
            self._leave_queue(call)

    def _leave_queue(self, call: OutgoingCall) -> None:
        message = self._take_out(call)
        self._leave(call, message)
        self._way_out.has_left(call)

    def _leave(self, call: OutgoingCall, message: Message) -> None:
        call.stage = SENT
        self.moves += 1
        self._way_out.send_message(call, message)

    def _take_out(self, call: OutgoingCall) -> Message:
        """Take a call out of the queue and return its message."""
        del self._queue[call]
        message, call.message = call.message, None
        assert message is not None
        self.held_bytes -= len(message)
        if not call.wants_answer:
            self.told_bytes -= len(message)
        return message

    def withdraw(self, call: OutgoingCall) -> Content | None:
        """Take back a call that is in the queue; return what its message, which never leaves, refers to."""
        self._take_out(call)
        self._free_slot(call)
        self._asked.pop(call.request, None)
        content, call.content = call.content, None
        return content

    def first(self) -> OutgoingCall | None:
        """Return the call that has been in the queue longest."""
        return first_in(self._queue)

    # -- waiting alone

    def wait_alone(self, call: OutgoingCall) -> None:
        """Keep a call that cannot be sent before an answer has come."""
        call.stage = ALONE
        self.alone = own(self.alone)
        self.alone[call] = None
        if call.wants_answer:
            self._alone_with_answer += 1

    def wait_no_more(self, call: OutgoingCall) -> bool:
        """A call waits alone no more; return whether it did."""
        if call not in self.alone:
            return False
        del self.alone[call]
        if call.wants_answer:
            self._alone_with_answer -= 1
        return True

    @property
    def tells_alone(self) -> int:
        """One-way calls that wait alone."""
        return len(self.alone) - self._alone_with_answer

    @property
    def tells_undecided(self) -> int:
        """One-way calls that may have to be made here: they wait for an answer, here or at the peer."""
        return self.tells_alone + self.dependent_tells

    # -- the end

    def settle(self, request: int) -> OutgoingCall | None:
        """Take a call off the table: its answer has come.

        Returns:
            The call; None when it was settled before.

        Raises:
            ProtocolError: no such call was ever made, or it has not been sent; that one stays on the table.
        """
        call = self._asked.get(request)
        if call is None:
            if 0 < request < self._next:
                return None
            raise ProtocolError("bad-id", "an answer to a call that was never made")
        if call.stage == QUEUED:
            raise ProtocolError("bad-id", "an answer to a call that has not been sent yet")
        del self._asked[request]
        self.moves += 1
        if call.is_update:
            self._updates -= 1
        self._free_slot(call)
        return call

    def replace(self, call: OutgoingCall, stub: OutgoingCall) -> None:
        """Let ``stub`` wait for the peer's answer to the message of ``call``, which is made again."""
        stub.request, stub.size, stub.slot = call.request, call.size, call.slot
        stub.stage = SENT
        stub.is_stub = True
        call.slot = NO_SLOT
        self._asked[call.request] = stub

    @property
    def undelivered(self) -> int:
        """One-way calls that have not left."""
        return self.tells_alone + sum(1 for call in self._queue if not call.wants_answer)

    def abandon(self) -> list[OutgoingCall]:
        """Forget every call, because no answer can come; return those that want one, and those that wait alone."""
        calls = [*self._asked.values(), *self.alone]
        self._asked.clear()
        self.alone.clear()
        self._queue = NO_LINE
        self._on_their_way = self._bytes = self._on_loan = self.held_bytes = self.told_bytes = 0
        self._updates = self._alone_with_answer = 0
        self.dependents = self.dependent_bytes = self.dependent_tells = 0
        return calls
