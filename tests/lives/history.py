"""The events of one life, and the laws that judge it (DESIGN, section 3).

A :class:`History` only records: calls made, methods started and ended, promises settled. :func:`judge` reads it at the
end, because only then it is known which calls were cancelled and which depended on them::

    made ----------> started ----------> answered ----------> known
    by a program     at the other end    by the method        to the program that made it

It knows nothing of brokers, so a test can write a history by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = ["Answer", "Call", "Finding", "History", "Outcome", "judge"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A law that did not hold.

    Attributes:
        law: which one, as a word.
        text: how it was broken.
    """

    law: str
    text: str

    def __str__(self) -> str:
        return f"{self.law}: {self.text}"


class Owned(Protocol):
    """An object of one end."""

    @property
    def end(self) -> str:
        """The end's name."""

    @property
    def passes_on(self) -> bool:
        """Whether it can cross a connection after another."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a method ended.

    Attributes:
        description: what it returned.
        things: the objects in that.
        error: whether it raised instead.
        is_object: whether what it returned can be called.
        odd: whether there is something in it that one of the ends cannot encode or decode.
        promises: calls whose promises are in it, as they may be when the method ran at its caller's.
    """

    description: Any = None
    things: frozenset[Owned] = frozenset()
    error: bool = False
    is_object: bool = False
    odd: bool = False
    promises: frozenset[Call] = frozenset()


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a promise, or of a call that was refused at once.

    Attributes:
        mismatch: the difference of the value from the method's; "" if there is none.
        error: names of the exception's class and its bases; empty for a value.
        text: the exception's.
        ran: the exception's attribute.
    """

    mismatch: str = ""
    error: tuple[str, ...] = ()
    text: str = ""
    ran: bool | None = None


@dataclass(eq=False, slots=True)
class Call:
    """One call. Moments are numbers of events in the history.

    Attributes:
        serial: its number.
        caller: the end that made it, and
        callee: the other end of that connection.
        method: the method's name.
        target: description of the object that is called; a call stands for its answer.
        args: descriptions of the arguments.
        uses: the calls whose promises it mentions, and
        given: those of them that are among its arguments, and
        depends: those of them that were unsettled when it was made.
        made: when.
        one_way: whether it has no answer.
        limited: whether it was made under a deadline.
        given_up: whether a program cancelled it.
        refused: whether it raised when it was made, so that there is no call.
        odd: whether there is something in its arguments that one of the ends cannot encode or decode.
        things: the objects in its target and its arguments.
        starts: when and at which end its method started.
        forwards: whether references cross by way of a third end.
        reading: whether its caller reads the stream that it answered with.
        answer: how the method ended.
        known: when the program that made it had the answer.
        outcome: how it ended for that program.
    """

    serial: int
    caller: str
    callee: str
    method: str
    target: Any
    args: tuple[Any, ...] = ()
    uses: tuple[Call, ...] = ()
    given: frozenset[Call] = frozenset()
    depends: frozenset[Call] = frozenset()
    made: int = 0
    one_way: bool = False
    limited: bool = False
    given_up: bool = False
    refused: bool = False
    odd: bool = False
    things: frozenset[Owned] = frozenset()
    starts: list[tuple[int, str]] = field(default_factory=list)
    forwards: bool = False
    reading: bool = False
    answer: Answer | None = None
    known: int | None = None
    outcome: Outcome | None = None

    def __str__(self) -> str:
        return f"{self.serial} ({self.method} by {self.caller})"

    @property
    def came_home(self) -> bool:
        """Whether its target turned out to be the caller's own, so that it ran there."""
        return bool(self.starts) and self.starts[0][1] == self.caller

    def mentions(self) -> Iterator[Owned]:
        """Give the objects that are mentioned in it, in the answers that it uses, and in its answer."""
        yield from self.things
        for call in (self, *self.uses):
            if call.answer is not None:
                yield from call.answer.things

    @property
    def goes_through(self) -> bool:
        """Whether it goes by way of a third end."""
        return self.forwards and "B" not in (self.caller, self.callee)

    @property
    def is_foreign(self) -> bool:
        """Whether it mentions an object that cannot cross: of a third end, or a replica by way of a third end."""
        return any(
            not (self.forwards and thing.passes_on)
            if thing.end not in (self.caller, self.callee)
            else self.goes_through and not thing.passes_on
            for thing in self.mentions()
        )

    def and_all_it_uses(self) -> Iterator[Call]:
        """Give the call, the calls whose answers it needs, those that they need, and so on."""
        seen, todo = {self}, [self]
        while todo:
            call = todo.pop()
            yield call
            for used in call.uses:
                if used not in seen:
                    seen.add(used)
                    todo.append(used)


