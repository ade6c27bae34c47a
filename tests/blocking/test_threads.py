"""EventLoopThread: its beginning, its use by coroutines, its end."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker import blocking
from perspective_broker.blocking.workers import Workers

from .desk import Served, eventually


def test_a_thread_of_ones_own_ends_with_its_block_and_what_it_has(desk: Served) -> None:
    with blocking.EventLoopThread("mine") as thread:
        root = blocking.connect(desk.url, thread=thread)
        assert root.echo(1) == 1
        assert "mine" in {running.name for running in threading.enumerate()}
    assert "mine" not in {running.name for running in threading.enumerate()}
    assert desk.desk.lost == [desk.closed]
    with pytest.raises(pb.UsageError, match="closed: connect again"):
        root.echo(1)
    root.close()


def test_a_thread_that_was_closed_starts_again_when_it_is_used(desk: Served) -> None:
    with blocking.EventLoopThread() as thread:
        for _ in range(2):
            assert blocking.connect(desk.url, thread=thread).echo(1) == 1
            thread.close()
            thread.close()


def test_coroutines_use_the_asyncio_face(desk: Served) -> None:
    async def main() -> Any:
        async with pb.connect(desk.url) as root:
            promise = root.call("room", "a")
            said = await promise.call("say", "x")
            items = [item async for item in root.call("count", 3)]
            return said, items, await root.call("echo", 1)

    assert blocking.EventLoopThread.shared().run(main()) == (1, [0, 1, 2], 1)


def test_a_coroutine_that_takes_too_long_is_cancelled() -> None:
    cancelled: list[bool] = []

    async def wait() -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    with blocking.EventLoopThread() as thread:
        with pytest.raises(pb.DeadlineExceeded, match=r"wait: no answer within 0.05 s"):
            thread.run(wait(), timeout=0.05)
        eventually(lambda: cancelled)
        with blocking.deadline(0), pytest.raises(pb.DeadlineExceeded):
            thread.run(wait())
    assert cancelled == [True]


def test_calls_that_wait_when_the_thread_is_closed_end(modern: Served) -> None:
    raised: list[BaseException] = []

    def call(waiting: Any) -> None:
        try:
            waiting()
        except BaseException as error:
            raised.append(error)

    async def forever() -> None:
        running.set()
        await asyncio.get_running_loop().create_future()

    running = threading.Event()
    with blocking.EventLoopThread() as thread:
        root = blocking.connect(modern.url, thread=thread)
        threads = [
            threading.Thread(target=call, args=(root.wait,)),
            threading.Thread(target=call, args=(lambda: thread.run(forever()),)),
        ]
        for one in threads:
            one.start()
        assert modern.desk.began.wait(60)
        assert running.wait(60)
    for one in threads:
        one.join()
    assert sorted(type(error).__name__ for error in raised) == ["CancelledError", "ConnectionLost"]
    assert all(isinstance(error, Exception) for error in raised)


def test_closing_does_not_wait_for_a_coroutine_that_does_not_end() -> None:
    async def stubborn() -> None:
        while True:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                if asyncio.get_running_loop().time() > until:
                    raise

    thread = blocking.EventLoopThread()
    until = time.monotonic()
    with pytest.raises(pb.DeadlineExceeded):
        thread.run(stubborn(), timeout=0)
    thread.close()


def test_many_threads_start_one_loop(desk: Served) -> None:
    ready = threading.Barrier(20)
    loops: set[asyncio.AbstractEventLoop] = set()
    with blocking.EventLoopThread() as thread:

        def use() -> None:
            ready.wait()
            loops.add(thread.loop)

        threads = [threading.Thread(target=use) for _ in range(20)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert len(loops) == 1


def test_workers_end_when_there_is_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perspective_broker.blocking.workers._IDLE_SECONDS", 0.01)
    workers = Workers("idle")
    ran = threading.Event()
    workers.run(ran.set)
    assert ran.wait(60)
    eventually(lambda: not any(one.name == "idle worker" for one in threading.enumerate()))
    ran.clear()
    workers.run(ran.set)
    assert ran.wait(60)
    workers.close(time.monotonic() + 60)
    with pytest.raises(RuntimeError, match="closed"):
        workers.run(ran.set)
