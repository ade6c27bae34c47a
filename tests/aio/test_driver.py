"""The driver: one busy peer beside others, the ends of a connection."""

from __future__ import annotations

import asyncio
import sys
from typing import Any
from urllib.parse import urlsplit

import pytest
from ormsgpack import Ext, packb

import perspective_broker as pb
from bench.hostile import Modern
from perspective_broker.dialects.pb7 import codes
from perspective_broker.testing import ScriptedPeer, memory_pair
from tests.aio.desk import Desk, turns, until
from tests.broken import break_dialect
from tests.loops import both_loops

KIB = 1024

# -- many calls


@both_loops
@pytest.mark.parametrize("url", [None, "tcp://127.0.0.1:0"])
async def test_calls_far_beyond_the_window_are_all_answered_in_order(url: str | None, dialect: str) -> None:
    limits = pb.Limits(calls_in_flight=8, window_bytes=4 * KIB)
    async with memory_pair(Desk(), limits=limits, url=url, dialects=[dialect]) as pair:
        answered: list[int] = []
        promises = [pair.root.call("echo", n) for n in range(1000)]
        for promise in promises:
            promise.add_done_callback(lambda done: answered.append(done.result()))
        assert pair.client.statistics().calls_held == 1000 - 8
        await asyncio.gather(*promises)
        assert answered == list(range(1000))


async def test_reading_pauses_when_as_many_methods_run_as_may_and_nothing_is_lost() -> None:
    desk = Desk()
    limits = pb.Limits(calls_in_flight=16, waiting_bytes=32 * 256)  # a small call counts as 256 bytes
    async with (
        pb.serve(desk, "memory:pause", limits=limits) as server,
        ScriptedPeer.connect("memory:pause", dialect="pb") as peer,
    ):
        (accepted,) = server.connections
        requests = [peer.call("root", "wait", n) for n in range(1000)]
        await turns()
        statistics = accepted.statistics()
        assert statistics.calls_in == 16
        assert statistics.calls_waiting == 32 + 1
        assert statistics.messages_received < 100  # the rest was not even looked at
        desk.gate.set()
        answers = [await peer.read() for _ in requests]
        # Since Python 3.12 one that begins when another ends has its answer before those that wait to go on.
        assert sorted(answers) == [[b"answer", request, n] for n, request in enumerate(requests)]


async def test_a_peer_that_pipelines_many_calls_does_not_hold_up_another() -> None:
    served: list[object] = []

    class Door(pb.Root):
        def remote_knock(self, who: str) -> None:
            served.append(who)

    async with (
        pb.serve(Door(), "memory:fair"),
        pb.connect("memory:fair") as polite,
        ScriptedPeer.connect("memory:fair", dialect="pb") as busy,
    ):
        message = busy.encode(["message", 0, "root", "knock", 0, ["tuple", b"busy"], ["dictionary"]])
        busy.send_bytes(message * 20_000)
        await turns(2)
        for _ in range(5):
            before = len(served)
            await polite.call("knock", "polite")
            # A round trip takes a handful of turns, in each of which the busy peer may have 64.
            assert len(served) - before <= 8 * 64
        assert len(served) < 20_000
        await until(lambda: served.count(b"busy") == 20_000)


_FLOOD = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as peer:
    peer.sendall(bytes.fromhex(sys.argv[2]))
    data = sys.stdin.buffer.read()
    try:
        while True:
            peer.sendall(data)
    except OSError:
        pass
