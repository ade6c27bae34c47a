"""The attribute ``ran`` of an error shows whether the method has run. A table: one row for each outcome."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.testing import BrokerPair, Outcome

from .objects import Hooked, Node, Trap, TrapCopy, Unregistered, ended_by, make_pair


class Failing(Node):
    """A node whose methods end in every way."""

    def remote_break(self) -> None:
        self.log.append("ran")
        raise KeyError("a defect")

    def remote_expected(self) -> None:
        self.log.append("ran")
        raise pb.Error("as expected")

    def remote_object(self) -> object:
        self.log.append("ran")
        return object()

    def remote_trap(self) -> Trap:
        self.log.append("ran")
        return Trap()

    def remote_needs_two(self, one: Any, two: Any) -> None:
        self.log.append("ran")

    def remote_calls(self, other: Any) -> Any:
        """Fail with the error of a call of the other side, which was refused before it ran."""
        self.log.append("ran")
        return ended_by(other.call("nothing"))


def ended(pair: BrokerPair, outcome: Outcome) -> Outcome:
    pair.run()
    return outcome


def draining(pair: BrokerPair) -> Outcome:
    pair.server.broker.drain()
    return ended(pair, pair.root.call("mark", "ran"))


def trapped(pair: BrokerPair, make: Callable[[], Outcome]) -> Outcome:
    """Make a call while no state can be decoded on either side."""

    def sprung() -> None:
        raise ValueError("cannot be read")

    before = TrapCopy.sprung
    TrapCopy.sprung = staticmethod(sprung)
    try:
        return ended(pair, make())
    finally:
        TrapCopy.sprung = before


def cut(pair: BrokerPair, outcome: Outcome) -> Outcome:
    pair.link.cut()
    return outcome


def sent(pair: BrokerPair) -> Outcome:
    return ended(pair, pair.root.call("later"))


def node_of(pair: BrokerPair) -> Failing:
    node = pair.server.broker.tables.exports.find("root").obj
    assert isinstance(node, Failing)
    return node


def fail_later(pair: BrokerPair, outcome: Outcome) -> Outcome:
    node_of(pair).later[0].fail(pb.Error("no"))
    return ended(pair, outcome)


ROWS: dict[str, tuple[type[BaseException], bool | None, Callable[[BrokerPair], Outcome]]] = {
    "a defect": (pb.RemoteError, True, lambda pair: ended(pair, pair.root.call("break"))),
    "an expected error": (pb.RemoteError, True, lambda pair: ended(pair, pair.root.call("expected"))),
    "an answer that cannot cross": (pb.RemoteError, True, lambda pair: ended(pair, pair.root.call("object"))),
    "an answer that cannot be read": (
        pb.BadAnswer,
        True,
        lambda pair: trapped(pair, lambda: pair.root.call("trap")),
    ),
    "a call of the method's own was refused": (
        pb.RemoteError,
        True,
        lambda pair: ended(pair, pair.root.call("calls", Node())),
    ),
    "no such method": (pb.NoSuchMethod, False, lambda pair: ended(pair, pair.root.call("nothing"))),
    "bad arguments": (pb.BadArguments, False, lambda pair: ended(pair, pair.root.call("needs_two"))),
    "arguments that cannot cross": (
        pb.SerializationError,
        False,
        lambda pair: pair.root.call("mark", object()),
    ),
    "a hook that raises": (
        ZeroDivisionError,
        False,
        lambda pair: pair.root.call("mark", Hooked(lambda: 1 // 0)),
    ),
    "arguments that cannot be read": (
        pb.DecodeError,
        False,
        lambda pair: trapped(pair, lambda: pair.root.call("mark", Trap())),
    ),
    "a class that is not allowed": (
        pb.InsecureJelly,
        False,
        lambda pair: ended(pair, pair.root.call("mark", Unregistered())),
    ),
    "draining": (pb.Unavailable, False, draining),
    "the connection lost under way": (pb.ConnectionLost, None, lambda pair: cut(pair, sent(pair))),
    "the connection lost while it waited for room": (
        pb.ConnectionLost,
        False,
        lambda pair: cut(pair, [pair.root.call("later") for _ in range(3)][2]),
    ),
    "the connection lost while it waited alone": (
        pb.ConnectionLost,
        False,
        lambda pair: cut(pair, sent(pair).call("mark", "ran")),
    ),
    "its target failed": (
        pb.RemoteError,
        False,
        lambda pair: ended(pair, pair.root.call("refuse").call("mark", "ran")),
    ),
    "what its target depends on failed": (
        pb.RemoteError,
        False,
        lambda pair: ended(pair, pair.root.call("refuse").call("child").call("mark", "ran")),
    ),
    "the target that it waited for alone failed": (
        pb.RemoteError,
        False,
        lambda pair: fail_later(pair, sent(pair).call("mark", "ran")),
    ),
    "its argument failed": (
        pb.RemoteError,
        False,
        lambda pair: ended(pair, pair.root.call("mark", "ran", pair.root.call("refuse"))),
    ),
    "the argument that it waited for alone failed": (
        pb.RemoteError,
        False,
        lambda pair: fail_later(pair, pair.root.call("mark", "ran", sent(pair))),
    ),
    "its target is no object": (
        TypeError,
        False,
        lambda pair: ended(pair, pair.root.call("mark", 1).call("mark", "ran")),
    ),
    "its target, which had left, is no object": (
        TypeError,
        False,
        lambda pair: ended(pair, _answered(pair, sent(pair).call("mark", "ran"), 7)),
    ),
}


def _answered(pair: BrokerPair, outcome: Outcome, value: Any) -> Outcome:
    node_of(pair).later[0].answer(value)
    return outcome


@pytest.mark.parametrize("kind", ROWS)
def test_an_error_says_whether_the_method_has_run(kind: str) -> None:
    error, ran, make = ROWS[kind]
    node = Failing()
    pair = make_pair(node, client_limits=pb.Limits(calls_in_flight=2))
    outcome = make(pair)
    assert outcome.done
    assert type(outcome.error) is error or (error is pb.RemoteError and isinstance(outcome.error, error))
    assert outcome.error is not None
    assert outcome.error.ran is ran  # type: ignore[attr-defined]
    if ran is not None:
        assert ("ran" in node.log) is ran
    pair.link.cut()


def test_a_call_that_a_hook_fails_with_the_error_of_another_call_has_not_run() -> None:
    node = Failing()
    with make_pair(node) as pair:
        broken = ended(pair, pair.root.call("break"))
        result = broken.result

        def hook() -> None:
            result()

        outcome = pair.root.call("mark", Hooked(hook))
        assert isinstance(outcome.error, pb.RemoteError)
        assert outcome.error.ran is False
        assert isinstance(broken.error, pb.RemoteError)
        assert broken.error.ran is True
        broken.error = outcome.error = None  # an error refers to the frames where it was raised
