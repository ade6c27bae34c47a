"""The two ends of a life: their objects, and the methods that these have.

Every method is called with the serial of its call first. It records that it started, checks that it runs on the right
object with the right arguments, does something, and records what it returns.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, Final

import perspective_broker as pb
from tests.lives.history import Answer, Call, History
from tests.lives.values import (
    Counter,
    Objects,
    Odd,
    Oddity,
    Packed,
    Replica,
    Replicated,
    Streamed,
    Thing,
    crosses,
    parts,
    things,
    words,
)

__all__ = ["End", "Node", "items", "wrong_items"]

#: Runs a random program at an end: how deep its calls may call back, and how many steps it takes.
RunProgram = Callable[["End", Random, int, int], Awaitable[None]]

#: Turns of the loop that a slow method waits; one that is slower sleeps some milliseconds as well.
_MOST_TURNS: Final = 5


class End:
    """One end.

    Args:
        name: "A" for the one that connects, "B" for the one that serves.
        history: of the life.
        random: decides what the end keeps of what it gets.
        program: runs when a method makes calls of its own.

    Attributes:
        objects: what it knows by identity.
        pool: the references that its programs use, with what they refer to.
        nodes, counters: its own objects that its programs send.
        replicas: replicas that its programs hold, with what they replicate.
        streams: generators of its own that are open.
        tasks: what runs here besides methods and the main program.
        over: whether its programs make no more calls.
    """

    def __init__(self, name: str, history: History, random: Random, program: RunProgram) -> None:
        self.name = name
        self.history = history
        self.objects = Objects(name)
        self.pool: list[tuple[pb.RemoteReference, Thing]] = []
        self.nodes: list[Node] = []
        self.counters: list[Counter] = []
        self.replicas: list[tuple[Replica, Replicated]] = []
        self.streams = 0
        self.tasks: list[asyncio.Task[None]] = []
        self.over = False
        self.lock = asyncio.Lock()
        self.random = random
        self.program = program
        self._made = 0

    def next_thing(self) -> Thing:
        """Return what the end's next object is called."""
        self._made += 1
        return Thing(self.name, self._made)

    def make(self) -> Node:
        """Make an object and keep it."""
        node = Node(self)
        self.nodes.append(node)
        return node

    def make_counter(self) -> Counter:
        """Make a counter and keep it."""
        self._made += 1
        counter = Counter(Replicated(self.name, self._made))
        self.objects.add(counter.description, counter)
        self.counters.append(counter)
        return counter

    def keep(self, description: Any, value: Any) -> None:
        """Let the programs use a reference or a replica that arrived, or not."""
        match description:
            case Call() if description.answer is not None:
                self.keep(description.answer.description, value)
            case Packed():
                self.keep(description.content, getattr(value, "content", None))
            case Thing() if isinstance(value, pb.RemoteReference) and self.random.random() < 0.6:
                if not self.over:
                    self.pool.append((value, description))
            case Replicated() if isinstance(value, Replica) and self.random.random() < 0.6:
                if not self.over:
                    self.replicas.append((value, description))
            case list() | tuple() if isinstance(value, (list, tuple)):
                for part, there in zip(description, value, strict=False):
                    self.keep(part, there)

    def drop(self) -> None:
        """Drop every reference and every object."""
        self.over = True
        for kept in (self.pool, self.nodes, self.replicas):
            kept.clear()


def resolve(description: Any) -> Any:
    """Return what a description stands for when all answers in it are there."""
    match description:
        case Call() if description.answer is not None:
            return resolve(description.answer.description)
        case Packed():
            return Packed(resolve(description.content))
        case list():
            return [resolve(part) for part in description]
        case tuple():
            return tuple(resolve(part) for part in description)
        case dict():
            return {key: resolve(part) for key, part in description.items()}
        case _:
            return description


async def items(end: End, number: int) -> AsyncIterator[Any]:
    """Yield the items of a stream, which are distinguishable."""
    end.streams += 1
    try:
        for item in range(number):
            if item % 3 == 2:
                await asyncio.sleep(0)
            yield item if item % 4 else (item, bytes(item * 40))
    finally:
        end.streams -= 1


def wrong_items(received: list[Any]) -> str:
    """Return in which way the items read of a stream are wrong; "" when they are not."""
    for place, item in enumerate(received):
        if item != (place if place % 4 else (place, bytes(place * 40))):
            return f"item {place} is {item!r:.40}"
    return ""


