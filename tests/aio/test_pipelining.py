"""Pipelining, cancellation, farewells and draining through the public face, over both families where they share it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import pytest

import perspective_broker as pb
from perspective_broker.testing import assert_no_leaks, memory_pair
from tests.aio.desk import Desk, give_up_when, turns, until

# -- pipelining: the same results in every dialect


async def test_three_dependent_calls(dialect: str) -> None:
    desk = Desk()
    async with memory_pair(desk, dialects=[dialect]) as pair:
        assert await pair.root.call("new").call("me").call("echo", 7) == 7
        await assert_no_leaks(pair.client, pair.accepted)


async def test_on_pb7_they_arrive_before_there_is_the_first_answer() -> None:
    desk = Desk()
    async with memory_pair(desk, dialects=["pb7"]) as pair:
        before = pair.accepted.statistics().messages_received
        mine = Desk()
        promise = pair.root.call("wait", mine).call("echo", pair.root.call("echo", 7))
        await until(lambda: desk.waiting == 1)
        assert pair.accepted.statistics().messages_received == before + 3
        desk.gate.set()
        assert await promise == 7


async def test_a_promise_among_the_arguments(dialect: str) -> None:
    async with memory_pair(Desk(), dialects=[dialect]) as pair:
        promise = pair.root.call("echo", 7)
        assert await pair.root.call("echo", {"deep": [(promise,)]}) == {"deep": [(7,)]}
        assert await pair.root.call("echo", [promise, promise]) == [7, 7]


async def test_a_failed_promise_among_the_arguments(dialect: str) -> None:
    async with memory_pair(Desk(), dialects=[dialect]) as pair:
        broken = pair.root.call("raise", "pb.Error")
        with pytest.raises(pb.RemoteError, match="expected"):
            await pair.root.call("echo", [broken])
        with pytest.raises(pb.RemoteError, match="expected"):
            await broken


async def test_a_promise_of_another_connection(dialect: str) -> None:
    desk = Desk()
    async with memory_pair(desk, dialects=[dialect]) as pair, memory_pair(Desk()) as other:
        promise = other.root.call("echo", "from there")
        waits, after = pair.root.call("echo", promise), pair.root.call("plain", "after")
        assert await waits == "from there"
        await after


async def test_a_promise_that_was_given_up_cannot_cross(dialect: str) -> None:
    async with memory_pair(Desk(), dialects=[dialect]) as pair:
        promise = pair.root.call("wait")
        promise.cancel()
        with pytest.raises(pb.SerializationError):
            await pair.root.call("echo", promise)


async def test_a_stream_that_a_promise_turns_out_to_be(dialect: str) -> None:
    class Source(pb.Root):
        async def numbers(self) -> object:
            for number in range(3):
                yield number

        def remote_numbers(self) -> object:
            return self.numbers()

    async with memory_pair(Source(), dialects=[dialect]) as pair:
        assert [number async for number in pair.root.call("numbers")] == [0, 1, 2]


# -- cancellation on pb7


async def test_cancelling_a_promise_stops_what_hangs_on_it() -> None:
    desk = Desk()
    async with memory_pair(desk, dialects=["pb7"]) as pair:
        slow = pair.root.call("wait")
        chained = slow.call("plain", "never")
        await until(lambda: desk.waiting == 1)
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await chained
        await until(lambda: desk.cancelled == 1)
        await pair.root.call("echo")
        assert desk.log == []
        await assert_no_leaks(pair.client, pair.accepted)


async def test_a_timeout_stops_the_method_which_may_clean_up() -> None:
    class Careful(Desk):
        running = False

        async def remote_careful(self) -> str:
            self.running = True
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.log.append("cleaning")
                await self.gate.wait()
                self.log.append("cleaned")
                raise
            return "never"

    desk = Careful()
    async with memory_pair(desk, dialects=["pb7"]) as pair:
        with pytest.raises(TimeoutError):
            await give_up_when(lambda: desk.running, pair.root.call("careful"))
        await until(lambda: desk.log == ["cleaning"])
        assert pair.accepted.statistics().calls_in == 1  # its slot is held until it has ended
        assert pair.client.statistics().calls_out == 1
        desk.gate.set()
        await until(lambda: desk.log == ["cleaning", "cleaned"])
        await assert_no_leaks(pair.client, pair.accepted)


async def test_an_answer_that_comes_late_is_ignored() -> None:
    class Stubborn(Desk):
        async def remote_stubborn(self) -> Desk:
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.log.append("no")
            return self

    desk = Stubborn()
    async with memory_pair(desk, dialects=["pb7"]) as pair:
        promise = pair.root.call("stubborn")
        await turns()
        promise.cancel()
        await until(lambda: desk.log == ["no"])
        await assert_no_leaks(pair.client, pair.accepted)
        assert promise.cancelled()


async def test_ten_thousand_calls_begun_and_cancelled_keep_to_the_limit() -> None:
    class Counting(pb.Root):
        running = most = 0

        async def remote_wait(self) -> None:
            self.running += 1
            self.most = max(self.most, self.running)
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                self.running -= 1

    desk = Counting()
    limits = pb.Limits(calls_in_flight=16)
    async with memory_pair(desk, dialects=["pb7"], limits=limits) as pair:
        for _ in range(100):
            promises = [pair.root.call("wait") for _ in range(100)]
            await asyncio.sleep(0)
            for promise in promises:
                promise.cancel()
        del promises, promise
        await until(lambda: pair.client.statistics().calls_out == 0)
        assert 0 < desk.most <= 16
        assert desk.running == 0
        await assert_no_leaks(pair.client, pair.accepted)


async def test_a_plain_method_has_ended_before_it_could_be_cancelled() -> None:
    desk = Desk()
    async with memory_pair(desk, dialects=["pb7"]) as pair:
        pair.root.call("plain", "done").cancel()
        await pair.root.call("echo")
        assert desk.log == ["done"]


async def test_a_call_that_waits_for_a_slot_is_cancelled_before_it_began() -> None:
    desk = Desk()
    # The server has no slot for the call that the client sends.
    async with (
        pb.serve(desk, "memory:slots", limits=pb.Limits(calls_in_flight=1)),
        pb.connect("memory:slots", dialects=["pb7"]) as root,
    ):
        first, second = root.call("wait"), root.call("async", "never")
        await until(lambda: desk.waiting == 1)
        second.cancel()
        await turns()
        desk.gate.set()
        await first
        await root.call("echo")
        assert desk.log == []


# -- the end


async def test_the_code_of_a_farewell_is_that_of_the_lost_connection() -> None:
    async with memory_pair(Desk(), dialects=["pb7"]) as pair:
        waiting = pair.root.call("wait")
        await turns()
        await pair.accepted.close("maintenance", "back in a minute")
        with pytest.raises(pb.ConnectionLost, match="back in a minute") as raised:
            await waiting
        assert raised.value.code == "maintenance"


async def test_draining_tells_the_peer_refuses_what_is_new_and_ends_what_runs() -> None:
    desk = Desk()
    async with pb.serve(desk, "memory:drain") as server, pb.connect("memory:drain") as root:
        assert not root.connection.draining
        running = root.call("wait", "ended")
        await until(lambda: desk.waiting == 1)
        closing = asyncio.ensure_future(server.close(drain=30))
        await until(lambda: root.connection.draining)
        with pytest.raises(pb.Unavailable):
            await root.call("echo")
        desk.gate.set()
        assert await running == "ended"
        await closing
        assert root.connection.close_cause is not None
        assert root.connection.close_cause.code == "drained"


SERVER = """
import asyncio, perspective_broker as pb
async def main():
    async with pb.serve(pb.Root(), "tcp://127.0.0.1:0") as server:
        print(*server.urls, flush=True)
        await server.serve_forever()
asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no signal stops a process here")
async def test_a_peer_that_stands_still_is_given_up() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, env=environment) as process:
        try:
            assert process.stdout is not None
            url = (await asyncio.to_thread(process.stdout.readline)).decode().strip()
            limits = pb.Limits(ping_seconds=0.2, pong_seconds=0.2)
            root = await pb.connect(url, limits=limits)
            process.send_signal(signal.SIGSTOP)
            await root.connection.wait_closed()
            assert root.connection.close_cause is not None
            assert root.connection.close_cause.code == "ping-timeout"
        finally:
            process.kill()


# -- calls that depend on promises, when one of them is cancelled


async def test_a_call_that_is_given_up_leaves_those_before_it_what_they_hang_on() -> None:
    """A release after it ("forget the quick answer") took effect while another call still needed the answer."""
    desk = Desk()
    async with memory_pair(desk, dialects=["pb7"]) as pair:
        quick, slow = pair.root.call("echo", "quick"), pair.root.call("wait", "slow")
        both, only = pair.root.call("echo", quick, slow), pair.root.call("echo", slow)
        assert await quick == "quick"
        await turns()
        only.cancel()
        await turns()
        desk.gate.set()
        assert await both == ("quick", "slow")
        assert await pair.root.call("echo", "after") == "after"
        assert await slow == "slow"
        await assert_no_leaks(pair.client, pair.accepted)


async def test_a_long_chain_whose_first_fails_ends_call_by_call() -> None:
    async with memory_pair(Desk(), dialects=["pb7"]) as pair:
        chain = [pair.root.call("raise", "pb.Error")]
        for _ in range(3000):
            chain.append(chain[-1].call("echo", 1))
        ends = await asyncio.gather(*chain, return_exceptions=True)
        assert {type(end) for end in ends} == {pb.RemoteError}
        assert await pair.root.call("echo", "after") == "after"
        await assert_no_leaks(pair.client, pair.accepted)
