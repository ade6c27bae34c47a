"""The judge finds what is wrong with histories written by hand, and nothing else."""

from __future__ import annotations

import pytest

from tests.lives.history import Answer, Call, History, Outcome, judge
from tests.lives.values import Thing

ROOT = Thing("B", 1)


class Script:
    """Writes a history: calls of A to B's first object, by default."""

    def __init__(self) -> None:
        self.history = History()

    def make(self, *uses: Call, target: object = ROOT, one_way: bool = False, method: str = "value") -> Call:
        depends = frozenset(call for call in uses if call.known is None)
        args = tuple(call for call in uses if call is not target)
        call = Call(0, "A", "B", method, target, args, uses, frozenset(args), depends, one_way=one_way)
        self.history.make(call, "made")
        return call

    def start(self, *calls: Call, where: str = "B") -> None:
        for call in calls:
            self.history.start(call, where)
            self.history.answered(call, Answer(1), "answers")

    def know(self, *calls: Call) -> None:
        for call in calls:
            self.history.settle(call, Outcome())

    def fail(self, call: Call, *names: str, text: str = "", ran: bool | None = None) -> None:
        self.history.settle(call, Outcome(error=names, text=text, ran=ran))

    def laws(self) -> list[str]:
        return [finding.law for finding in judge(self.history)]


@pytest.fixture
def script() -> Script:
    return Script()


def test_a_history_in_order_is_as_it_should_be(script: Script) -> None:
    first, second = script.make(), script.make()
    script.start(first, second)
    script.know(second, first)
    assert script.laws() == []


def test_a_later_call_starts_first(script: Script) -> None:
    first, second = script.make(), script.make()
    script.start(second, first)
    script.know(first, second)
    assert script.laws() == ["order"]


def test_a_later_call_may_overtake_one_that_depends_on_an_answer(script: Script) -> None:
    answer = script.make()
    waits = script.make(answer)
    later = script.make()
    script.start(answer, later, waits)
    script.know(answer, waits, later)
    assert script.laws() == []


def test_it_may_not_when_it_depends_on_the_same_answer(script: Script) -> None:
    answer = script.make()
    first, second = script.make(answer), script.make(answer)
    script.start(answer, second, first)
    script.know(answer, first, second)
    assert script.laws() == ["order"]


def test_it_may_not_when_its_caller_had_the_answer(script: Script) -> None:
    answer = script.make()
    waits = script.make(answer)
    script.start(answer)
    script.know(answer)
    later = script.make()
    script.start(later, waits)
    script.know(later, waits)
    assert script.laws() == ["order"]


def test_one_way_calls_are_in_the_same_order(script: Script) -> None:
    first, second = script.make(one_way=True), script.make()
    script.start(second, first)
    script.know(second)
    assert script.laws() == ["order"]


def test_a_method_runs_twice(script: Script) -> None:
    call = script.make()
    script.start(call, call)
    script.know(call)
    assert script.laws() == ["at most once"]


def test_a_call_ends_twice(script: Script) -> None:
    call = script.make()
    script.start(call)
    script.know(call, call)
    assert script.laws() == ["exactly once"]


def test_a_call_never_ends(script: Script) -> None:
    script.start(script.make())
    assert script.laws() == ["exactly once"]


def test_a_call_ends_with_a_value_and_never_ran(script: Script) -> None:
    script.know(script.make())
    assert script.laws() == ["value"]


def test_a_call_ends_with_another_value(script: Script) -> None:
    call = script.make()
    script.start(call)
    script.history.settle(call, Outcome("a list instead of 1"))
    assert script.laws() == ["value"]


@pytest.mark.parametrize(("ran", "starts"), [(False, True), (True, False)])
def test_an_error_says_the_wrong_thing_of_whether_the_method_ran(
    script: Script, ran: bool, starts: bool
) -> None:
    call = script.make()
    if starts:
        script.start(call)
    call.given_up = True
    script.fail(call, "CancelledError", ran=ran)
    assert script.laws() == ["ran"]


@pytest.mark.parametrize(
    "name",
    ["AssertionError", "CancelledError", "ConnectionLost", "LimitExceeded", "TimeoutError", "TypeError"],
)
def test_an_error_has_no_cause(script: Script, name: str) -> None:
    script.fail(script.make(), name, "Exception")
    assert script.laws() == ["error"]