class Node(pb.Root):
    """An object of one end. Its methods are those of every node; ``slow_`` ones are asynchronous."""

    def __init__(self, end: End) -> None:
        self.end = end
        self.thing = end.next_thing()
        end.objects.add(self.thing, self)

    # -- plain methods

    def remote_meet(self, other: Any, name: str) -> None:
        """Get to know another end's first object (no call of a program)."""
        self.end.pool.append((other, Thing(name, 1)))

    def remote_value(self, serial: int, *args: Any) -> list[Any]:
        call = self._begin(serial, args)
        if not call.came_home:
            _spoil(args)
        value = [serial, {"of": self.end.name}]
        self._change_later(call, value)
        return self._answer(call, value, [serial, {"of": self.end.name}])

    def remote_make(self, serial: int, *args: Any) -> Node:
        call = self._begin(serial, args)
        node = self.end.make()
        return self._answer(call, node, node.thing)

    def remote_counter(self, serial: int, *args: Any) -> Counter:
        call = self._begin(serial, args)
        counter = self.end.make_counter()
        return self._answer(call, counter, counter.description)

    def remote_give(self, serial: int, *args: Any) -> Any:
        call = self._begin(serial, args)
        return self._give(call, args)

    def remote_fail(self, serial: int, *args: Any) -> None:
        call = self._begin(serial, args)
        self.end.history.answered(call, Answer(error=True), "raises")
        raise pb.Error(f"call {serial} fails")

    def remote_odd(self, serial: int, *args: Any) -> Oddity:
        call = self._begin(serial, args)
        return self._answer(call, Oddity(self.end.name), Odd(self.end.name))

    def remote_large(self, serial: int, size: int, *args: Any) -> bytes:
        call = self._begin(serial, (size, *args))
        return self._answer(call, bytes(size), bytes(size))

    def remote_count(self, serial: int, number: int, *args: Any) -> AsyncIterator[Any]:
        call = self._begin(serial, (number, *args))
        return self._answer(call, items(self.end, number), Streamed(number))

    # -- asynchronous ones

    async def remote_slow_value(self, serial: int, turns: int, *args: Any) -> list[Any]:
        call = self._begin(serial, (turns, *args))
        await self._pause(call, turns)
        value = [serial, turns]
        self._change_later(call, value)
        return self._answer(call, value, [serial, turns])

    async def remote_slow_make(self, serial: int, turns: int, *args: Any) -> Node:
        call = self._begin(serial, (turns, *args))
        await self._pause(call, turns)
        node = self.end.make()
        return self._answer(call, node, node.thing)

    async def remote_slow_give(self, serial: int, *args: Any) -> Any:
        call = self._begin(serial, args)
        await self._pause(call, 2)
        return self._give(call, args)

    async def remote_slow_act(self, serial: int, depth: int, steps: int, *args: Any) -> list[Any]:
        """Run a program of this end, and wait for the calls that it makes."""
        call = self._begin(serial, (depth, steps, *args))
        with self._noting_a_stop(call):
            await self.end.program(self.end, Random(f"{self.end.random.random()} {serial}"), depth, steps)
        return self._answer(call, [serial, depth], [serial, depth])

    async def remote_slow_hold(self, serial: int, *args: Any) -> Guard:
        """Return what holds the end's lock until its caller drops it."""
        call = self._begin(serial, args)
        with self._noting_a_stop(call):
            await self.end.lock.acquire()
        guard = Guard(self.end)
        return self._answer(call, guard, guard.thing)

    async def remote_slow_absorb(self, serial: int, leave_after: int, stream: Any, *args: Any) -> int:
        """Read a stream of the caller's, not always to its end."""
        call = self._begin(serial, (leave_after, stream, *args))
        received: list[Any] = []
        expected, problem = call.args[1].items, ""
        with self._noting_a_stop(call):
            try:
                async for item in stream:
                    received.append(item)
                    if len(received) == leave_after:
                        break
            except pb.BrokerError as error:
                problem = type(error).__name__
        if not problem and len(received) not in (leave_after, expected):
            problem = f"{len(received)} items of {expected}"
        self._judge_stream(call, received, problem)
        return self._answer(call, len(received), len(received))

    # -- what they share

    def _begin(self, serial: int, args: tuple[Any, ...]) -> Call:
        end, history = self.end, self.end.history
        call = history.calls[serial]
        history.start(call, end.name)
        if wrong := end.objects.mismatch(call.target, self):
            history.find("identity", f"{call} runs on the wrong object: {wrong}")
        if any(isinstance(arg, pb.Promise) for arg in args):
            history.find("arguments", f"{call} got a promise")
        if wrong := end.objects.mismatch(call.args, args, at_home=call.came_home):
            history.find("arguments", f"{call} got {wrong}")
        else:
            end.keep(call.args, args)
        return call

    def _answer(self, call: Call, value: Any, description: Any) -> Any:
        answer = Answer(
            description,
            frozenset(things(description)),
            is_object=isinstance(description, Thing),
            odd=not crosses(description),
            promises=frozenset(part for part in parts(description) if isinstance(part, Call)),
        )
        self.end.history.answered(call, answer, f"returns {words(description)}")
        return value

    def _give(self, call: Call, args: tuple[Any, ...]) -> Any:
        if not args:
            return self._answer(call, None, None)
        return self._answer(call, args[0], resolve(call.args[0]))

    def _change_later(self, call: Call, value: list[Any]) -> None:
        """Change what is about to be returned when the caller has, or should have, a copy of it."""
        if not call.came_home:
            asyncio.get_running_loop().call_soon(value.append, "changed later")

    async def _pause(self, call: Call, turns: int) -> None:
        with self._noting_a_stop(call):
            if turns > _MOST_TURNS:
                await asyncio.sleep(turns / 1000)
            for _ in range(min(turns, _MOST_TURNS)):
                await asyncio.sleep(0)

    @contextmanager
    def _noting_a_stop(self, call: Call) -> Iterator[None]:
        try:
            yield
        except asyncio.CancelledError:
            self.end.history.note(f"{call.serial} is stopped")
            raise

    def _judge_stream(self, call: Call, received: list[Any], problem: str) -> None:
        history = self.end.history
        if wrong := wrong_items(received):
            history.find("stream", f"{call}: {wrong}")
        elif problem and not (call.limited or call.given_up or history.ended is not None):
            history.find("stream", f"{call}: {problem}")


class Guard(Node):
    """Frees the lock of its end when the caller has forgotten it, or it has never reached one."""

    _holds = True

    def forgotten(self) -> None:
        self._free()

    def __del__(self) -> None:
        self._free()

    def _free(self) -> None:
        if self._holds:
            self._holds = False
            self.end.lock.release()


def _spoil(args: tuple[Any, ...]) -> None:
    """Change the lists in the received values, which no other code uses."""
    for value in args:
        if isinstance(value, list):
            value.append("spoiled")
