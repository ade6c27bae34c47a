"""The core never raises on a peer's input; when it is over every call ended exactly once and the tables are empty.

The result is the same for any cuts of the bytes, and costs no more than their size allows. The first byte selects our
side, the dialects, the limits, and whether the rest is a peer's raw bytes or a script for a whole session: messages of
the peer, and local events between them.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from typing import Any

from ormsgpack import packb

import perspective_broker as pb
from perspective_broker.dialects.classic.banana import encode
from perspective_broker.dialects.classic.vocabulary import PB
from perspective_broker.testing import Clock, End, Outcome, broker_leaks
from tests.dialects.pb7.coding import framed
from tests.fuzz import pb7, shapes
from tests.fuzz.application import REGISTRY, Desk, Thing
from tests.fuzz.budget import PER_MIB_OF_CALLS, Meter, judged
from tests.fuzz.describing import describe
from tests.fuzz.draw import Draw, cuts
from tests.fuzz.making import jelly

__all__ = ["DIALECTS", "MOST_SENT", "classic_message", "greeting", "target"]

#: The dialects that we offer, and those that a scripted peer picks or offers.
DIALECTS = ("pb7", "pb", "none")

_LIMITS = (
    pb.Limits(),
    pb.Limits(
        calls_in_flight=2,
        window_bytes=200,
        references_received=4,
        references_exported=6,
        write_buffer_high=300,
        write_buffer_low=100,
        observer_backlog_bytes=900,
        message_bytes=400,
    ),
)

#: More is not looked at: a life of so many steps has everything in it.
_MOST_STEPS = 60

#: Bytes of a peer after which it sends nothing more.
MOST_SENT = 1 << 20

#: The parts of a script: bytes that arrive, or a local event, given by its number.
Step = bytes | tuple[str, int]

_COMMANDS: list[
    tuple[bytes, str]
] = [  # and its fields: i an id, n a name, a args, k kwargs, f a flag, v a value
    (b"message", "itnfak"),
    (b"message", "itnfak"),
    (b"message", "itnfak"),
    (b"cachemessage", "iinfak"),
    (b"answer", "iv"),
    (b"answer", "iv"),
    (b"error", "iv"),
    (b"decref", "i"),
    (b"decache", "i"),
    (b"uncache", "i"),
    (b"didNotUnderstand", "v"),
    (b"version", "i"),
    (b"unheardOf", "v"),
]
_HAPPENINGS = [
    "call", "call", "tell", "answer", "answer", "fail", "drop", "drop_all", "release", "chain", "score", "win",
    "cancel", "take", "take", "block", "advance", "collect", "send_back", "drain", "close", "eof",
]  # fmt: skip


def classic_message(draw: Draw) -> bytes:
    """Return one message of the classic dialects, nearly always with the right fields."""
    kind = draw.byte()
    if kind > 252:
        return shapes.large(draw, shapes.CLASSIC)
    command, fields = _COMMANDS[kind % len(_COMMANDS)]
    message: list[Any] = [command]
    for field in fields:
        if field == "i":
            message.append(draw.below(12))
        elif field == "t":
            message.append(draw.choice([b"root", b"root", draw.below(8)]))
        elif field == "n":
            message.append(draw.choice(pb7.NAMES).encode())
        elif field == "f":
            message.append(draw.choice([1, 1, 1, 0]))
        elif field == "a":
            message.append([b"tuple", *(jelly(draw) for _ in range(draw.below(4)))])
        elif field == "k":
            keywords = [[draw.data(4), jelly(draw)]] if draw.byte() > 200 else []
            message.append([b"dictionary", *keywords])
        else:
            message.append(jelly(draw))
    if draw.byte() > 250:
        message.append(jelly(draw))
    try:
        return encode(message, PB)
    except pb.SerializationError:  # an integer that no peer could read
        return b""


def greeting(server: bool, dialect: str) -> bytes:
    """Return a peer's bytes until calls may be made."""
    name = dialect.encode()
    hello = framed(packb([0, 7, {}])) if dialect == "pb7" else encode([b"version", 6])
    return encode(name if server else [name]) + hello


def size(steps: list[Step]) -> int:
    """Return the bytes that come."""
    return sum(len(step) for step in steps if isinstance(step, bytes))


def script(draw: Draw, server: bool) -> list[Step]:
    """Return the life of a connection."""
    dialect = draw.choice(DIALECTS)
    steps: list[Step] = [greeting(server, dialect)]
    while draw.left and len(steps) < _MOST_STEPS:
        if draw.byte() < 150:
            steps.append(pb7.frame(draw) if dialect == "pb7" else classic_message(draw))
            if size(steps) > MOST_SENT:
                break
        else:
            steps.append((draw.choice(_HAPPENINGS), draw.byte()))
    return steps