def test_an_error_of_the_method_is_that_of_what_depends_on_it(script: Script) -> None:
    fails = script.make()
    depends = script.make(fails, target=fails)
    script.history.start(fails, "B")
    script.history.answered(fails, Answer(error=True), "raises")
    for call in (fails, depends):
        script.fail(call, "RemoteError", text=f"perspective_broker.errors.Error: call {fails.serial} fails")
    assert script.laws() == []


def test_an_error_is_that_of_another_call(script: Script) -> None:
    fails, other = script.make(), script.make()
    script.history.start(fails, "B")
    script.history.answered(fails, Answer(error=True), "raises")
    for call in (fails, other):
        script.fail(call, "RemoteError", text=f"perspective_broker.errors.Error: call {fails.serial} fails")
    assert script.laws() == ["error"]


def test_a_call_is_lost_with_the_connection(script: Script) -> None:
    call = script.make()
    script.history.cut = script.history.note("cut")
    script.fail(call, "ConnectionLost")
    assert script.laws() == []


def test_a_one_way_call_is_lost(script: Script) -> None:
    script.make(one_way=True)
    assert script.laws() == ["one-way"]


@pytest.mark.parametrize(("closes", "laws"), [("A", ["one-way"]), ("B", [])])
def test_only_the_end_that_closes_is_promised_that_its_one_way_calls_run(
    script: Script, closes: str, laws: list[str]
) -> None:
    script.make(one_way=True)
    script.history.closed[closes] = script.history.note("closed")
    assert script.laws() == laws


@pytest.mark.parametrize(
    ("where", "home", "laws"), [("B", False, ["one-way"]), ("C", False, []), ("B", True, [])]
)
def test_a_one_way_call_needs_answers_where_it_runs(
    script: Script, where: str, home: bool, laws: list[str]
) -> None:
    """Its caller has lost one; the callee has it if the method ran there, and the target is not the caller's own."""
    lost, target = script.make(), script.make()
    lost.callee = where
    script.history.start(lost, where)
    script.history.start(target, "B")
    script.history.answered(
        target, Answer(things=frozenset({Thing("A" if home else "B", 2)}), is_object=True), ""
    )
    script.know(target)
    script.make(lost, target, target=target, one_way=True)
    script.history.closed["A"] = script.history.note("closed")
    script.fail(lost, "ConnectionLost")
    script.history.answered(lost, Answer(1), "answers a caller that is gone")
    assert script.laws() == laws


def test_a_one_way_call_on_a_value_does_not_run(script: Script) -> None:
    value = script.make()
    script.make(value, target=value, one_way=True)
    script.start(value)
    script.know(value)
    assert script.laws() == []


@pytest.mark.parametrize(("late", "laws"), [(False, []), (True, ["home"])])
def test_a_call_that_came_home_starts_before_the_answer_is_known(
    script: Script, late: bool, laws: list[str]
) -> None:
    mine = script.make()
    home = script.make(mine, target=mine)
    script.start(mine)
    if late:
        script.know(mine)
    script.start(home, where="A")
    if not late:
        script.know(mine)
    script.know(home)
    assert script.laws() == laws


def test_a_call_that_came_home_with_the_answer_as_its_argument_starts_when_that_is_known(
    script: Script,
) -> None:
    mine = script.make()
    home = Call(0, "A", "B", "value", mine, ([mine],), (mine,), frozenset({mine}), frozenset({mine}))
    script.history.make(home, "made")
    script.start(mine)
    script.know(mine)
    script.start(home, where="A")
    script.know(home)
    assert script.laws() == []


def test_the_end_of_a_connection_further_on_explains_the_error_of_what_depends_on_a_call(
    script: Script,
) -> None:
    """The call itself goes no further than its peer, but the call whose answer it needs does."""
    through = script.make()
    through.caller, through.callee, through.forwards = "C", "A", True
    script.history.closed["A"] = script.history.note("closed")
    dependent = script.make(through)
    dependent.caller = "C"
    for call in (through, dependent):
        script.fail(call, "RemoteError", "Error", ran=False)
    assert script.laws() == []