"""


@both_loops
async def test_a_peer_whose_messages_take_long_does_not_hold_up_another() -> None:
    """uvloop reads on for as long as its buffer is filled; between two reads that took long others have their turn."""
    served: list[str] = []

    class Door(pb.Root):
        def remote_knock(self, who: str, load: Any = None) -> None:
            served.append(who)

    # A call of some 30 KB, which takes more than a millisecond.
    load = packb(["busy", [Ext(codes.TUPLE, packb([number, number])) for number in range(4000)]])
    async with (
        pb.serve(Door(), "tcp://127.0.0.1:0") as server,
        pb.connect(server.urls[0]) as polite,
    ):
        flood = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _FLOOD, str(urlsplit(server.urls[0]).port), Modern.hello.hex(),
            stdin=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert flood.stdin is not None
        flood.stdin.write(Modern.call(load, "knock"))
        flood.stdin.close()
        try:
            await until(lambda: served, turns=10**9)
            for _ in range(5):
                before = len(served)
                await polite.call("knock", "polite")
                assert len(served) - before < 100
        finally:
            flood.kill()
            await flood.wait()


@both_loops
@pytest.mark.parametrize("url", [None, "tcp://127.0.0.1:0"])
async def test_two_sides_that_flood_each_other_with_large_calls_do_not_block_each_other(
    url: str | None, dialect: str
) -> None:
    limits = pb.Limits(
        calls_in_flight=4, window_bytes=64 * KIB, write_buffer_high=64 * KIB, write_buffer_low=16 * KIB
    )
    desk, mind = Desk(), Desk()
    payload = bytes(60 * KIB)
    async with memory_pair(desk, limits=limits, url=url, dialects=[dialect]) as pair:
        await pair.root.call("keep", mind)
        towards_client = desk.kept.pop()
        calls = [side.call("echo", payload) for _ in range(50) for side in (pair.root, towards_client)]
        for answer in await asyncio.gather(*calls):
            assert answer == payload
        del towards_client


# -- the end


async def test_a_peer_that_reads_nothing_is_cut_off_and_not_waited_for() -> None:
    limits = pb.Limits(
        write_buffer_high=4 * KIB, write_buffer_low=1 * KIB, slow_consumer_seconds=0.01, close_seconds=0.01
    )
    async with ScriptedPeer.listen("memory:slow") as listener:
        connecting = asyncio.ensure_future(pb.connect("memory:slow", limits=limits))
        peer = await listener.accept()
        await peer.greet_as_server()
        root = await connecting
        peer.transport.pause_reading()
        lost = root.call("take", bytes(100 * KIB))
        with pytest.raises(pb.ConnectionLost) as raised:
            await lost
        assert raised.value.code == "slow-consumer"
        await root.connection.wait_closed()


async def test_a_silent_client_is_cut_off_at_the_handshake_timeout() -> None:
    limits = pb.Limits(handshake_seconds=0.01)
    async with (
        pb.serve(Desk(), "memory:silent", limits=limits),
        ScriptedPeer.connect("memory:silent") as peer,
    ):
        await peer.read_to_end()


@both_loops
async def test_a_reset_fails_every_pending_call_and_cancels_what_runs() -> None:
    desk = Desk()
    async with (
        pb.serve(desk, "tcp://127.0.0.1:0") as server,
        ScriptedPeer.connect(server.urls[0], dialect="pb") as peer,
    ):
        for _ in range(3):
            peer.call("root", "wait")
        await until(lambda: desk.waiting == 3)
        peer.abort()
        await until(lambda: not server.connections)
        await until(lambda: not desk.waiting)
        assert desk.cancelled == 3


@both_loops
async def test_the_peers_death_fails_every_pending_call() -> None:
    async with ScriptedPeer.listen("tcp://127.0.0.1:0") as listener:
        connecting = asyncio.ensure_future(pb.connect(listener.url))
        peer = await listener.accept()
        await peer.greet_as_server()
        root = await connecting
        calls = [root.call("anything") for _ in range(10)]
        peer.abort()
        outcomes: list[Any] = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [pb.ConnectionLost] * 10
        with pytest.raises(pb.DeadReferenceError):
            root.call("anything")
        await root.connection.wait_closed()


async def test_what_was_queued_still_leaves_when_the_connection_is_closed() -> None:
    desk = Desk()
    async with pb.serve(desk, "memory:queued") as server:
        root = await pb.connect("memory:queued")
        for n in range(200):
            root.tell("plain", n)
        await root.connection.close()
        await until(lambda: not server.connections)
        assert desk.log == list(range(200))


async def test_a_failed_handshake_has_no_dialect() -> None:
    class Broken(pb.Root):
        def root_object(self, connection: pb.Connection) -> pb.Referenceable:
            seen.append(connection)
            raise RuntimeError("no root today")

    seen: list[pb.Connection] = []
    async with pb.serve(Broken(), "memory:broken"):
        with pytest.raises((pb.ConnectionLost, pb.ProtocolError)):
            await pb.connect("memory:broken")
        assert seen[0].dialect == ""
        assert seen[0].statistics().phase == "closed"
        cause = seen[0].close_cause
        assert cause is not None
        assert cause.code == "no-root"


@pytest.mark.parametrize("method", ["large", "large_async"])
async def test_a_peer_that_reads_none_of_its_large_answers_fills_no_memory(method: str) -> None:
    """ROBUSTNESS, fault 4: answers that are not read are not even made."""

    class Source(pb.Root):
        made = 0

        def remote_large(self) -> bytes:
            self.made += 1
            return bytes(600 * KIB)

        async def remote_large_async(self) -> bytes:
            return self.remote_large()

    source = Source()
    limits = pb.Limits(calls_in_flight=4)
    async with (
        pb.serve(source, "memory:large", limits=limits) as server,
        ScriptedPeer.connect("memory:large", dialect="pb") as peer,
    ):
        driver = server.connections[0]._driver
        peer.transport.pause_reading()
        for _ in range(300):
            peer.call("root", method)
        await turns(200)
        assert 1 <= source.made <= 6
        assert driver.buffer.size <= 6 * 601 * KIB
        peer.transport.resume_reading()
        while source.made < 300 or driver.buffer.size:
            peer.received.clear()
            await asyncio.sleep(0)


# -- a defect in the core


@both_loops
async def test_a_defect_ends_one_connection_with_a_record_and_the_loop_hears_nothing(
    dialect: str, caplog: pytest.LogCaptureFixture
) -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    async with (
        pb.serve(Desk(), "tcp://127.0.0.1:0", dialects=[dialect]) as server,
        pb.connect(server.urls[0]) as one,
        pb.connect(server.urls[0]) as other,
    ):
        await asyncio.gather(one.call("echo", 1), other.call("echo", 2))
        (broker, _) = (accepted._driver.broker for accepted in server.connections)
        break_dialect(broker, "next_message")
        outcomes = await asyncio.gather(
            *(root.call("echo", 3) for root in (one, other)), return_exceptions=True
        )
        lost = [outcome for outcome in outcomes if isinstance(outcome, pb.ConnectionLost)]
        assert len(lost) == 1
        assert lost[0].code == ("internal" if dialect == "pb7" else "lost")
        assert outcomes.count(3) == 1
        assert broker.lifecycle.cause is not None
        assert broker.lifecycle.cause.code == "internal"
        await until(lambda: len(server.connections) == 1)
    assert complaints == []
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "closing the connection because of an error in this library" in record.getMessage()
