"""The peer's calls: which run here, which stand in line for a slot, which wait for answers of ours.

A call that is ready gets in line and starts first in, first out. A call that depends on answers which are not there
waits apart and holds up no other; when the last of these answers is there, it gets in line. A slot is held until the
method has ended, whatever the peer does meanwhile.

**Slots.** A method may begin when fewer than ``Limits.calls_in_flight`` run. Beyond that each call of ours to the
peer that has no answer lends one more slot, because the peer may need what it calls here to answer us
(:mod:`.questions` has the other half of this rule). Messages of streams and updates take no slot and stand in no
line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..errors import ProtocolError
from ..flavors import Target
from ..limits import Limits
from ..ports import LARGE_MESSAGE, Method
from ..queues import NO_LINE, Line, first_in, get_in
from .answers import KeptAnswer, Pins
from .expiry import Expiry
from .memory import Memory

__all__ = ["Dependent", "IncomingCall", "Serving"]

#: Bytes as which a call that waits counts at least: what it takes here beside its arguments.
LEAST_WAITING: Final = 256


class Dependent:
    """What is kept of a call that depends on answers which are not there yet.

    Attributes:
        target: what is called; None when that is one of ``answers``,
        called: which this is then.
        arguments: as they came.
        answers: what it depends on, by request.
        missing: how many of these are not there.
        pins: our objects that its arguments mention.
    """

    __slots__ = ("answers", "arguments", "called", "missing", "pins", "target")

    def __init__(
        self, target: Target | None, arguments: Any, answers: dict[int, KeptAnswer], pins: Pins
    ) -> None:
        self.target = target
        self.called = next(iter(answers.values())) if target is None else None
        self.arguments = arguments
        self.answers = answers
        self.missing = sum(1 for answer in answers.values() if not answer.is_known)
        self.pins = pins

    def cost(self, call: IncomingCall) -> int:
        """Return the bytes as which a call counts while it waits: a dependency takes two entries of tables."""
        return call.waiting_size + LEAST_WAITING * len(self.answers)


class IncomingCall:
    """One call of the peer, from its arrival to its answer.

    Attributes:
        request: the peer's id of it.
        name: the method's name.
        wants_answer: whether the peer waits.
        size: encoded bytes.
        weight: bytes of memory that it is charged until it ends.
        waiting_size: the bytes as which it counts while it waits.
        method: what to run, with ``args`` and ``kwargs``; from when the call is ready.
        perspective: under which the answer is coded.
        handle: the driver's own, such as the task that runs the method.
        done: whether it has ended.
        cancelled: whether the peer has withdrawn it.
        due: when its caller gives it up, by the driver's clock; None when it did not say.
        expired: whether it was stopped because of that.
        on_loan: whether its slot is one that a call of ours lends.
        has_slot: whether it runs in a slot.
        dependent: what is kept of it while it waits for answers.
    """

    __slots__ = (
        "args",
        "cancelled",
        "dependent",
        "done",
        "due",
        "expired",
        "handle",
        "has_slot",
        "kwargs",
        "method",
        "name",
        "on_loan",
        "perspective",
        "request",
        "size",
        "waiting_size",
        "wants_answer",
        "weight",
    )

    method: Method
    args: Sequence[Any]
    kwargs: Mapping[str, Any]

    def __init__(self, request: int, name: str, wants_answer: bool, size: int) -> None:
        self.request = request
        self.name = name
        self.wants_answer = wants_answer
        self.size = size
        self.weight = 0
        self.waiting_size = 0
        self.perspective: Any = None
        self.handle: Any = None
        self.done = False
        self.cancelled = False
        self.due: float | None = None
        self.expired = False
        self.on_loan = False
        self.has_slot = False
        self.dependent: Dependent | None = None


class Serving:
    """The calls of one peer that have come and not ended.

    Args:
        limits: of the connection.
        memory: is charged the calls that have a weight.

    Attributes:
        running: those that have begun.
        dependents: those that wait for answers of ours.
        expiry: which of all have a deadline.
        moves: counts calls that began or ended, for judging whether anything moves.
        tells: calls without an answer that have come and have not begun.
    """

    def __init__(self, limits: Limits, memory: Memory) -> None:
        self.use_limits(limits)
        self._memory = memory
        self.running: dict[IncomingCall, None] = {}  # no set: an empty one takes 232 bytes, this 80
        self.dependents: dict[IncomingCall, None] = {}
        self.expiry = Expiry()
        self.moves = 0
        self.tells = 0
        self._line: Line[IncomingCall] = NO_LINE
        self._requests: dict[int, IncomingCall] = {}  # those whose answer the peer waits for
        self._line_bytes = 0
        self._dependent_bytes = 0
        self._in_slots = 0
        self._slot_bytes = 0
        self._on_loan = 0

    def use_limits(self, limits: Limits) -> None:
        """Go by other limits from now on. (They are looked up here once, not by every call.)"""
        self._slots = limits.calls_in_flight
        self._most_slot_bytes = 2 * limits.window_bytes
        self._most_begun = limits.most_begun
        self._most_waiting_bytes = limits.waiting_bytes

    def __len__(self) -> int:
        """Calls that have come and not ended. Each lends a place to our own calls."""
        return len(self.running) + len(self._line) + len(self.dependents)

    @property
    def waiting(self) -> int:
        """Calls that have not begun."""
        return len(self._line) + len(self.dependents)

    @property
    def waits(self) -> bool:
        """Whether a call stands in line."""
        return bool(self._line)

    def arrive(self, call: IncomingCall) -> None:
        """Take note of a call that has come.

        Raises:
            ProtocolError: its id is that of a call which has not been answered yet.
        """
        if call.wants_answer:
            if call.request in self._requests:
                raise ProtocolError("duplicate-id", "a request id was used again before its answer")
            self._requests[call.request] = call
        if call.weight:
            self._memory.charge(call.weight)

    def find(self, request: int) -> IncomingCall | None:
        """Return the call that the peer made under that id and waits for, or None."""
        return self._requests.get(request)

    # -- waiting for answers

    def may_depend(self, call: IncomingCall) -> bool:
        """Whether there is room for one more call that waits for answers."""
        return self._dependent_bytes + call.waiting_size <= self._most_waiting_bytes

    def wait_for_answers(self, call: IncomingCall, dependent: Dependent) -> None:
        """Keep a call apart until the answers that it depends on are there."""
        call.dependent = dependent
        self.dependents[call] = None
        self._dependent_bytes += dependent.cost(call)
        if not call.wants_answer:
            self.tells += 1
        for answer in dependent.answers.values():
            if not answer.is_known:
                answer.dependents[call] = None

    def leave_dependents(self, call: IncomingCall) -> Dependent:
        """A call waits for answers no more: they are there, or it does not run."""
        dependent, call.dependent = call.dependent, None
        assert dependent is not None
        del self.dependents[call]
        self._dependent_bytes -= dependent.cost(call)
        if not call.wants_answer:
            self.tells -= 1
        for answer in dependent.answers.values():
            answer.dependents.pop(call, None)
        return dependent

    # -- the line

    @property
    def is_full(self) -> bool:
        """Whether so much stands in line that reading must stop. The call that came last is let in whole."""
        return self._line_bytes > self._most_waiting_bytes

    def get_in_line(self, call: IncomingCall) -> None:
        """Keep a call that is ready until there is a slot."""
        self._line = get_in(self._line, call)
        self._line_bytes += call.waiting_size
        if not call.wants_answer:
            self.tells += 1

    def first(self) -> IncomingCall | None:
        """Return the call that stands first in line."""
        return first_in(self._line)

    def leave_line(self, call: IncomingCall) -> None:
        """Take a call out of the line."""
        del self._line[call]
        self._line_bytes -= call.waiting_size
        if not call.wants_answer:
            self.tells -= 1

    def stands_in_line(self, call: IncomingCall) -> bool:
        """Whether a call is in line."""
        return call in self._line

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
        """The call's method is about to run."""
        self.running[call] = None
        self.moves += 1
        call.has_slot = True
        if self._has_own_slot:
            self._in_slots += 1
            self._slot_bytes += min(call.size, LARGE_MESSAGE)
        else:
            call.on_loan = True
            self._on_loan += 1

    def start_without_slot(self, call: IncomingCall) -> None:
        """The method of a stream's message, or of an update, is about to run."""
        self.running[call] = None

    def end(self, call: IncomingCall) -> bool:
        """The call is over; False when it had ended before."""
        if call.done:
            return False
        call.done = True
        if call.weight:
            self._memory.charge(-call.weight)
        if self.running.pop(call, self) is None and call.has_slot:
            self.moves += 1
            if call.on_loan:
                self._on_loan -= 1
            else:
                self._in_slots -= 1
                self._slot_bytes -= min(call.size, LARGE_MESSAGE)
        if call.due is not None:
            self.expiry.remove(call)
        if call.wants_answer:
            self._requests.pop(call.request, None)
        return True

    # -- the end

    def unheard(self) -> list[IncomingCall]:
        """Return the calls that want an answer, except those on whose answers one-way calls depend."""
        needed: set[IncomingCall] = set()
        todo = [call for call in self.dependents if not call.wants_answer]
        while todo:
            dependent = todo.pop().dependent
            assert dependent is not None
            for request in dependent.answers:
                call = self._requests.get(request)
                if call is not None and call not in needed:
                    needed.add(call)
                    if call.dependent is not None:
                        todo.append(call)
        return [call for call in self._requests.values() if call not in needed]

    def abandon(self, in_order: bool) -> list[IncomingCall]:
        """Forget every call: the connection has ended.

        Args:
            in_order: methods of calls without an answer may run to their end.

        Returns:
            The calls whose methods have to be stopped.
        """
        running = [call for call in self.running if call.wants_answer or not in_order]
        for call in running:
            call.done = True
        self.running.clear()
        self._line = NO_LINE
        for call in self.dependents:
            call.dependent = None
        self.dependents.clear()
        self.expiry.clear()
        self._requests.clear()
        self._line_bytes = self._dependent_bytes = self.tells = 0
        self._in_slots = self._slot_bytes = self._on_loan = 0
        return running