class Life:
    """One connection from its beginning to its end, as a script has it."""

    def __init__(self, server: bool, limits: pb.Limits, meter: Meter | None = None) -> None:
        self.meter = meter or Meter()
        self.desk = Desk()
        self.clock = Clock()
        self.end = End(self.clock, server=server, root=self.desk, limits=limits, registry=REGISTRY)
        self.said: list[bytes] = []
        self.seen = ""

    def live(self, steps: list[Step], cut: Callable[[bytes], list[bytes]]) -> None:
        has_ended = False
        for step in steps:
            if isinstance(step, bytes):
                if has_ended:
                    continue  # no transport has bytes behind the end
                with self.meter:
                    for piece in cut(step):
                        self.end.receive(piece)
            else:
                name, number = step
                has_ended |= name == "eof"
                try:
                    getattr(self, name)(number)
                except pb.BrokerError:
                    pass  # the error for our own caller
                self.end.check()
        with self.meter:
            self.take(0)
        cause = self.end.cause
        self.end.broker.connection_lost("the end of the test")
        self.end.broker.data_to_send()
        for later in list(self.end.running):
            later.answer(self.desk)
        self.end.check()  # the core ends the connection after an error of its own, which must not happen
        assert self.end.cause is not None
        assert all(outcome.done for outcome in self.desk.outcomes)
        outcomes = [outcome.error or outcome.value for outcome in self.desk.outcomes]
        self.seen = describe([repr(cause), self.end.invoked, outcomes])
        self.desk.outcomes.clear()
        self.desk.kept.clear()
        leaks = broker_leaks(self.end.broker)
        assert not leaks, leaks
        assert not self.desk.score.observers
        assert self.desk.score.asked == self.desk.score.stopped

    # -- events on our side

    def call(self, number: int) -> None:
        name = pb7.NAMES[number % len(pb7.NAMES)]
        self.desk.called(self.end.root.call(name, Thing(), self.desk, [number]))

    def tell(self, number: int) -> None:
        self.end.root.tell("keep", Thing(), *self.desk.kept[:2])

    def answer(self, number: int) -> None:
        later = self.desk.next_later(number)
        if later is not None:
            values = [
                None,
                Thing(),
                self.desk.score,
                self.desk,
                object(),
                *self.desk.kept[:2],
                *self.desk.outcomes[:2],
            ]
            later.answer(values[number % len(values)])

    def fail(self, number: int) -> None:
        later = self.desk.next_later(number)
        if later is not None:
            later.fail([pb.Error("as expected"), KeyError("a defect")][number & 1])

    def drop(self, number: int) -> None:
        if self.desk.kept:
            self.desk.kept.pop(number % len(self.desk.kept))

    def drop_all(self, number: int) -> None:
        self.desk.kept.clear()

    def release(self, number: int) -> None:
        for kept in self.desk.kept:
            if hasattr(kept, "_receipts") and isinstance(kept._luid, int):
                kept.release()
                return

    def chain(self, number: int) -> None:
        if self.desk.outcomes:
            outcome = self.desk.outcomes[number % len(self.desk.outcomes)]
            self.desk.called(outcome.call("name", self.desk.outcomes[-1] if number & 1 else Thing()))

    def score(self, number: int) -> None:
        self.desk.called(
            self.end.root.call(
                "keep", self.desk.score, *([self.desk.outcomes[-1]] if self.desk.outcomes else [])
            )
        )

    def win(self, number: int) -> None:
        self.desk.score.win(number)

    def cancel(self, number: int) -> None:
        if self.desk.outcomes:
            outcome: Outcome = self.desk.outcomes[number % len(self.desk.outcomes)]
            outcome.cancel()

    def take(self, number: int) -> None:
        self.said.append(self.end.take())

    def block(self, number: int) -> None:
        self.end.set_blocked(number & 1 == 1)
        self.end.turn()

    def advance(self, number: int) -> None:
        self.clock.now += number / 4
        self.end.broker.handle_deadline(self.clock.now)

    def collect(self, number: int) -> None:
        gc.collect()

    def send_back(self, number: int) -> None:
        if self.desk.kept:
            self.desk.called(self.end.root.call("echo", self.desk.kept[number % len(self.desk.kept)]))

    def drain(self, number: int) -> None:
        self.end.broker.drain()

    def close(self, number: int) -> None:
        self.end.broker.close()

    def eof(self, number: int) -> None:
        self.end.broker.receive_eof()


def target(data: bytes) -> None:
    draw = Draw(data)
    options, seed = draw.byte(), draw.byte()
    server, limits = options & 1 == 0, _LIMITS[options >> 1 & 1]
    steps: list[Step] = [draw.rest()] if options & 4 == 0 else script(draw, server)
    logging.disable()
    gc.disable()  # so that dropped objects are freed at the same moment in every life
    try:

        def whole(meter: Meter) -> Life:
            life = Life(server, limits, meter)
            life.live(steps, lambda step: [step])
            return life

        first = judged(size(steps), whole, PER_MIB_OF_CALLS)
        for seed_of_cuts in {0, seed}:
            other = Life(server, limits)
            other.live(steps, lambda step, by=seed_of_cuts: cuts(step, by))  # type: ignore[misc]
            if "too-many-pings" not in first.seen:  # which are judged by the bytes that come at once
                assert other.seen == first.seen
                # (Not the very bytes: a set of objects has no order of its own.)
                assert list(map(len, other.said)) == list(map(len, first.said))
    finally:
        gc.enable()
        logging.disable(logging.NOTSET)
