"""Random lives of a connection: the rules hold, however messages are split, delayed, crossed or cut.

Two machines: one for calls and references, one for cacheables and their replicas. Their models are plain Python.
"""

from __future__ import annotations

import gc
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import perspective_broker as pb
from perspective_broker.testing import BrokerPair, End, Later, Outcome
from tests.heap import frozen_before

from .objects import Counter, CounterReplica, registry

SETTINGS = settings(max_examples=60, stateful_step_count=40)

sides = st.sampled_from(["server", "client"])
sizes = st.one_of(st.integers(1, 30), st.none())


class Party(pb.Root):
    """The root of either side: it keeps objects, returns them, and answers later."""

    def __init__(self) -> None:
        self.held: list[Any] = []  # references and objects that the peer sent
        self.log: list[int] = []  # serial numbers of the calls that started
        self.later: list[tuple[int, Later]] = []

    def remote_keep(self, serial: int, *things: Any) -> int:
        self.log.append(serial)
        self.held.extend(things)
        return serial

    def remote_same(self, serial: int, thing: Any) -> Any:
        self.log.append(serial)
        return thing

    def remote_later(self, serial: int, *things: Any) -> Later:
        self.log.append(serial)
        later = Later()
        self.later.append((serial, later))
        return later

    def remote_look(self, serial: int, *things: Any) -> int:
        self.log.append(serial)
        return serial

    def remote_refuse(self, serial: int, *things: Any) -> None:
        self.log.append(serial)
        raise pb.Error("refused")


class Token(pb.Referenceable):
    """An object of one side."""

    def __init__(self, side: str, number: int) -> None:
        self.side = side
        self.number = number

    def remote_number(self) -> int:
        return self.number


class Life(RuleBasedStateMachine):
    """Shared by the two machines: a pair, and a link that carries as many bytes as a step requests."""

    dialect = "pb"
    limits = pb.Limits(calls_in_flight=3, window_bytes=400)

    def __init__(self) -> None:
        super().__init__()
        self.parties = {"server": Party(), "client": Party()}
        self.pair = BrokerPair(
            self.parties["server"], registry=registry, dialects=[self.dialect], limits=self.limits
        )
        self.pair.client.broker.tables.exports.name("root", self.parties["client"])
        self.ends = {"server": self.pair.server, "client": self.pair.client}
        self.roots = {side: end.root for side, end in self.ends.items()}
        self.was_cut = False

    def other(self, side: str) -> str:
        return "client" if side == "server" else "server"

    def end(self, side: str) -> End:
        return self.ends[side]

    @rule(side=sides, size=sizes)
    def deliver(self, side: str, size: int | None) -> None:
        self.pair.link.deliver(self.end(side), size)

    @rule()
    def collect(self) -> None:
        gc.collect()

    @invariant()
    def nobody_complains(self) -> None:
        if not self.was_cut:
            assert (self.pair.server.code, self.pair.client.code) == ("", "")


