"""A hundred thousand steps of sending, calling, sending back, dropping and releasing on a slow link, and a model.

Messages of the two sides cross in any order. An object that is held is never freed, all others are freed.
"""

from __future__ import annotations

import weakref
from random import Random
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.testing import End, Outcome
from tests.heap import frozen_before

from .objects import make_pair

STEPS = 100_000

#: Objects of each side: few, so that they are sent again while their releases are on the way.
OBJECTS = 8

#: Steps between two moments at which everything has arrived and the tables are compared with the model.
BETWEEN_CHECKS = 500


class Token(pb.Referenceable):
    """An object with a number."""

    def __init__(self, number: int) -> None:
        self.number = number

    def remote_number(self) -> int:
        return self.number


class Holder(pb.Root):
    """A root that keeps references, by the numbers of their objects, as often as it is asked to."""

    def __init__(self) -> None:
        self.held: list[tuple[int, Any]] = []
        self.home: list[tuple[int, Any]] = []

    def remote_hold(self, *tokens: Any) -> None:
        self.held += zip(tokens[::2], tokens[1::2], strict=True)

    def remote_look(self, *tokens: Any) -> None:
        """Drop the references, by returning."""

    def remote_home(self, number: int, token: Any) -> Any:
        self.home.append((number, token))
        return token


class Walk:
    """One life of a pair. Each method is a step."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.holders = {"server": Holder(), "client": Holder()}
        self.pair = make_pair(self.holders["server"])
        self.pair.client.broker.tables.exports.name("root", self.holders["client"])
        self.ends: dict[str, End] = {"server": self.pair.server, "client": self.pair.client}
        self.roots = {side: end.root for side, end in self.ends.items()}
        self.tokens = {side: [Token(number) for number in range(OBJECTS)] for side in self.ends}
        self.asked: list[tuple[Any, Outcome]] = []  # and the expected answer
        self.calls = 0

    @staticmethod
    def other(side: str) -> str:
        return "client" if side == "server" else "server"

    def send(self, side: str) -> None:
        chosen = self.random.choices(self.tokens[side], k=self.random.randrange(1, 4))
        name = self.random.choice(("hold", "hold", "look"))
        things = [part for token in chosen for part in (token.number, token)] if name == "hold" else chosen
        if self.random.random() < 0.5:
            self.roots[side].tell(name, *things)
        else:
            self.asked.append((None, self.roots[side].call(name, *things)))

    def fail_to_send(self, side: str) -> None:
        outcome = self.roots[side].call("look", *self.tokens[side], object())
        assert isinstance(outcome.error, pb.SerializationError)

    def call(self, side: str) -> None:
        """Use after free would be an UnknownObject here, or the wrong number."""
        held = self.holders[side].held
        if held:
            number, reference = self.random.choice(held)
            self.asked.append((number, reference.call("number")))

    def send_home(self, side: str) -> None:
        held = self.holders[side].held
        if held:
            number, reference = self.random.choice(held)
            if self.random.random() < 0.5:
                self.roots[side].tell("home", number, reference)
            else:  # without keeping it alive
                self.asked.append((weakref.ref(reference), self.roots[side].call("home", number, reference)))

    def drop(self, side: str) -> None:
        held = self.holders[side].held
        if held:
            held.pop(self.random.randrange(len(held)))

    def drop_all(self, side: str) -> None:
        self.holders[side].held.clear()

    def give_back(self, side: str) -> None:
        held = self.holders[side].held
        if held:
            _, chosen = self.random.choice(held)
            held[:] = [pair for pair in held if pair[1] is not chosen]
            chosen.release()

    def deliver(self, side: str) -> None:
        self.pair.link.deliver(self.ends[side], self.random.choice((1, 5, 20, 60, None)))

    def step(self) -> None:
        name = self.random.choices(_STEPS, _WEIGHTS)[0]
        getattr(self, name)(self.random.choice(("server", "client")))

    def check(self) -> None:
        """Let everything arrive, and compare the tables of both sides with the references that are held."""
        self.pair.run()
        assert (self.pair.server.code, self.pair.client.code) == ("", "")
        self.calls += len(self.asked)
        while self.asked:
            expected, outcome = self.asked.pop()
            answer = outcome.result()
            if not isinstance(expected, weakref.ref):
                assert answer == expected
            elif (reference := expected()) is not None and reference._receipts:
                assert answer is reference
            reference = answer = None
            del outcome
        self.pair.run()
        for side in self.ends:
            holder, owner = self.holders[side], self.other(side)
            for number, token in holder.home:
                assert token is self.tokens[side][number]
            holder.home.clear()
            held = {number for number, _ in holder.held}
            assert len({id(reference) for _, reference in holder.held}) == len(held)
            exports, imports = self.ends[owner].broker.tables.exports, self.ends[side].broker.tables.imports
            assert len(exports) == len(imports) == len(held)
            counts = {exports.find(luid).obj.number: exports.find(luid).count for luid in exports._by_luid}
            assert counts == {number: reference._receipts for number, reference in holder.held}

    def end(self) -> None:
        for holder in self.holders.values():
            holder.held.clear()
        self.check()
        self.pair.assert_no_leaks()


_STEPS = ["send", "fail_to_send", "call", "send_home", "drop", "drop_all", "give_back", "deliver"]
_WEIGHTS = [10, 1, 5, 4, 10, 1, 2, 20]


@pytest.mark.parametrize("seed", [1])
def test_nothing_held_is_freed_and_nothing_else_is_kept(dialect: str, seed: int) -> None:
    with frozen_before():
        walk = Walk(seed)
        for number in range(1, STEPS + 1):
            walk.step()
            if number % BETWEEN_CHECKS == 0:
                walk.check()
        walk.end()
    assert walk.calls > STEPS / 10