class History:
    """Records one life.

    Args:
        most: calls; then its programs only wait.
        forwards: whether references cross by way of a third end.

    Attributes:
        calls: all calls, by serial.
        events: one line for each event; its place is the event's moment.
        findings: laws that were broken visibly, before the end.
        cut: when the connection was cut, or was ended against the law of closing.
        closed: when each end closed it.
        drained: whether an end drained it.
        at_call: a function that is called when the call of a serial is made.
        released: objects whose reference a program released by hand, so that using it is an error.
    """

    def __init__(self, most: int = 150, forwards: bool = False) -> None:
        self.most = most
        self.forwards = forwards
        self.calls: dict[int, Call] = {}
        self.events: list[str] = []
        self.findings: list[Finding] = []
        self.cut: int | None = None
        self.closed: dict[str, int] = {}
        self.drained = False
        self.at_call: dict[int, Callable[[], object]] = {}
        self.released: set[Owned] = set()

    def note(self, text: str) -> int:
        """Record an event; return its moment."""
        self.events.append(text)
        return len(self.events) - 1

    def find(self, law: str, text: str) -> None:
        """Record that a law was broken."""
        self.findings.append(Finding(law, text))
        self.note(f"!!! {law}: {text}")

    def make(self, call: Call, text: str) -> None:
        """Record a call that is about to be made."""
        call.serial = call.serial or len(self.calls) + 1
        self.calls[call.serial] = call
        call.made = self.note(text)
        if call.serial in self.at_call:
            self.at_call[call.serial]()

    def start(self, call: Call, where: str) -> None:
        """Record that a method began at an end."""
        call.starts.append((self.note(f"{where} starts {call}"), where))
        if len(call.starts) > 1:
            self.find("at most once", f"{call} started again")

    def answered(self, call: Call, answer: Answer, text: str) -> None:
        """Record how a method ended."""
        call.answer = answer
        self.note(f"{call.serial} {text}")

    def learn(self, call: Call) -> None:
        """Record that the answer of a call is there for its program."""
        if call.known is None:
            call.known = self.note(f"{call.caller} knows the answer of {call.serial}")

    def settle(self, call: Call, outcome: Outcome) -> None:
        """Record how a promise was settled."""
        self.learn(call)
        error = (
            f"{outcome.error[0]}: {outcome.text:.200}"
            if outcome.error
            else outcome.mismatch or "as it should"
        )
        self.note(f"{call.serial} ended: {error}")
        if call.outcome is not None:
            self.find("exactly once", f"{call} ended again")
        call.outcome = outcome

    def unfinished(self) -> list[str]:
        """Return what has not ended."""
        calls = [str(call) for call in self.calls.values() if not (call.outcome or call.one_way)]
        return calls + [f"the stream of {call}" for call in self.calls.values() if call.reading]

    @property
    def ended(self) -> int | None:
        """When the end of the connection began."""
        moments = [*self.closed.values(), *([] if self.cut is None else [self.cut])]
        return min(moments, default=None)


def judge(history: History) -> list[Finding]:
    """Return every law that did not hold, when everything is over."""
    found = list(history.findings)
    calls = list(history.calls.values())
    for call in calls:
        found += _judge_end(history, call)
    found += _judge_order(calls)
    found += _judge_home(calls)
    found += _judge_one_way(history, calls)
    return found


# -- every call ends exactly once, with its value or with an error that has a cause


def _judge_end(history: History, call: Call) -> Iterator[Finding]:
    outcome = call.outcome
    if call.refused and call.starts:
        yield Finding("ran", f"{call} started, and had been refused when it was made")
    if outcome is None:
        if not call.one_way:
            yield Finding("exactly once", f"{call} has not ended")
        return
    if outcome.mismatch:
        yield Finding("value", f"{call} ended with {outcome.mismatch}")
    if not outcome.error:
        if call.answer is None or call.answer.error:
            yield Finding("value", f"{call} ended with a value, and its method gave none")
        return
    if outcome.ran is False and call.starts:
        yield Finding("ran", f"{call} started, and {outcome.error[0]} says that it did not")
    if outcome.ran is True and not call.starts:
        yield Finding("ran", f"{call} never started, and {outcome.error[0]} says that it did")
    if not _is_explained(history, call, outcome):
        yield Finding("error", f"{call} ended with {outcome.error[0]}: {outcome.text:.200}")


def _is_explained(history: History, call: Call, outcome: Outcome) -> bool:
    """Whether something that was done, here or to a call that this one uses, explains its error."""
    family = list(call.and_all_it_uses())
    ended = history.ended is not None and (call.known is None or history.ended < call.known)
    given_up = any(one.given_up for one in family)
    limited = any(one.limited for one in family)
    released = any(history.released.intersection(one.mentions()) for one in family)
    odd = any(one.odd or one.is_foreign or (one.answer is not None and one.answer.odd) for one in family)
    values = any(
        isinstance(one.target, Call)
        and one.target.answer is not None
        and not (one.target.answer.error or one.target.answer.is_object)
        for one in family
    )
    explanations = {
        "CancelledError": given_up or limited or ended,
        "TimeoutError": limited,
        "ConnectionLost": ended,
        "DeadReferenceError": ended or released,
        "UnknownObject": released,
        "SerializationError": given_up or limited or released or odd,
        "DecodeError": odd or any(_mentions_a_spoiled_replica(history, one) for one in family),
        "BadAnswer": odd,
        "TypeError": values,
        "LimitExceeded": (history.drained and ended) or (call.refused and call.one_way),
        "Unavailable": ended,
        "Error": _is_the_error_of(family, outcome.text),
        "RemoteError": _is_the_error_of(family, outcome.text)
        or (odd or released)
        or (any(one.goes_through for one in family) and (given_up or limited or ended)),
    }
    return any(explanations.get(name, False) for name in outcome.error)


