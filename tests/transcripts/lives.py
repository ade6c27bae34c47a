"""Random lives of a connection, each decided by its number alone.

Only ``Random.random`` is used, because Python promises that its sequence for a seed never changes. The clock stands
still until a step moves it, sets have one item, and cycles are collected by the step that drops something, so neither
the seed of hashes nor the collector's own timing can change a byte. The frames of an error can: on the plain build
they keep a call's references a little longer than compiled code does. Because of that, three of 3000 lives differed
between the builds, but not one of the first 200 of a dialect. A release at another position may have only this
reason.
"""

from __future__ import annotations

import datetime
import gc
from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Any

import perspective_broker as pb
from perspective_broker.flavors import Cacheable, RemoteCache
from perspective_broker.testing import BrokerPair, Clock, Later, Outcome, SansIOReference

from .recording import Message, RecordingLink

__all__ = ["DIALECTS", "LIVES", "live"]

DIALECTS = ["pb7", "pb", "none"]
#: Lives of each dialect.
LIVES = 200
_STEPS = 60

registry = pb.registry.Registry()


# -- the objects


class Token(pb.Referenceable):
    """An object that is called, and crosses as a reference."""

    def __init__(self, number: int) -> None:
        self.number = number

    def remote_number(self) -> int:
        return self.number


@pb.copier_for("transcripts.Note", registry=registry)
class Note(pb.Copyable, pb.RemoteCopy):
    """An object that crosses as a copy, which may cross again.

    An answer that cannot be encoded would keep its arguments until the next collection, but not where the code is
    compiled, and references among them would be released at different times.
    """

    def __init__(self, **state: Any) -> None:
        vars(self).update(state)

    def get_type_to_copy(self) -> str:
        return "transcripts.Note"


class Unknown(pb.Copyable):
    """A copyable whose class the peer does not know."""

    def get_type_to_copy(self) -> str:
        return "transcripts.Unknown"


class Counter(Cacheable):
    """An object whose replicas follow it."""

    def __init__(self, number: int) -> None:
        self.numbers = {"first": number}
        self.observers: list[Any] = []

    def get_type_to_copy(self) -> str:
        return "transcripts.Counter"

    def get_state_to_cache_and_observe_for(self, perspective: Any, observer: Any) -> Any:
        self.observers.append(observer)
        return {"numbers": dict(self.numbers)}

    def stopped_observing(self, perspective: Any, observer: Any) -> None:
        self.observers.remove(observer)

    def set(self, name: str, value: int, answered: bool) -> None:
        self.numbers[name] = value
        for observer in list(self.observers):
            (observer.call if answered else observer.tell)("set", name, value)


@pb.copier_for("transcripts.Counter", registry=registry)
class CounterReplica(RemoteCache):
    numbers: dict[str, int]

    def observe_set(self, name: str, value: int) -> int:
        self.numbers[name] = value
        return len(self.numbers)


class Party(pb.Root):
    """The root object of either side. It keeps its arguments, and ends some calls only when a step makes it."""

    def __init__(self) -> None:
        self.held: list[Any] = []
        self.later: list[Later] = []
        self.tokens: list[Token] = []
        self.counters: list[Counter] = []
        self.promises: list[Outcome] = []

    def remote_echo(self, *args: Any, **kwargs: Any) -> Any:
        return [*args, kwargs]

    def remote_same(self, thing: Any) -> Any:
        return thing

    def remote_keep(self, *things: Any) -> int:
        self.held.extend(things)
        return len(things)

    def remote_later(self, *things: Any) -> Later:
        self.later.append(Later())
        return self.later[-1]

    def remote_make(self, number: int) -> Token:
        self.tokens.append(Token(number))
        return self.tokens[-1]

    def remote_refuse(self, *things: Any) -> None:
        raise pb.Error("refused")

    def remote_break(self, *things: Any) -> None:
        raise KeyError("a defect")

    def remote_relay(self, other: Any) -> Any:
        """Call the caller back, and answer with the answer of that call."""
        later = Later()
        outcome = other.call("number")

        def end() -> None:
            if outcome.error is not None:
                later.fail(outcome.error)
            else:
                later.answer(outcome.value)

        outcome.when_done = end
        return later

    def forget_promises(self, number: int) -> None:
        """Forget the oldest promises, one by one: the collector frees cycles of one collection in any order."""
        for _ in self.promises[:number]:
            del self.promises[0]
            gc.collect()

    def references(self) -> list[SansIOReference]:
        return [thing for thing in self.held if isinstance(thing, SansIOReference)]

    def replicas(self) -> list[CounterReplica]:
        return [thing for thing in self.held if isinstance(thing, CounterReplica)]