class Calls(Life):
    """Check order, one outcome for each call, identity, and tables that contain only the root at the end."""

    tokens = Bundle("tokens")

    def __init__(self) -> None:
        super().__init__()
        self.serial = 0
        self.made: dict[str, list[int]] = {"server": [], "client": []}  # by the side that calls
        self.outcomes: dict[int, tuple[str, Any, Outcome]] = {}

    @rule(target=tokens, side=sides)
    def make_token(self, side: str) -> Token:
        self.serial += 1
        return Token(side, self.serial)

    def call(self, side: str, kind: str, *things: Any) -> None:
        if self.was_cut:
            with pytest.raises(pb.DeadReferenceError):
                self.roots[side].call(kind, 0, *things)
            return
        self.serial += 1
        outcome = self.roots[side].call(kind, self.serial, *things)
        self.made[side].append(self.serial)
        expected = things[0] if kind == "same" else self.serial
        self.outcomes[self.serial] = (kind, expected, outcome)

    @rule(side=sides, kind=st.sampled_from(["keep", "later", "refuse"]), size=st.sampled_from([0, 300]))
    def call_plainly(self, side: str, kind: str, size: int) -> None:
        self.call(side, kind, *([b"x" * size] if size and kind != "keep" else []))

    @rule(token=tokens, kind=st.sampled_from(["keep", "same", "later", "refuse"]))
    def send(self, token: Token, kind: str) -> None:
        self.call(token.side, kind, *([token] if kind == "same" else [token, token]))

    @rule(token=tokens)
    def tell(self, token: Token) -> None:
        if not self.was_cut:
            self.serial += 1
            self.roots[token.side].tell("keep", self.serial, token)
            self.made[token.side].append(self.serial)

    @rule(side=sides, kind=st.sampled_from(["keep", "same"]), data=st.data())
    def send_home(self, side: str, kind: str, data: st.DataObject) -> None:
        references = [thing for thing in self.parties[side].held if not isinstance(thing, Token)]
        if references:
            self.call(side, kind, data.draw(st.sampled_from(references)))

    @rule(side=sides, data=st.data())
    def call_a_token(self, side: str, data: st.DataObject) -> None:
        references = [thing for thing in self.parties[side].held if not isinstance(thing, Token)]
        if references and not self.was_cut:
            self.serial += 1
            outcome = data.draw(st.sampled_from(references)).call("number")
            self.outcomes[-self.serial] = ("number", None, outcome)

    @rule(side=sides, data=st.data())
    def drop_one(self, side: str, data: st.DataObject) -> None:
        held = self.parties[side].held
        if held:
            held.pop(data.draw(st.integers(0, len(held) - 1)))

    @rule(side=sides)
    def drop_all(self, side: str) -> None:
        self.parties[side].held.clear()

    @rule(side=sides, data=st.data())
    def give_one_back(self, side: str, data: st.DataObject) -> None:
        held = self.parties[side].held
        references = [thing for thing in held if not isinstance(thing, Token)]
        if references:
            chosen = data.draw(st.sampled_from(references))
            held[:] = [thing for thing in held if thing is not chosen]
            chosen.release()

    @rule(side=sides, well=st.booleans(), data=st.data())
    def answer(self, side: str, well: bool, data: st.DataObject) -> None:
        later = self.parties[side].later
        if later:
            serial, one = later.pop(data.draw(st.integers(0, len(later) - 1)))
            self.resolve(serial, one, well)

    def resolve(self, serial: int, later: Later, well: bool = True) -> None:
        if well:
            later.answer(serial)
        else:
            kind, _, outcome = self.outcomes[serial]
            self.outcomes[serial] = ("refuse", kind, outcome)
            later.fail(pb.Error("refused"))

    @invariant()
    def calls_started_in_the_order_in_which_they_were_made(self) -> None:
        for side in ("server", "client"):
            log = self.parties[self.other(side)].log
            assert log == self.made[side][: len(log)]

    @invariant()
    def an_object_is_one_reference(self) -> None:
        for party in self.parties.values():
            by_id: dict[Any, Any] = {}
            for thing in party.held:
                if not isinstance(thing, Token):
                    assert by_id.setdefault(thing._luid, thing) is thing

    @invariant()
    def what_came_home_is_the_object_itself(self) -> None:
        for side, party in self.parties.items():
            assert all(thing.side == side for thing in party.held if isinstance(thing, Token))

    def teardown(self) -> None:
        if not self.was_cut:
            self.pair.run()
            while any(party.later for party in self.parties.values()):
                for party in self.parties.values():
                    while party.later:
                        self.resolve(*party.later.pop(0))
                self.pair.run()
        self.check_outcomes()
        self.outcomes.clear()
        for party in self.parties.values():
            party.held.clear()
            party.later.clear()
        self.pair.assert_no_leaks()

    def check_outcomes(self) -> None:
        for serial, (kind, expected, outcome) in self.outcomes.items():
            assert outcome.done, (serial, kind)
            if isinstance(outcome.error, pb.ConnectionLost):
                assert self.was_cut
            elif kind == "refuse":
                assert isinstance(outcome.error, pb.RemoteError)
            elif kind == "number":
                assert isinstance(outcome.result(), int)
            elif kind == "same":
                # A reference that was released in the meantime is dead; a new one arrives.
                assert outcome.result() is expected or not getattr(expected, "_receipts", True)
            else:
                assert outcome.result() == expected
        if not self.was_cut:
            for side in ("server", "client"):
                assert self.parties[self.other(side)].log == self.made[side]


class CallsThatAreCut(Calls):
    """The same on a link that breaks at some point."""

    @precondition(lambda self: self.serial > 8)
    @rule()
    def cut(self) -> None:
        self.was_cut = True
        self.pair.link.cut()