def _mentions_a_spoiled_replica(history: History, call: Call) -> bool:
    """Whether a replica that a call mentions may have been introduced by a message that could not be read."""
    mentioned = set(call.mentions())

    def may_be_unreadable(one: Call) -> bool:
        return one.odd or any(used.answer is not None and used.answer.odd for used in one.uses)

    return any(
        (one.caller, one.callee) == (call.caller, call.callee)
        and may_be_unreadable(one)
        and mentioned.intersection(one.things)
        for one in history.calls.values()
    )


def _is_the_error_of(calls: Sequence[Call], text: str) -> bool:
    """Whether an error's text is that of a method which raised for one of these calls."""
    return any(
        text.endswith(f"call {call.serial} fails")
        for call in calls
        if call.answer is not None and call.answer.error
    )


# -- order


def _judge_order(calls: Sequence[Call]) -> Iterator[Finding]:
    """Rule 2: no call of a side starts before an earlier one, unless that depends on an answer of its own."""
    # What was called on a promise may run where that was not known to lead: at the caller, or at a third end.
    started = [call for call in calls if call.starts and call.starts[0][1] == call.callee]
    for ends in sorted({(call.caller, call.callee) for call in started}):
        mine = [call for call in started if (call.caller, call.callee) == ends]
        mine.sort(key=lambda call: call.made)
        for place, later in enumerate(mine):
            for earlier in mine[:place]:
                if later.starts[0] < earlier.starts[0] and not _may_overtake(later, earlier):
                    yield Finding("order", f"{later} started before {earlier}, which was made before it")


def _may_overtake(later: Call, earlier: Call) -> bool:
    depends = set(earlier.depends)
    for used in earlier.and_all_it_uses():
        if used.answer is not None:
            depends |= used.answer.promises
    return any(
        answer not in later.depends and (answer.known is None or answer.known > later.made)
        for answer in depends
    )


def _judge_home(calls: Sequence[Call]) -> Iterator[Finding]:
    """Rule 4: what was called on a promise that came home is made before the program learns the answer.

    Unless it needs an answer for its arguments, be it the same one: it has them when the program has them.
    """
    for call in calls:
        target = call.target
        if not (call.came_home and isinstance(target, Call) and call.depends == {target}):
            continue
        if target in call.given:
            continue
        if target.came_home or target.known is None or call.method.startswith("slow"):
            continue  # an asynchronous method is begun by its own task, later
        if call.starts[0][0] > target.known:
            yield Finding("home", f"{call} started after {call.caller} knew the answer of {target.serial}")


# -- one-way calls


def _judge_one_way(history: History, calls: Iterable[Call]) -> Iterator[Finding]:
    """One-way calls run, unless the connection broke or what they depend on failed."""
    for call in calls:
        if call.one_way and not call.refused and not call.starts and _must_run(history, call):
            yield Finding("one-way", f"{call} never started")


def _must_run(history: History, call: Call) -> bool:
    if history.cut is not None:
        return False
    if "C" in (call.caller, call.callee):
        return False  # the third end's connection is cut when the life is over
    # Whatever the end makes that does not close may meet a connection that has ended.
    callee_closed, caller_closed = history.closed.get(call.callee), history.closed.get(call.caller)
    if callee_closed is not None and (caller_closed is None or callee_closed < caller_closed):
        return False
    if _mentions_a_spoiled_replica(history, call):
        return False
    for one in call.and_all_it_uses():
        if one.given_up or one.limited or one.odd or one.is_foreign:
            return False
        if history.released.intersection(one.mentions()):
            return False
        if one is not call and (one.answer is None or one.answer.error or one.answer.odd):
            return False
        if (
            one is not call
            and (one.outcome is not None and one.outcome.error)
            and ((one.known or 0) < call.made or not _is_known_where_it_runs(one, call))
        ):
            return False  # its caller never had that answer
        if isinstance(one.target, Call) and not (one.target.answer and one.target.answer.is_object):
            return False
    return True


def _is_known_where_it_runs(one: Call, call: Call) -> bool:
    """Whether the end that would run ``call`` has the answer of ``one`` itself, because that ran there as well."""
    target = call.target.answer if isinstance(call.target, Call) else None
    if target is not None and any(thing.end == call.caller for thing in target.things):
        return False  # the target came home, and only the caller can run the call
    return bool(one.starts) and one.starts[0][1] == call.callee
