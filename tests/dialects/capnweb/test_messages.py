"""Golden messages: what is said to the server, and what it says, message by message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker import Limits
from tests.dialects.capnweb.peer import Peer, peer_of


class Card(pb.Referenceable):
    def remote_name(self) -> str:
        return "Ann"

    @property
    def remote_color(self) -> str:
        return "red"


class Api(pb.Root):
    secret = "kept"

    def __init__(self) -> None:
        self.stopped = 0
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()

    def remote_echo(self, value: Any = "nothing") -> Any:
        return value

    def remote_card(self) -> Card:
        return Card()

    def remote_cards(self) -> dict[str, Any]:
        return {"cards": [Card(), Card()], "count": 2}

    async def remote_later(self, value: Any) -> Any:
        await self.gate.wait()
        return value

    def remote_open(self) -> None:
        self.gate.set()

    async def remote_forever(self) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped += 1

    def remote_snake_case(self) -> str:
        return "snake"

    async def remote_call(self, function: Any, value: Any) -> Any:
        return await function.call("", value)

    def remote_refuse(self) -> None:
        raise pb.Error("no")

    def remote_a_set(self) -> set[int]:
        return {1}


def call(name: str, *args: Any, of: int = 0) -> list[Any]:
    return ["push", ["pipeline", of, [name], list(args)]]


ROWS: dict[str, tuple[list[Any], list[Any]]] = {
    "a call": ([call("echo", 1), ["pull", 1]], [["resolve", 1, 1]]),
    "a call that nobody asks about": ([call("echo", 1)], []),
    "a list": ([call("echo", [[1, "x"]]), ["pull", 1]], [["resolve", 1, [[1, "x"]]]]),
    "trailing undefined": ([call("echo", ["undefined"]), ["pull", 1]], [["resolve", 1, "nothing"]]),
    "bytes": ([call("echo", ["bytes", "AP8"]), ["pull", 1]], [["resolve", 1, ["bytes", "AP8"]]]),
    "padded bytes": ([call("echo", ["bytes", "AP8="]), ["pull", 1]], [["resolve", 1, ["bytes", "AP8"]]]),
    "a moment": ([call("echo", ["date", 1.5]), ["pull", 1]], [["resolve", 1, ["date", 1.5]]]),
    "a bigint": (
        [call("echo", ["bigint", "9007199254740993"]), ["pull", 1]],
        [["resolve", 1, ["bigint", "9007199254740993"]]],
    ),
    "the other spelling": ([call("snakeCase"), ["pull", 1]], [["resolve", 1, "snake"]]),
    "a name that is dropped": (
        [call("echo", {"__proto__": 1, "a": 2}), ["pull", 1]],
        [["resolve", 1, {"a": 2}]],
    ),
    "two sendings, two ids": (
        [call("cards"), ["pull", 1]],
        [["resolve", 1, {"cards": [[["export", -1], ["export", -2]]], "count": 2}]],
    ),
    "a call on an answer": ([call("card"), call("name", of=1), ["pull", 2]], [["resolve", 2, "Ann"]]),
    "a property of an answer": (
        [call("card"), ["push", ["pipeline", 1, ["color"]]], ["pull", 2]],
        [["resolve", 2, "red"]],
    ),
    "an attribute": ([["push", ["pipeline", 0, ["secret"]]], ["pull", 1]], [["resolve", 1, None]]),
    "an argument that is an answer": (
        [call("echo", {"a": 7}), call("echo", ["pipeline", 1, ["a"]]), ["pull", 2]],
        [["resolve", 2, 7]],
    ),
    "a call within arguments": (
        [call("echo", ["pipeline", 0, ["echo"], [5]]), ["pull", 1]],
        [["resolve", 1, 5]],
    ),
    "what waits is passed": (
        [
            call("later", 3),
            ["pull", 1],
            call("echo", ["pipeline", 1]),
            ["pull", 2],
            call("open"),
            ["pull", 3],
        ],
        [["resolve", 3, None], ["resolve", 1, 3], ["resolve", 2, 3]],
    ),
    "a second pull": ([call("echo", 1), ["pull", 1], ["pull", 1]], [["resolve", 1, 1]]),
    "a pull that comes late": ([call("echo", 1), call("echo", 2), ["pull", 1]], [["resolve", 1, 1]]),
    "released in time": ([call("echo", 1), ["release", 1, 1]], []),
    "a stream message": ([["stream", ["pipeline", 0, ["echo"], [1]]]], [["resolve", 1, 1]]),
    "an unknown resolve": ([["resolve", 77, 1], ["reject", 78, ["error", "Error", "x"]]], []),
    "what an unknown resolve brings": ([["resolve", 77, ["export", -5]]], [["release", -5, 1]]),
    "a promise of the peer": (
        [call("echo", ["promise", -1]), ["pull", 1], ["resolve", -1, [[4]]]],
        [["release", -1, 1], ["resolve", 1, [[4]]]],
    ),
    "a promise that is broken": (
        [call("echo", ["promise", -1]), ["pull", 1], ["reject", -1, ["error", "Error", "x"]]],
        [["release", -1, 1], ["reject", 1, ["error", "Error", "x"]]],
    ),
    "the main object": ([["pull", 0]], [["resolve", 0, ["export", -1]]]),
}


async def served(talk: Callable[[Peer, Api], Any], limits: Limits | None = None) -> Any:
    api = Api()
    async with pb.serve(api, "ws://127.0.0.1:0", limits=limits) as server, peer_of(server.urls[0]) as peer:
        assert peer.status == 101
        return await talk(peer, api)


@pytest.mark.parametrize("row", ROWS)
async def test_golden_messages(row: str) -> None:
    said, expected = ROWS[row]

    async def talk(peer: Peer, api: Api) -> Any:
        heard = await peer.answers(*said)
        return heard + await peer.hear(len(expected) - len(heard))

    heard = await served(talk)
    assert sorted(map(repr, heard)) == sorted(map(repr, expected))


#: Faults that cost their call alone, and the type of the error.
CALL_LEVEL: dict[str, tuple[Any, str]] = {
    "an unknown code": (["pipeline", 0, ["echo"], [["what"]]], "DecodeError"),
    "an empty expression": (["pipeline", 0, ["echo"], [[]]], "DecodeError"),
    "an unknown object": (["pipeline", -9, ["name"], []], "UnknownObject"),
    "an unknown answer": (["pipeline", 9, ["name"], []], "UnknownObject"),
    "an unknown argument": (["pipeline", 0, ["echo"], [["import", -9]]], "UnknownObject"),
    "bad base64": (["pipeline", 0, ["echo"], [["bytes", "*"]]], "DecodeError"),
    "a misfit of bytes": (["pipeline", 0, ["echo"], [["bytes", "AA", "Int32Array"]]], "DecodeError"),
    "a bad bigint": (["pipeline", 0, ["echo"], [["bigint", "1x"]]], "DecodeError"),
    "a date of no moment": (["pipeline", 0, ["echo"], [["date", None]]], "DecodeError"),
    "a far date": (["pipeline", 0, ["echo"], [["date", 1e300]]], "DecodeError"),
    "arguments that are no list": (["pipeline", 0, ["echo"], 5], "DecodeError"),
    "a path that is none": (["pipeline", 0, "echo", []], "DecodeError"),
    "a long name": (["pipeline", 0, ["e" * 300], []], "DecodeError"),
    "a private name": (["pipeline", 0, ["__class__"], []], "NoSuchMethod"),
    "an attribute of Python": (["pipeline", 0, ["gate"], []], "NoSuchMethod"),
    "a stream": (["pipeline", 0, ["echo"], [["readable", 1]]], "DecodeError"),
    "a map": (["remap", 0, [], [], [["pipeline", 0, []]]], "DecodeError"),
    "too many arguments": (["pipeline", 0, ["echo"], [1, 2]], "BadArguments"),
    "an answer that cannot cross": (["pipeline", 0, ["a_set"], []], "RemoteError"),
    "a method's own error": (["pipeline", 0, ["refuse"], []], "Error"),
    "what is no function": (["push", 1], "DecodeError"),
}


@pytest.mark.parametrize("row", CALL_LEVEL)
async def test_a_fault_in_a_push_costs_that_call(row: str) -> None:
    expression, kind = CALL_LEVEL[row]

    async def talk(peer: Peer, api: Api) -> Any:
        peer.say(["push", expression], ["pull", 1])
        return await peer.answers()

    ((word, number, error),) = await served(talk)
    assert (word, number, error[0]) == ("reject", 1, "error")
    if kind not in ("RemoteError",):
        assert error[4]["type"].rpartition(".")[2] == kind


async def test_a_lone_surrogate_costs_its_call() -> None:
    async def talk(peer: Peer, api: Api) -> Any:
        peer.say(r'["push",["pipeline",0,["echo"],["\ud800"]]]')
        peer._pushes += 1
        peer.say(["pull", 1])
        return await peer.answers()

    ((word, number, error),) = await served(talk)
    assert (word, number) == ("reject", 1)
    assert error[2] == "text contains a lone surrogate"


#: Faults that end the connection: code, and WebSocket's code.
FATAL: dict[str, tuple[list[Any], str, int]] = {
    "no JSON": (["nonsense"], "bad-message", 1002),
    "no list": (["{}"], "bad-message", 1002),
    "an unknown word": ([["what", 1]], "bad-message", 1002),
    "a short push": ([["push"]], "bad-message", 1002),
    "an id that is text": ([["pull", "1"]], "bad-message", 1002),
    "an id that is true": ([["pull", True]], "bad-message", 1002),
    "a pull of nothing": ([["pull", 5]], "bad-id", 1002),
    "a release of nothing": ([["release", 5, 1]], "refcount", 1002),
    "a release of no object": ([["release", -5, 1]], "refcount", 1002),
    "a release of none": ([call("echo"), ["release", 1, 0]], "refcount", 1002),
    "a release of two": ([call("echo"), ["release", 1, 2]], "refcount", 1002),
    "a deep message": (["[" * 300 + "]" * 300], "limit-depth", 1008),
    "a large message": ([["push", "x" * 20_000]], "limit-message", 1009),
    "many values": ([["push", [[1] * 4_000]]], "limit-nodes", 1008),
    "a number out of range": (['["push",1e999]'], "bad-message", 1002),
}


@pytest.mark.parametrize("row", FATAL)
async def test_a_fault_of_the_protocol_ends_the_connection(row: str) -> None:
    said, code, number = FATAL[row]

    async def talk(peer: Peer, api: Api) -> Any:
        peer.say(*said)
        return await peer.end(), peer.closed

    heard, closed = await served(talk, Limits(message_bytes=16 * 1024, nodes=3_000))
    assert heard[-1][0] == "abort"
    assert heard[-1][1][2].startswith(f"{code}: ")
    assert closed is not None
    assert closed[0] == number


async def test_a_call_that_was_pulled_is_cancelled_by_its_release() -> None:
    async def talk(peer: Peer, api: Api) -> None:
        peer.say(call("forever"), ["pull", 1])
        await asyncio.wait_for(api.begun.wait(), 20)
        assert await peer.answers(["release", 1, 1]) == []
        assert api.stopped == 1

    await served(talk)


async def test_a_call_that_was_never_pulled_runs_on() -> None:
    async def talk(peer: Peer, api: Api) -> None:
        peer.say(call("forever"))
        await asyncio.wait_for(api.begun.wait(), 20)
        assert await peer.answers(["release", 1, 1]) == []
        assert api.stopped == 0

    await served(talk)


async def test_the_server_calls_a_function_of_the_peer() -> None:
    async def talk(peer: Peer, api: Api) -> None:
        peer.say(call("call", ["export", -7], 3), ["pull", 1])
        assert await peer.hear(2) == [["push", ["pipeline", -7, [], [3]]], ["pull", 1]]
        peer.say(["resolve", 1, 4])
        heard = await peer.hear(3)
        assert sorted(map(repr, heard)) == sorted(
            map(repr, [["release", 1, 1], ["resolve", 1, 4], ["release", -7, 1]])
        )

    await served(talk)


async def test_frames_are_read_in_any_pieces() -> None:
    async def talk(peer: Peer, api: Api) -> None:
        protocol = peer.protocol
        protocol.send_text(b'["push",["pipe', fin=False)
        protocol.send_ping(b"alive")
        protocol.send_continuation(b'line",0,["echo"],[1]]]', fin=True)
        protocol.send_text(b'["pull",1]')
        for byte in b"".join(protocol.data_to_send()):
            peer.write(bytes((byte,)))
            await asyncio.sleep(0)
        assert await peer.hear(1) == [["resolve", 1, 1]]

    await served(talk)


@pytest.mark.parametrize(
    "data",
    [b"\x82\x81\0\0\0\0x", b"\x81\x01x", b"\xf1\x80\0\0\0\0", b"\x83\x80\0\0\0\0", b"\x80\x80\0\0\0\0"],
)
async def test_wrong_frames_end_the_connection(data: bytes) -> None:
    async def talk(peer: Peer, api: Api) -> Any:
        peer.write(data)
        await peer.end()
        return peer.closed

    closed = await served(talk)
    assert closed[0] == 1002