class Pipelined(Calls):
    """The same with calls to answers that have not arrived, calls that refer to them, and cancellations."""

    dialect = "pb7"

    def __init__(self) -> None:
        super().__init__()
        self.promises: dict[str, list[Outcome]] = {"server": [], "client": []}
        self.hanging: list[tuple[Outcome, list[Outcome]]] = []  # calls, and the calls on which they depend

    def call(self, side: str, kind: str, *things: Any) -> None:
        super().call(side, kind, *things)
        if not self.was_cut:
            self.promises[side].append(self.outcomes[self.serial][2])

    def hang(self, side: str, outcome: Outcome, *on: Outcome) -> None:
        self.hanging.append((outcome, list(on)))
        self.promises[side].append(outcome)

    @rule(side=sides, data=st.data())
    def call_an_answer(self, side: str, data: st.DataObject) -> None:
        if self.promises[side] and not self.was_cut:
            promise = data.draw(st.sampled_from(self.promises[side]))
            self.hang(side, promise.call("number"), promise)

    @rule(side=sides, kind=st.sampled_from(["look", "same", "later"]), nested=st.booleans(), data=st.data())
    def mention_an_answer(self, side: str, kind: str, nested: bool, data: st.DataObject) -> None:
        promises = self.promises[side]
        if promises and not self.was_cut and not any(promise.error for promise in promises):
            promise = data.draw(st.sampled_from(promises))
            outcome = self.roots[side].call(kind, 0, [(promise,)] if nested else promise)
            self.hang(side, outcome, promise)

    @rule(side=sides, data=st.data())
    def tell_an_answer(self, side: str, data: st.DataObject) -> None:
        promises = [promise for promise in self.promises[side] if promise.error is None]
        if promises and not self.was_cut:
            self.roots[side].tell("look", 0, data.draw(st.sampled_from(promises)))

    @rule(side=sides, data=st.data())
    def cancel(self, side: str, data: st.DataObject) -> None:
        """The peer may or may not have begun, or answered; the methods end only when a step makes them."""
        if self.promises[side] and not self.was_cut:
            promise = data.draw(st.sampled_from(self.promises[side]))
            promise.cancel()
            self.cancelled = True

    cancelled = False

    @rule(side=sides)
    def forget_promises(self, side: str) -> None:
        self.promises[side].clear()

    def resolve(self, serial: int, later: Later, well: bool = True) -> None:
        if serial:
            super().resolve(serial, later, well)
        else:
            later.answer(serial)

    @invariant()
    def calls_started_in_the_order_in_which_they_were_made(self) -> None:
        for side in ("server", "client"):
            log = [serial for serial in self.parties[self.other(side)].log if serial]
            if not self.cancelled:
                assert log == self.made[side][: len(log)]
            assert log == sorted(log)

    def check_outcomes(self) -> None:
        for serial, (kind, _, outcome) in self.outcomes.items():
            assert outcome.done, (serial, kind)
        for outcome, on in self.hanging:
            assert outcome.done
            for promise in on:
                assert promise.done
                if promise.error is not None and not self.was_cut and not self.cancelled:
                    assert outcome.error is not None
                    assert (type(outcome.error), outcome.error.args) == (
                        type(promise.error),
                        promise.error.args,
                    )
        if not self.cancelled:
            self.outcomes = {
                serial: outcome for serial, outcome in self.outcomes.items() if outcome[0] != "number"
            }
            logs = {side: party.log for side, party in self.parties.items()}
            for party in self.parties.values():
                party.log = [serial for serial in party.log if serial]
            super().check_outcomes()
            for side, party in self.parties.items():
                party.log = logs[side]
        for promises in self.promises.values():
            promises.clear()
        self.hanging.clear()


class PipelinedThatIsCut(Pipelined, CallsThatAreCut):
    """The same on a link that breaks at some point."""


