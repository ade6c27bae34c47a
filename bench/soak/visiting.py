"""A visiting process: ``python -m bench.soak.visiting DIRECTORY SEED SHARE URLS``, until it is stopped, or killed.

Its workers connect over any transport in any dialect, log in or not, do a few things, and leave, some of them rudely.
Its last line is JSON: its actions and its problems.
"""

from __future__ import annotations

import asyncio
import collections
import json
import os
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import perspective_broker as pb
from bench.soak.serving import USERS
from bench.soak.things import Mind, Note, Token
from perspective_broker.testing import assert_all_closed

WORKERS = 6

#: Seconds that any step may take. This does not measure speed: the machine may be busy.
PATIENCE = float(os.environ.get("PB_SOAK_PATIENCE", "60"))

#: Problems that are reported: the first ones, and the last.
_MOST_FAILURES = 10

#: Seconds between two looks at the processor time, by which the pauses are set.
PACE = 1.0


class Visit:
    """One connection: a few actions, in an order that the seed decides."""

    def __init__(self, random: Random, desk: Any, room: Any) -> None:
        self.random = random
        self.desk = desk
        self.room = room
        self.held: list[Any] = []

    def something(self) -> Callable[[], Awaitable[None]]:
        return self.random.choice(
            [
                self.echo, self.swap, self.swap, self.drop, self.tell, self.note, self.refuse, self.call_back,
                self.board, self.write, self.stream, self.stream_left_early, self.give_a_stream, self.pipeline,
                self.cancel,
                self.deadline, self.say, self.cycle,
            ]
        )  # fmt: skip

    async def echo(self) -> None:
        value = [None, self.random.random(), {"text": "x" * self.random.randrange(3000), "n": (1, {2, 3})}]
        assert await self.desk.call("echo", value) == value

    async def swap(self) -> None:
        self.held.append(await self.desk.call("swap", Token()))
        if len(self.held) > 30:
            self.held.pop(0).release()

    async def drop(self) -> None:
        self.held.clear()

    async def cycle(self) -> None:
        await self.desk.call("keep_in_a_cycle", Token(), Token())
        ring: list[Any] = [await self.desk.call("swap", Token())]
        ring.append(ring)

    async def tell(self) -> None:
        for number in range(20):
            await self.desk.tell("tell", number)

    async def note(self) -> None:
        answer = await self.desk.call("note", Note("remember", [1, 2]))
        assert answer.parts[0].text == "remember"

    async def refuse(self) -> None:
        try:
            await self.desk.call("refuse")
        except pb.RemoteError as error:
            if error.check(pb.Error) is None:
                raise

    async def call_back(self) -> None:
        assert await self.desk.call("call_back", Mind(), 7) == [7, 7]

    async def board(self) -> None:
        board = await self.desk.call("board")
        if self.random.random() < 0.5:
            self.held.append(board)
        changes = board.changes()
        self.desk.tell("write", str(self.random.random()))
        await anext(changes)
        changes.close()

    async def write(self) -> None:
        await self.desk.call("write", str(self.random.random()))

    async def stream(self) -> None:
        size = 0
        async for chunk in self.desk.call("stream", 40, 5000):
            size += len(chunk)
        assert size == 200_000

    async def stream_left_early(self) -> None:
        async for _ in self.desk.call("stream", 1000, 5000):
            break

    async def give_a_stream(self) -> None:
        most = self.random.choice((3, 1000))
        assert await self.desk.call("read", Mind().remote_numbers(50), most) == min(most, 50)

    async def pipeline(self) -> None:
        token = self.desk.call("swap", Token())
        last = token.call("next").call("next")
        assert await last.call("name") == "token"
        await self.desk.call("echo", [token, 1])

    async def cancel(self) -> None:
        waiting = [self.desk.call("wait") for _ in range(5)]
        await self.desk.call("echo", 1)
        for promise in waiting:
            promise.cancel()
        if (
            self.desk.connection.dialect != "pb7"
        ):  # there the method is not cancelled; the end of its connection ends it
            raise Rude

    async def deadline(self) -> None:
        try:
            async with asyncio.timeout(0.01):
                await self.desk.call("wait_a_little", 0.05)
        except TimeoutError:
            pass

    async def say(self) -> None:
        if self.room is not None:
            assert (await self.room.call("say", "hello")).endswith(": hello")


class Rude(Exception):
    """The visit ends here, without a farewell."""


class Visitors:
    """The workers of this process."""

    def __init__(self, directory: Path, seed: int, share: float, urls: dict[str, list[str]]) -> None:
        self.random = Random(seed)
        self.share = share
        self.urls = urls
        self.tls = pb.ClientTLS(directory / "ca.pem")
        self.pause = 0.02
        self.stopping = False
        self.done: collections.Counter[str] = collections.Counter()
        self.failures: list[str] = []

    async def run(self) -> None:
        pacer = asyncio.ensure_future(self.keep_pace())
        workers = [asyncio.ensure_future(self.work()) for _ in range(WORKERS)]
        reader: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_reader(sys.stdin, lambda: reader.done() or reader.set_result(None))
        await reader
        asyncio.get_running_loop().remove_reader(sys.stdin)
        self.stopping = True
        pacer.cancel()
        await asyncio.wait([*workers, pacer])

    async def keep_pace(self) -> None:
        """Hold this process's share of a core, by the length of its pauses."""
        while True:
            wall, cpu = time.monotonic(), time.process_time()
            await asyncio.sleep(PACE)
            share = (time.process_time() - cpu) / (time.monotonic() - wall)
            self.pause = min(1.0, max(0.001, self.pause * min(1.5, max(0.7, share / self.share))))

    async def work(self) -> None:
        while not self.stopping:
            try:
                async with asyncio.timeout(PATIENCE):
                    await self.visit()
            except Exception:
                self.failures = [*self.failures[: _MOST_FAILURES - 1], traceback.format_exc()[-1500:]]
                await asyncio.sleep(self.pause)
            self.done["visits"] += 1

    async def visit(self) -> None:
        random = self.random
        kind = random.choice(("logins", "desk"))
        url = random.choice(self.urls[kind])
        options: dict[str, Any] = {"dialects": random.choice((["pb7"], ["pb"], ["none"]))}
        if url.startswith("tls:"):
            options["tls"] = self.tls
        if kind == "logins":
            options |= {"username": f"user-{random.randrange(USERS)}", "password": "secret", "client": Mind()}
            options["service"] = random.choice(("soak", None))
        async with pb.connect(url, **options) as root:
            self.done[f"{url.partition(':')[0]} {options['dialects'][0]}"] += 1
            visit = (
                Visit(random, await root.call("desk"), await root.call("room"))
                if kind == "logins"
                else Visit(random, root, None)
            )
            for _ in range(random.randrange(1, 12)):
                thing = visit.something()
                try:
                    await thing()
                except Rude:
                    root.connection._driver._transport.abort()  # type: ignore[union-attr] # as a network does it
                    break
                finally:
                    self.done[thing.__name__] += 1
                await asyncio.sleep(random.expovariate(1 / self.pause))
                if self.stopping:
                    break


async def main(directory: Path, seed: int, share: float, urls: dict[str, list[str]]) -> None:
    visitors = Visitors(directory, seed, share, urls)
    await visitors.run()
    try:
        await assert_all_closed()
    except AssertionError as error:
        visitors.failures.append(str(error)[:1500])
    print(json.dumps({"done": visitors.done, "failures": visitors.failures}), flush=True)


if __name__ == "__main__":
    pb.run(main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), json.loads(sys.argv[4])))
