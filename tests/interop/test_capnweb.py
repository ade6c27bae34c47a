"""The genuine npm package ``capnweb`` under Node, as client of our server and as server of our client."""

from __future__ import annotations

import asyncio
import datetime
import json
import sys
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import perspective_broker as pb
from tests.interop.web_env import node_home

pytestmark = pytest.mark.skipif(isinstance(node_home(), str), reason=str(node_home()))


class NoSuchRoom(pb.Error):
    pass


class Room(pb.Referenceable):
    def __init__(self, name: str) -> None:
        self.name = name

    def remote_name(self) -> str:
        return self.name

    @property
    def remote_title(self) -> str:
        return f"the {self.name}"


class Step(pb.Referenceable):
    def __init__(self, depth: int = 0) -> None:
        self.depth = depth

    async def remote_next(self) -> Step:
        await asyncio.sleep(0)
        return Step(self.depth + 1)

    def remote_depth(self) -> int:
        return self.depth


class Api(pb.Root):
    def __init__(self) -> None:
        self.items: list[Any] = []
        self.count = 0
        self.kept: list[Any] = []
        self.room: Room | None = None
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        self.server: pb.Server | None = None

    def remote_echo(self, value: Any = None) -> Any:
        return value

    def remote_fail(self, kind: str) -> None:
        raise {"value": ValueError("no"), "type": TypeError("bad"), "own": NoSuchRoom("none")}[kind]

    @property
    def remote_version(self) -> str:
        return "1.0"

    def remote_make_room(self, name: str) -> Room:
        self.room = Room(name)
        return self.room

    async def remote_call_me(self, function: Any, value: Any) -> Any:
        return await function.call("", value)

    async def remote_ask_greeting(self, page: Any, name: str) -> list[Any]:
        return [await page.call("greet", name)]

    def remote_is_mine(self, items: list[Any]) -> bool:
        return items[0] is self.room

    def remote_keep(self, stub: Any) -> int:
        self.kept.append(stub)
        return len(self.kept)

    def remote_node(self) -> Step:
        return Step()

    async def remote_profile(self) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"name": "Ann", "friends": {"best": "Bob"}}

    def remote_append(self, item: Any) -> list[Any]:
        self.items.append(item)
        return self.items

    async def remote_next_item(self) -> Any:
        return await self.queue.get()

    def remote_push_item(self, item: Any) -> str:
        self.queue.put_nowait(item)
        return "ok"

    def remote_count(self) -> None:
        self.count += 1

    def remote_counted(self) -> int:
        return self.count

    def remote_memory(self) -> int:
        return 0

    async def remote_forever(self) -> None:
        await asyncio.Event().wait()

    def remote_end_me(self) -> None:
        assert self.server is not None
        for connection in self.server.connections:
            connection.end("closed", "enough")


async def run(what: str, api: Api | None = None) -> Any:
    """Let the client do ``what`` to our server; return what it printed."""
    api = Api() if api is None else api
    async with pb.serve(api, "ws://127.0.0.1:0/api") as server:
        api.server = server
        node = await asyncio.create_subprocess_exec(
            "node",
            Path(str(node_home())) / "client.mjs",
            server.urls[0],
            what,
            stdout=asyncio.subprocess.PIPE,
        )
        printed, _ = await asyncio.wait_for(node.communicate(), 120)
        api.kept.clear()
    told = json.loads(printed)
    assert "error" not in told, told
    return told["result"]


async def test_values_cross_to_the_client_and_back() -> None:
    assert await run("values") == {
        "scalars": [True, False, None, 0, -1, 1.5, "text", "", "\u2603 \U0001f600"],
        "undefined": None,
        "special": ["NaN", "Infinity", "-Infinity"],
        "bigint": str(2**80),
        "negative": str(-(2**70)),
        "safe": 2**53 - 1,
        "date": 1234567890123,
        "bytes": [0, 1, 254, 255],
        "floats": [0.5, -2],
        "floatsAre": "Float64Array",
        "url": "https://example.org/x?y",
        "error": ["RangeError", "far", True],
        "deep": {"list": [1, "two", [3, []]], "empty": {}, "nothing": None},
    }


@pytest.mark.filterwarnings("ignore")
async def test_errors_have_names_and_types(caplog: pytest.LogCaptureFixture) -> None:
    told = await run("errors")
    assert told["value"] == {"name": "Error", "message": "no", "type": "builtins.ValueError"}
    assert told["type"]["name"] == "TypeError"
    assert told["own"]["type"].endswith("NoSuchRoom")
    assert told["missing"]["type"] == told["private"]["type"] == "perspective_broker.errors.NoSuchMethod"
    assert told["pipelined"] == told["argument"] == told["value"]