class Replicas(Life):
    """Check that replicas equal their sources in the end, and that each observer is stopped exactly once."""

    counters = Bundle("counters")

    def __init__(self) -> None:
        super().__init__()
        self.counters_made: list[tuple[str, Counter]] = []
        self.serial = 0

    @rule(target=counters, side=sides)
    def make_counter(self, side: str) -> Counter:
        counter = Counter(own=self.serial)
        self.counters_made.append((side, counter))
        return counter

    def side_of(self, counter: Counter) -> str:
        return next(side for side, made in self.counters_made if made is counter)

    @rule(counter=counters, kind=st.sampled_from(["keep", "later", "same"]), twice=st.booleans())
    def send(self, counter: Counter, kind: str, twice: bool) -> None:
        if not self.was_cut:
            root = self.roots[self.side_of(counter)]
            root.call(kind, 0, *([counter, counter] if twice and kind != "same" else [counter]))

    @rule(counter=counters)
    def answer_with(self, counter: Counter) -> None:
        """The owner of the counter answers a call with it, before its own calls that wait."""
        later = self.parties[self.side_of(counter)].later
        if later:
            later.pop(0)[1].answer(counter)

    @rule(counter=counters)
    def fail_to_send(self, counter: Counter) -> None:
        if not self.was_cut:
            outcome = self.roots[self.side_of(counter)].call("keep", 0, counter, object())
            assert isinstance(outcome.error, pb.SerializationError)

    @rule(side=sides, kind=st.sampled_from(["keep", "later"]))
    def call_plainly(self, side: str, kind: str) -> None:
        if not self.was_cut:
            self.roots[side].call(kind, 0)

    @rule(counter=counters, name=st.sampled_from("abc"))
    def change(self, counter: Counter, name: str) -> None:
        self.serial += 1
        counter.set(name, self.serial)

    @rule(counter=counters, side=sides)
    def send_home(self, counter: Counter, side: str) -> None:
        held = [thing for thing in self.parties[side].held if isinstance(thing, CounterReplica)]
        if held and not self.was_cut:
            self.roots[side].call("keep", 0, held[-1])

    @rule(side=sides)
    def drop_all(self, side: str) -> None:
        self.parties[side].held.clear()
        gc.collect()

    @rule(side=sides)
    def answer_all(self, side: str) -> None:
        later = self.parties[side].later
        while later:
            later.pop()[1].answer()

    @invariant()
    def every_observer_is_of_a_replica_that_was_not_given_up(self) -> None:
        for side, counter in self.counters_made:
            observers = self.end(side).broker.tables.observers
            for observer in counter.observers:
                assert observers.find(observer._luid) is not None
            assert len(counter.asked) == len(counter.stopped) + len(counter.observers)

    @invariant()
    def a_replica_is_one_object_and_comes_home_as_its_source(self) -> None:
        own = {side: [made for where, made in self.counters_made if where == side] for side in self.parties}
        for side, party in self.parties.items():
            for thing in party.held:
                assert isinstance(thing, CounterReplica) or any(thing is made for made in own[side])

    def teardown(self) -> None:
        if not self.was_cut:
            self.pair.run()
            for side in self.parties:
                self.answer_all(side)
            self.pair.run()
            while any(party.later for party in self.parties.values()):
                for side in self.parties:
                    self.answer_all(side)
                self.pair.run()
            self.check_equal()
        for party in self.parties.values():
            party.held.clear()
            party.later.clear()
        self.pair.assert_no_leaks()
        for _, counter in self.counters_made:
            assert counter.observers == []
            assert len({id(observer) for _, observer in counter.stopped}) == len(counter.asked)

    def check_equal(self) -> None:
        for side, party in self.parties.items():
            observers = self.end(self.other(side)).broker.tables.observers
            for thing in party.held:
                if isinstance(thing, CounterReplica):
                    observed = observers.find(thing._pb_luid)
                    assert observed is not None
                    assert isinstance(observed.obj, Counter)
                    assert thing.numbers == observed.obj.numbers


class ReplicasThatAreCut(Replicas):
    """The same on a link that breaks at some point."""

    @precondition(lambda self: self.serial > 4)
    @rule()
    def cut(self) -> None:
        self.was_cut = True
        self.pair.link.cut()


@pytest.mark.parametrize("machine", [Calls, CallsThatAreCut, Replicas, ReplicasThatAreCut])
def test_the_laws_hold_in_any_life(machine: type[Life], dialect: str) -> None:
    run(type(machine.__name__, (machine,), {"dialect": dialect}))


@pytest.mark.modern
@pytest.mark.parametrize("machine", [Pipelined, PipelinedThatIsCut])
def test_the_laws_hold_where_calls_hang_on_each_other(machine: type[Life]) -> None:
    run(machine)


def run(life: type[Life]) -> None:
    with frozen_before():
        run_state_machine_as_test(life, settings=SETTINGS)
