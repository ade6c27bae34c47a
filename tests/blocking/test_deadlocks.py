"""What would wait for itself is an error that says why."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker import blocking

from .desk import Desk, Served

HERE = "the event loop thread itself would wait here"


@pytest.mark.parametrize(
    "use",
    [
        lambda root, url: root.echo(1),
        lambda root, url: iter(root),
        lambda root, url: blocking.connect(url),
        lambda root, url: blocking.serve(Desk(), "tcp://127.0.0.1:0"),
        lambda root, url: blocking.EventLoopThread.shared().run(asyncio.sleep(0)),
        lambda root, url: blocking.EventLoopThread.shared().close(),
    ],
    ids="call iterate connect serve run close".split(),
)
def test_nothing_waits_in_the_thread_of_the_loop(desk: Served, use: Callable[[Any, str], Any]) -> None:
    async def here() -> None:
        with pytest.raises(pb.UsageError, match=HERE):
            use(root, desk.url)

    with blocking.connect(desk.url) as root:
        blocking.EventLoopThread.shared().run(here())
        assert root.echo(1) == 1


def test_closing_in_the_thread_of_the_loop_is_refused_too(desk: Served) -> None:
    connected = blocking.connect(desk.url)

    async def here() -> None:
        with pytest.raises(pb.UsageError, match=HERE):
            connected.close()

    blocking.EventLoopThread.shared().run(here())
    connected.close()
    assert desk.desk.lost == [desk.closed]


def test_a_finaliser_that_runs_in_the_loop_gets_an_error_instead_of_waiting(root: Any) -> None:
    raised: list[str] = []

    class Careless:
        def __del__(self) -> None:
            try:
                root.echo(1)
            except pb.UsageError as error:
                raised.append(str(error))

    async def drop() -> None:
        Careless()

    blocking.EventLoopThread.shared().run(drop())
    assert HERE in raised[0]


def test_a_server_in_the_calling_threads_own_loop_is_named_as_the_cause() -> None:
    async def main() -> None:
        async with pb.serve(Desk(), "tcp://127.0.0.1:0") as server:
            root = await asyncio.to_thread(blocking.connect, server.urls[0], timeout=1)
            with pytest.raises(pb.DeadlineExceeded, match="a server in that loop cannot answer") as raised:
                root.echo(1)
            assert "asyncio.to_thread" in str(raised.value)
            assert await asyncio.to_thread(root.echo, 1) == 1
            await asyncio.to_thread(root.close)

    asyncio.run(main())


def test_connecting_to_a_server_in_the_own_loop_says_so_too() -> None:
    async def main() -> None:
        async with pb.serve(Desk(), "tcp://127.0.0.1:0") as server:
            with pytest.raises(TimeoutError, match="a server in that loop cannot answer"):
                blocking.connect(server.urls[0], timeout=0.2)

    asyncio.run(main())


def test_without_a_loop_in_the_thread_the_error_blames_none(modern: Served) -> None:
    with blocking.connect(modern.url, timeout=1) as root:
        with pytest.raises(pb.DeadlineExceeded) as raised:
            root.wait()
        assert "loop" not in str(raised.value)


def test_callbacks_that_all_wait_do_not_use_up_the_threads(root: Any) -> None:
    met = threading.Barrier(40)

    def meet(number: int) -> int:
        assert root.echo(number) == number  # and so gives its turn away
        met.wait(60)
        return number

    assert root.call_at_once(pb.callback(meet), 40) == list(range(40))