async def test_objects_and_functions_go_both_ways() -> None:
    assert await run("objects") == {
        "version": "1.0",
        "name": "kitchen",
        "title": "the kitchen",
        "twice": 42,
        "greeting": ["hello Python"],
        "same": True,
        "method": "through a method",
        "kept": 1,
    }


async def test_calls_on_promises_need_no_answer() -> None:
    assert await run("pipelining") == {
        "depth": 10,
        "friend": "Bob",
        "deep": "Ann",
        "order": [[1], [1, 2], [1, 2, 3]],
    }


async def test_a_call_that_waits_holds_up_nobody() -> None:
    assert await run("ahead") == ["x", "ok"]


async def test_five_thousand_callbacks_at_once() -> None:
    assert await run("callbacks") is True


@pytest.mark.parametrize("what", ["forgotten", "unreleased"])
async def test_a_hundred_thousand_calls_without_an_answer(what: str) -> None:
    told = await run(what)
    assert told == 100_000 if what == "forgotten" else told[0] == 100_000


async def test_a_released_promise_costs_its_call_alone() -> None:
    error, alive = await run("awaited")
    assert error["type"] == "perspective_broker.errors.UnknownObject"
    assert alive == "alive"


async def test_the_end_is_told() -> None:
    broken, pending = await run("closed")
    assert broken == pending["message"] == "Peer closed WebSocket: 1000 closed: enough"


# -- as server


@asynccontextmanager
async def javascript() -> AsyncIterator[pb.RemoteReference]:
    node = await asyncio.create_subprocess_exec(
        "node",
        Path(str(node_home())) / "server.mjs",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert node.stdin is not None
    assert node.stdout is not None
    port = int(await node.stdout.readline())
    try:
        async with pb.connect(f"ws://127.0.0.1:{port}") as api:
            yield api
    finally:
        node.stdin.close()
        await node.communicate()


async def test_our_client_sends_and_reads_every_value() -> None:
    async with javascript() as api:
        values = [1, -1.5, {"a": [[], [2.5]]}, None, "\u2603", b"x", 2**80, array("d", [0.5])]
        assert await api.call("echo", values) == values
        told = await api.call("values")
        assert told["scalars"] == [True, None, 0, -1, 1.5, "text"]
        assert [str(value) for value in told["special"]] == ["nan", "inf", "-inf", "None"]
        assert told["big"] == 2**80
        assert told["date"] == datetime.datetime(2009, 2, 13, 23, 31, 30, 123000, datetime.UTC)
        assert told["bytes"] == b"\x00\xff"
        assert told["floats"] == array("d", [0.5, -2])
        assert told["error"].type == "RangeError"
        samples: list[Any] = [2**60, 1.5, "x", {}, []]
        kinds = [await api.call("kind", value) for value in samples]
        assert kinds == ["BigInt", "Number", "String", "Object", "Array"]


async def test_our_client_gets_errors() -> None:
    async with javascript() as api:
        with pytest.raises(TypeError, match="wrong"):
            await api.call("fail")
        with pytest.raises(pb.RemoteError, match="not a function"):
            await api.call("nope")
        with pytest.raises(pb.SerializationError, match="keyword"):
            await api.call("echo", value=1)


class Page(pb.Referenceable):
    def remote_greet(self, name: str) -> str:
        return f"hello {name}"


async def test_our_client_holds_objects_and_is_called() -> None:
    async with javascript() as api:
        room = await api.call("makeRoom", "kitchen")
        assert await room.call("name") == "kitchen"
        assert await api.call("makeRoom", "hall").call("name") == "hall"
        function = await api.call("makeFunction", 3)
        assert await function.call("", 4) == 12
        assert await api.call("callMe", pb.callback(lambda value: value + 1), 1) == 2
        assert await api.call("ask", Page()) == "hello JavaScript"
        assert await api.call("keep", Page()) == 1
        assert api.connection.statistics().exported == 1
        await api.call("drop")
        many = [api.call("callMe", pb.callback(lambda value: value + 1), i) for i in range(1000)]
        assert await asyncio.gather(*many) == list(range(1, 1001))
        for _ in range(1000):
            await api.tell("add")
        assert await api.call("counted") == 1000
        slow = api.call("later", 20)
        assert await api.call("echo", slow) == 20
        del room, function, slow, many
        await api.call("echo")
        statistics = api.connection.statistics()
        assert (statistics.exported, statistics.imported) == (0, 0), statistics


def test_the_package_is_the_pinned_one() -> None:
    home = Path(str(node_home()))
    pinned = json.loads((home / "node_modules" / "capnweb" / "package.json").read_text())
    assert pinned["version"] == "0.12.0"
    assert sys.version_info >= (3, 11)
