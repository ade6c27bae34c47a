"""The calls of the peer that have no outcome: those that run, those that wait for a slot, those that wait for answers.

A ready call is queued and starts first in, first out. A call that depends on answers which are not there waits apart
and delays no other call; when the last of these answers is there, it is queued. A slot is held until the method has
ended, even if the peer cancels the call meanwhile.

**Slots.** A method may begin when fewer than ``Limits.calls_in_flight`` run. Beyond that each call of ours to the
peer that has no answer lends one more slot, because the peer may need the method to answer us
(:mod:`.questions` has the other half of this rule). Messages of streams and updates take no slot and are not queued.
"""

from __future__ import annotations

from ..errors import ConnectionLost, ProtocolError
from ..limits import Limits
from ..ports import LARGE_MESSAGE
from ..queues import NO_LINE, NOTHING, Line, first_in, get_in, own
from .call_states import BEGINS, ENDED, ENDS, QUEUES, WAITS
from .expiry import NOTHING_DUE, Expiry
from .incoming_call import LENT_SLOT, NO_SLOT, OWN_SLOT, Dependency, IncomingCall
from .listening import CallListener
from .memory import Memory

__all__ = ["Answers"]


class Answers:
    """The calls of one peer that have come and not ended.

    Args:
        limits: of the connection.
        memory: is charged the calls that have a weight.

    Attributes:
        running: those that have begun.
        dependents: those that wait for answers of ours.
        expiry: those of all that have a deadline.
        moves: counts calls that began or ended, for judging whether anything moves.
        tells: number of one-way calls that have arrived and not begun.
        listener: is told of calls that begin and end; None when nobody listens.
    """

    def __init__(self, limits: Limits, memory: Memory) -> None:
        self.use_limits(limits)
        self._memory = memory
        self.running: dict[IncomingCall, None] = NOTHING
        self.dependents: dict[IncomingCall, None] = NOTHING
        self.expiry: Expiry = NOTHING_DUE
        self.moves: int = 0
        self.tells: int = 0
        self.listener: CallListener | None = None
        self._queue: Line[IncomingCall] = NO_LINE
        self._requests: dict[int, IncomingCall] = NOTHING  # those whose answer the peer waits for
        self._queue_bytes = 0
        self._dependent_bytes = 0
        self._in_slots = 0
        self._slot_bytes = 0
        self._on_loan = 0

    def use_limits(self, limits: Limits) -> None:
        """Go by other limits from now on. They are looked up here once, not by every call."""
        self._slots = limits.calls_in_flight
        self._most_slot_bytes = 2 * limits.window_bytes
        self._most_begun = limits.most_begun
        self._most_waiting_bytes = limits.waiting_bytes

    def __len__(self) -> int:
        """Calls that have come and not ended. Each lends a slot to our own calls."""
        return len(self.running) + len(self._queue) + len(self.dependents)

    @property
    def waiting(self) -> int:
        """Calls that have not begun."""
        return len(self._queue) + len(self.dependents)

    @property
    def queued(self) -> int:
        """Calls that wait for a slot."""
        return len(self._queue)

    def arrive(self, call: IncomingCall) -> None:
        """Take note of a call that has come.

        Raises:
            ProtocolError: its id is that of a call which has not been answered yet.
        """
        if call.wants_answer:
            if call.request in self._requests:
                raise ProtocolError("duplicate-id", "a request id was used again before its answer")
            self._requests = own(self._requests)
            self._requests[call.request] = call
        if call.weight:
            self._memory.charge(call.weight)

    def expires(self, call: IncomingCall, due: float) -> None:
        """Give a call the deadline ``due``."""
        call.due = due
        if self.expiry is NOTHING_DUE:
            self.expiry = Expiry()
        self.expiry.add(call, due)

    def find(self, request: int) -> IncomingCall | None:
        """Return the call that the peer made under that id and waits for, or None."""
        return self._requests.get(request)

    # -- waiting for answers

    def may_depend(self, call: IncomingCall) -> bool:
        """Whether there is room for one more call that waits for answers."""
        return self._dependent_bytes + call.waiting_size <= self._most_waiting_bytes

    def wait_for_answers(self, call: IncomingCall, dependency: Dependency) -> None:
        """Keep a call apart until the answers on which it depends are there."""
        call.go(WAITS)
        call.dependency = dependency
        self.dependents = own(self.dependents)
        self.dependents[call] = None
        self._dependent_bytes += dependency.cost(call)
        if not call.wants_answer:
            self.tells += 1
        for answer in dependency.answers.values():
            if not answer.is_known:
                answer.dependents[call] = None

    def leave_dependents(self, call: IncomingCall) -> Dependency:
        """A call does not wait for answers any more: they are there, or it is not run."""
        dependency, call.dependency = call.dependency, None
        assert dependency is not None
        del self.dependents[call]
        self._dependent_bytes -= dependency.cost(call)
        if not call.wants_answer:
            self.tells -= 1
        for answer in dependency.answers.values():
            answer.dependents.pop(call, None)
        return dependency

    # -- the queue

    @property
    def is_full(self) -> bool:
        """Whether so much is queued that reading must stop. The call that came last is let in whole."""
        return self._queue_bytes > self._most_waiting_bytes

    def queue(self, call: IncomingCall) -> None:
        """Keep a call that is ready until there is a slot."""
        call.go(QUEUES)
        self._queue = get_in(self._queue, call)
        self._queue_bytes += call.waiting_size
        if not call.wants_answer:
            self.tells += 1

    def first(self) -> IncomingCall | None:
        """Return the call that has been in the queue longest."""
        return first_in(self._queue)

    def leave_queue(self, call: IncomingCall) -> None:
        """Take a call out of the queue."""
        del self._queue[call]
        self._queue_bytes -= call.waiting_size
        if not call.wants_answer:
            self.tells -= 1

    # -- slots

    def has_slot(self, lent: int) -> bool:
        """Whether one more method may run.

        Args:
            lent: calls of ours to the peer that have no answer.
        """
        return self._has_own_slot or self._on_loan < lent

    @property
    def _has_own_slot(self) -> bool:
        """A caller of this library has no more, and no larger, calls open at once."""
        return self._in_slots < self._slots and self._slot_bytes < self._most_slot_bytes

    @property
    def is_overrun(self) -> bool:
        """Whether so many methods run, in slots that were lent, that further calls are refused."""
        return len(self.running) >= self._most_begun

    def start(self, call: IncomingCall) -> None:
        """The call's method is about to run, in a slot."""
        call.go(BEGINS)
        self.running = own(self.running)
        self.running[call] = None
        self.moves += 1
        if self._has_own_slot:
            call.slot = OWN_SLOT
            self._in_slots += 1
            self._slot_bytes += min(call.size, LARGE_MESSAGE)
        else:
            call.slot = LENT_SLOT
            self._on_loan += 1
        if self.listener is not None:
            self.listener.call_began(call)

    def start_without_slot(self, call: IncomingCall) -> None:
        """The method of a stream's message, or of an update, is about to run."""
        call.go(BEGINS)
        self.running = own(self.running)
        self.running[call] = None
        if self.listener is not None:
            self.listener.call_began(call)

    def end(self, call: IncomingCall, error: BaseException | None = None) -> bool:
        """The call is over, with an error or without; False when it had ended before."""
        if call.state == ENDED:
            return False
        call.go(ENDS)
        if call.weight:
            self._memory.charge(-call.weight)
        if self.running.pop(call, self) is None and call.slot != NO_SLOT:
            self.moves += 1
            if call.slot == LENT_SLOT:
                self._on_loan -= 1
            else:
                self._in_slots -= 1
                self._slot_bytes -= min(call.size, LARGE_MESSAGE)
        if call.due is not None:
            self.expiry.remove(call)
        if call.wants_answer:
            self._requests.pop(call.request, None)
        if self.listener is not None:
            self.listener.call_ended(call, error)
        return True

    # -- the end

    def unheard(self) -> list[IncomingCall]:
        """Return the calls that want an answer, except those on whose answers one-way calls depend."""
        needed: set[IncomingCall] = set()
        todo = [call for call in self.dependents if not call.wants_answer]
        while todo:
            dependency = todo.pop().dependency
            assert dependency is not None
            for request in dependency.answers:
                call = self._requests.get(request)
                if call is not None and call not in needed:
                    needed.add(call)
                    if call.dependency is not None:
                        todo.append(call)
        return [call for call in self._requests.values() if call not in needed]

    def abandon(self, in_order: bool) -> list[IncomingCall]:
        """Forget every call: the connection has ended.

        Args:
            in_order: methods of one-way calls may run to their end.

        Returns:
            The calls whose methods have to be stopped.
        """
        running = [call for call in self.running if call.wants_answer or not in_order]
        for call in running:
            call.go(ENDS)
            if self.listener is not None:
                self.listener.call_ended(call, ConnectionLost())
        self.running.clear()
        self._queue = NO_LINE
        for call in self.dependents:
            call.dependency = None
        self.dependents.clear()
        self.expiry.clear()
        self._requests.clear()
        self._queue_bytes = self._dependent_bytes = self.tells = 0
        self._in_slots = self._slot_bytes = self._on_loan = 0
        return running