class Due:
    """A moment at which a call is given up."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.clock = clock
        self.at = clock.now + seconds

    def left(self) -> float:
        return self.at - self.clock.now


# -- the lives


class Life:
    """One life. Each method whose name is in :data:`STEPS` is a step, at the side that was drawn for it."""

    def __init__(self, dialect: str, number: int) -> None:
        self.random = Random(number)
        self.parties = {"server": Party(), "client": Party()}
        self.pair = BrokerPair(
            self.parties["server"],
            registry=registry,
            dialects=[dialect],
            limits=self.pick([pb.Limits(), pb.Limits(calls_in_flight=3, window_bytes=400)]),
            established=False,
        )
        self.link = self.pair.link = RecordingLink(self.pair, dialect)
        self.pair.client.broker.tables.exports.name("root", self.parties["client"])
        self.pair.run()
        self.ends = {"server": self.pair.server, "client": self.pair.client}
        self.roots = {side: end.root for side, end in self.ends.items()}
        self.side = "server"
        self.is_large = dialect == "pb7" and number % 20 == 0  # one message that travels in pieces

    @property
    def party(self) -> Party:
        return self.parties[self.side]

    @property
    def root(self) -> SansIOReference:
        return self.roots[self.side]

    @property
    def has_ended(self) -> bool:
        return any(end.cause is not None or end.said_last for end in self.ends.values())

    # -- chance

    def below(self, number: int) -> int:
        return int(self.random.random() * number)

    def pick(self, things: Any) -> Any:
        return things[self.below(len(things))]

    def atom(self) -> Any:
        return self.pick(
            [
                None,
                self.below(2) == 1,
                self.below(200) - 100,
                self.pick([2**31 - 1, 2**31, -(2**31) - 1, 2**64, -(2**70)]),
                self.below(1000) / 8,
                self.pick(["", "text", "grüße", "remote", "x" * 40]),
                self.pick([b"", b"raw\0", b"dictionary"]),
                Decimal(self.below(1000)) / 100,
                datetime.datetime(2002, 1 + self.below(12), 1, 12, 30, 0, self.below(1000)),
                datetime.date(2002, 1, 1 + self.below(28)),
            ]
        )

    def value(self, depth: int = 2) -> Any:
        kind = self.below(8) if depth else 0
        if kind == 1:
            return [self.value(depth - 1) for _ in range(self.below(4))]
        if kind == 2:
            return tuple(self.value(depth - 1) for _ in range(self.below(4)))
        if kind == 3:
            return {name: self.value(depth - 1) for name in "abc"[: self.below(4)]}
        if kind == 4:
            return {self.below(100)}
        if kind == 5:
            shared = [self.atom()]
            return self.pick([[shared, shared], pb.Graph([shared, shared])])
        if kind == 6:
            return {self.below(100): self.value(depth - 1)}
        return self.atom()

    def thing(self) -> Any:
        """Return an object that has an identity: one of this side, one of the peer, or a new one."""
        party = self.party
        kind = self.below(7)
        if kind == 0 or (kind == 1 and not party.tokens):
            party.tokens.append(Token(len(party.tokens)))
            return party.tokens[-1]
        if kind == 1:
            return self.pick(party.tokens)
        if kind == 2 and party.references():
            return self.pick(party.references())
        if kind == 3:
            return Note(value=self.value(1), token=Token(7) if self.below(3) == 0 else None)
        if kind == 4 and party.replicas():
            return self.pick(party.replicas())
        if kind == 5 or not party.counters:
            party.counters.append(Counter(len(party.counters)))
        return self.pick(party.counters)

    # -- steps

    def call(self) -> None:
        self.made(
            self.root.call(
                self.pick(["echo", "later", "keep"]), *(self.value() for _ in range(self.below(3)))
            )
        )

    def call_with_names(self) -> None:
        self.made(self.root.call("echo", self.value(1), size=self.below(9), name=self.value(1)))

    def call_that_fails(self) -> None:
        kind = self.below(6)
        if kind == 0:
            self.made(self.root.call("nothing", 1))
        elif kind == 1:
            self.made(self.root.call("make", 1, 2, 3))
        elif kind == 2:
            self.made(self.root.call("keep", Unknown(), Token(1)))
        elif kind == 3:
            self.made(self.root.call("keep", Token(2), object()))
        else:
            self.made(self.root.call(self.pick(["refuse", "break"]), self.thing()))

    def call_with_things(self) -> None:
        name = self.pick(["keep", "keep", "same", "later", "echo"])
        things = [self.thing()]
        if name != "same" and self.below(2):
            things.append(self.pick([things[0], self.thing(), [things[0]]]))
        self.made(self.root.call(name, *things))

    def call_large(self) -> None:
        if self.is_large:
            self.is_large = False
            self.made(self.root.call("echo", b"x" * 600_000))

    def call_a_reference(self) -> None:
        if self.party.references():
            self.made(self.pick(self.party.references()).call("number"))

    def call_back(self) -> None:
        self.made(self.root.call("relay", self.pick(self.party.tokens) if self.party.tokens else Token(1)))

    def tell(self) -> None:
        self.root.tell("keep", *([self.thing()] if self.below(2) else [self.value()]))

    def make(self) -> None:
        self.made(self.root.call("make", self.below(100)))

    def call_a_promise(self) -> None:
        promises = [promise for promise in self.party.promises if promise.error is None]
        if promises:
            self.made(self.pick(promises).call(self.pick(["number", "number", "nothing"])))

    def tell_a_promise(self) -> None:
        promises = [promise for promise in self.party.promises if not promise.done]
        if promises:
            self.pick(promises).tell("number")

    def pass_a_promise(self) -> None:
        promises = [promise for promise in self.party.promises if promise.error is None]
        if promises:
            promise = self.pick(promises)
            argument = self.pick([promise, [promise, 1], {"promise": promise}])
            self.made(self.root.call(self.pick(["keep", "same", "later"]), argument))

    def cancel(self) -> None:
        if self.party.promises:
            self.pick(self.party.promises).cancel()

    def forget_promises(self) -> None:
        self.party.forget_promises(1 + self.below(4))

    def call_with_a_deadline(self) -> None:
        end = self.ends[self.side]
        end.deadline = Due(self.pair.clock, self.pick([0.0, 0.5, 3.0, 60.0]))
        self.made(self.root.call(self.pick(["later", "echo"]), self.value(1)))
        end.deadline = None

    def let_time_pass(self) -> None:
        self.pair.advance(self.pick([0.25, 1.0, 5.0, 20.0]))
        for party in self.parties.values():
            for promise in party.promises:
                if not promise.done and promise.deadline is not None and promise.deadline.left() <= 0:
                    promise.cancel()

    def answer(self) -> None:
        if self.party.later:
            later = self.party.later.pop(self.below(len(self.party.later)))
            kind = self.below(4)
            if kind == 0:
                later.fail(pb.Error("refused later"))
            else:
                later.answer(self.thing() if kind == 1 else self.value(1))

    def change(self) -> None:
        if self.party.counters:
            counter = self.pick(self.party.counters)
            counter.set(self.pick("abc"), self.below(100), self.below(4) == 0)

    def drop(self) -> None:
        if self.party.held:
            del self.party.held[self.below(len(self.party.held))]
            gc.collect()

    def drop_all(self) -> None:
        self.party.held.clear()
        gc.collect()

    def release(self) -> None:
        if self.party.references():
            chosen = self.pick(self.party.references())
            self.party.held[:] = [thing for thing in self.party.held if thing is not chosen]
            chosen.release()

    def block(self) -> None:
        end = self.ends[self.side]
        end.set_blocked(not end.blocked)

    def deliver(self) -> None:
        self.link.deliver(self.ends[self.side], self.pick([None, None, None, 1, 7, 50]))

    def carry(self) -> None:
        self.pair.run()

    def drain(self) -> None:
        if self.below(4) == 0:
            self.ends[self.side].broker.drain()

    def made(self, outcome: Outcome) -> None:
        self.party.promises.append(outcome)

    # -- a complete life

    def run(self) -> list[Message]:
        for _ in range(_STEPS):
            self.side = self.pick(["server", "client"])
            step: Callable[[Life], None] = self.pick(STEPS)
            step(self)
            self.forget_frames()
            if self.has_ended:
                break
        else:
            self.end()
        for end in self.ends.values():
            end.set_blocked(False)
        self.pair.run()
        assert self.link.has_whole_messages
        return self.link.messages

    def end(self) -> None:
        """End the connection in one of several ways; some lives stay idle instead, with empty tables."""
        kind = self.below(6)
        if kind < 3:
            sides = ["server", "client"] if kind == 0 else [self.side]
            for side in sides:
                self.ends[side].broker.finish("closed", "the program closed it", self.pair.clock.now)
        elif kind == 3:
            self.ends[self.side].broker.close()
        elif kind == 4:
            self.link.cut()
        else:
            self.empty()

    def empty(self) -> None:
        for end in self.ends.values():
            end.set_blocked(False)
        self.pair.run()
        while any(party.later for party in self.parties.values()):
            for party in self.parties.values():
                while party.later:
                    party.later.pop(0).answer()
            self.pair.run()
        for party in self.parties.values():
            party.held.clear()
            party.forget_promises(len(party.promises))
        self.pair.assert_no_leaks()

    def forget_frames(self) -> None:
        """Forget the frames of errors, because their variables differ between the builds."""
        for party in self.parties.values():
            for promise in party.promises:
                error: BaseException | None = promise.error
                while error is not None:
                    error.__traceback__ = None
                    error = error.__cause__ or error.__context__


#: A step is drawn as often as it is named here.
STEPS: list[Callable[[Life], None]] = [
    step
    for weight, steps in {
        1: [
            Life.call_large,
            Life.drop_all,
            Life.drain,
            Life.block,
            Life.forget_promises,
            Life.call_with_names,
        ],
        2: [Life.call_back, Life.tell_a_promise, Life.call_with_a_deadline, Life.let_time_pass, Life.release],
        3: [
            Life.call_that_fails,
            Life.call_a_reference,
            Life.tell,
            Life.make,
            Life.pass_a_promise,
            Life.cancel,
        ],
        4: [Life.call, Life.call_a_promise, Life.change, Life.drop, Life.carry, Life.answer],
        8: [Life.call_with_things],
        12: [Life.deliver],
    }.items()
    for step in steps * weight
]


def live(dialect: str, number: int) -> list[Message]:
    """Return what both sides send in one life."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return Life(dialect, number).run()
    finally:
        if was_enabled:
            gc.enable()
