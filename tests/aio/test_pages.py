"""Pages, as in twisted.spread.util: read like a stream, sent no faster than they are taken.

Against real Twisted programs: tests/interop.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.aio.item_cost import item_cost
from perspective_broker.aio.pages import ANSWERING, PATIENCE, PAUSING, UNANSWERED_BYTES, UNANSWERED_PAGES
from perspective_broker.testing import Pair, assert_no_leaks, memory_pair
from tests.aio.desk import Desk, turns, until
from tests.loops import both_loops

PAGE = bytes(16 * 1024)


class Book(Desk):
    """Sends pages to collectors, well behaved and not."""

    def __init__(self) -> None:
        super().__init__()
        self.made = 0
        self.closed = 0
        self.sent: list[Any] = []

    async def pages(self, *pages: Any, error: Exception | None = None) -> AsyncIterator[Any]:
        try:
            for page in pages:
                self.made += 1
                yield page
            if error is not None:
                raise error
        finally:
            self.closed += 1

    async def remote_pages(self, collector: Any, *pages: Any) -> int:
        return await pb.streams.send_pages(collector, self.pages(*pages))

    async def remote_many(self, collector: Any, number: int) -> int:
        return await pb.streams.send_pages(collector, self.pages(*[PAGE] * number))

    async def remote_bytes(self, collector: Any, data: bytes, size: int) -> int:
        return await pb.streams.send_pages(
            collector, data, page_bytes=size, progress=lambda *both: self.sent.append(both)
        )

    async def remote_failing(self, collector: Any) -> None:
        await pb.streams.send_pages(collector, self.pages(1, 2, error=pb.Error("torn out")))

    def remote_flood(self, collector: Any, number: int) -> None:
        """As Twisted does it: no answers are asked for, and this method has long ended."""

        async def flood() -> None:
            for _ in range(number):
                self.made += 1
                await collector.tell("gotPage", PAGE)
            await collector.tell("endedPaging")

        self.flooding = asyncio.ensure_future(flood())

    def remote_give_up(self, collector: Any) -> None:
        collector.tell("gotPage", 1)

    def remote_give_up_with_an_error(self, collector: Any) -> None:
        raise pb.Error("no such book")

    async def remote_copy(self, book: Any, number: int) -> int:
        return len([page async for page in pb.streams.get_pages(book, "many", number)])

    def remote_as_stream(self, book: Any) -> Any:
        return pb.streams.get_pages(book, "pages", 1, 2, 3)


@contextlib.asynccontextmanager
async def book(dialect: str, **options: Any) -> AsyncIterator[tuple[Book, Pair]]:
    served = Book()
    async with memory_pair(served, dialects=[dialect], **options) as pair:
        yield served, pair
        await assert_no_leaks(pair.client, pair.accepted)


async def read(pages: Any, into: list[Any] | None = None) -> list[Any]:
    into = [] if into is None else into
    async for page in pages:
        into.append(page)
    return into


@both_loops
async def test_pages_are_read_in_order(dialect: str) -> None:
    async with book(dialect) as (served, pair):
        values = [b"bytes", "text", [1, 2], None]
        assert await read(pb.streams.get_pages(pair.root, "pages", *values)) == values
        assert await read(pb.streams.get_pages(pair.root, "pages")) == []
        assert await read(pb.streams.get_pages(pair.root, "pages", *range(1000))) == list(range(1000))
        assert served.closed == 3


async def test_bytes_are_cut_into_pages(dialect: str) -> None:
    async with book(dialect) as (served, pair):
        assert await read(pb.streams.get_pages(pair.root, "bytes", b"1234567", 3)) == [b"123", b"456", b"7"]
        assert served.sent == [(3, 7), (6, 7), (7, 7)]


async def test_pages_go_the_other_way(dialect: str) -> None:
    async with book(dialect) as (_, pair):
        mine = Book()
        assert await pair.root.call("copy", mine, 300) == 300
        assert mine.closed == 1


async def test_pages_are_handed_on_as_a_stream(dialect: str) -> None:
    async with book(dialect) as (_, pair):
        assert await read(pair.root.call("as_stream", Book())) == [1, 2, 3]


async def test_pages_are_saved_like_any_stream(dialect: str, tmp_path: Any) -> None:
    async with book(dialect) as (_, pair):
        assert await pb.streams.save_stream(
            pb.streams.get_pages(pair.root, "many", 100), tmp_path / "f"
        ) == 100 * len(PAGE)
        data = await pb.streams.collect_stream(pb.streams.get_pages(pair.root, "many", 3), limit_bytes=10**6)
        assert data == PAGE * 3


# -- flow


async def test_a_slow_reader_stops_a_pager(dialect: str) -> None:
    async with book(dialect) as (served, pair):
        pages = pb.streams.get_pages(pair.root, "many", 10_000)
        assert await anext(pages) == PAGE
        await turns(300)
        assert 1 < served.made <= (ANSWERING + UNANSWERED_BYTES) // len(PAGE) + 4
        assert await pair.root.call("echo", "beside") == "beside"
        before = served.made
        for _ in range(100):
            await anext(pages)
        await until(lambda: served.made > before)
        await pages.aclose()
        await until(lambda: served.closed == 1)


async def test_small_pages_do_not_take_all_slots(dialect: str) -> None:
    async with book(dialect) as (served, pair):
        mine = Book()
        copying = pb.streams.get_pages(pair.root, "pages", *range(20_000))
        assert await anext(copying) == 0
        await until(lambda: served.made > 10 * UNANSWERED_PAGES)
        await turns(300)
        assert pair.client.statistics().calls_in <= UNANSWERED_PAGES + 1
        assert pair.accepted.statistics().calls_out <= UNANSWERED_PAGES + 1
        await copying.aclose()
        await until(lambda: served.closed == 1)
        assert mine.made == 0


async def test_a_pager_that_asks_for_no_answers_is_not_read_further(dialect: str) -> None:
    """The connection pauses; it goes on for a call, and for good when the pages have been read."""
    number = 3 * PAUSING // len(PAGE)
    async with book(dialect, url="tcp://127.0.0.1:0") as (_, pair):
        pages = pb.streams.get_pages(pair.root, "flood", number)
        assert await anext(pages) == PAGE
        await until(lambda: pair.client._driver.broker.is_paused)
        unread = pages._unread
        await turns(300)
        assert unread <= pages._unread < PAUSING + 2**20
        assert await pair.root.call("echo", "an answer is waited for") == "an answer is waited for"
        assert len(await read(pages)) == number - 1
        assert not pair.client._driver.broker.is_paused


async def test_two_floods_are_read_by_turns(dialect: str) -> None:
    """The full one does not keep the other's pages from their reader."""
    number = 3 * PAUSING // len(PAGE)
    async with book(dialect, url="tcp://127.0.0.1:0") as (_, pair):
        one, other = (pb.streams.get_pages(pair.root, "flood", number) for _ in range(2))
        await anext(one)
        await until(lambda: pair.client._driver.broker.is_paused)
        assert len(await read(other)) == number
        assert len(await read(one)) == number - 1


async def test_a_flood_beside_an_endless_call_ends_the_patience(dialect: str) -> None:
    number = 2 * PATIENCE // len(PAGE)
    async with book(dialect) as (served, pair):
        pages = pb.streams.get_pages(pair.root, "flood", number)
        await anext(pages)
        waiting = pair.root.call("wait")
        await until(lambda: pages._ended)
        with pytest.raises(pb.LimitExceeded, match="unread"):
            await read(pages)
        served.gate.set()
        await waiting
        await served.flooding  # later pages are dropped
        del waiting


async def test_a_dropped_reader_lets_the_connection_go_on(dialect: str) -> None:
    async with book(dialect, url="tcp://127.0.0.1:0") as (served, pair):
        pages = pb.streams.get_pages(pair.root, "flood", 3 * PAUSING // len(PAGE))
        await anext(pages)
        await until(lambda: pair.client._driver.broker.is_paused)
        del pages
        await until(lambda: not pair.client._driver.broker.is_paused)
        await served.flooding
        assert await pair.root.call("echo", 1) == 1


# -- leaving


@pytest.mark.parametrize("how", ["aclose", "drop", "collect"])
async def test_leaving_early_ends_the_pager(how: str, dialect: str) -> None:
    async with book(dialect) as (served, pair):
        pages = pb.streams.get_pages(pair.root, "many", 10_000)
        await anext(pages)
        await turns(100)
        if how == "aclose":
            await pages.aclose()
            await pages.aclose()
            assert await read(pages) == []
        elif how == "collect":
            cycle: list[Any] = [pages]
            cycle.append(cycle)
            del cycle
        del pages
        gc.collect()
        await until(lambda: served.closed == 1)
        assert served.made < 1000


async def test_pages_that_nobody_asked_for_are_not_sent(dialect: str) -> None:
    async with book(dialect) as (served, pair):
        pages = pb.streams.get_pages(pair.root, "many", 10)
        await pages.aclose()
        assert await read(pages) == []
        assert served.made == 0
        with pytest.raises(TypeError):
            pb.streams.get_pages(pair.root)  # type: ignore[call-arg]


async def test_a_cancelled_pager_lets_its_pages_go(dialect: str) -> None:
    async with book(dialect) as (served, pair):
        pages = pb.streams.get_pages(pair.root, "many", 10_000)
        await anext(pages)
        await turns(100)
        assert pages._call is not None
        pages._call.cancel()  # on pb7 the method is cancelled with it
        got: list[Any] = []
        with pytest.raises(pb.ConnectionLost, match="given-up"):
            await read(pages, got)
        assert got
        await until(lambda: served.closed == 1)


# -- errors


async def test_an_error_of_the_pager_arrives_behind_its_pages(dialect: str) -> None:
    async with book(dialect) as (served, pair):
        got: list[Any] = []
        with pytest.raises(pb.RemoteError, match="torn out"):
            await read(pb.streams.get_pages(pair.root, "failing"), got)
        assert got == [1, 2]
        assert served.closed == 1


async def test_a_method_that_raises_or_is_missing(dialect: str) -> None:
    async with book(dialect) as (_, pair):
        with pytest.raises(pb.RemoteError, match="no such book"):
            await read(pb.streams.get_pages(pair.root, "give_up_with_an_error"))
        with pytest.raises(pb.NoSuchMethod):
            await read(pb.streams.get_pages(pair.root, "missing"))


async def test_a_pager_that_goes_away_is_an_error_behind_its_pages(dialect: str) -> None:
    async with book(dialect) as (_, pair):
        got: list[Any] = []
        with pytest.raises(pb.ConnectionLost, match="dropped the collector"):
            await read(pb.streams.get_pages(pair.root, "give_up"), got)
        assert got == [1]


class Refusing(pb.Referenceable):
    """A collector that takes two pages."""

    def __init__(self) -> None:
        self.pages: list[Any] = []

    def remote_gotPage(self, page: Any) -> None:
        if len(self.pages) == 2:
            raise pb.Error("enough")
        self.pages.append(page)


async def test_a_collector_that_raises_ends_the_pager(dialect: str) -> None:
    async with book(dialect) as (served, pair):
        refusing = Refusing()
        with pytest.raises(pb.RemoteError, match=r"takes no more pages: .*enough"):
            await pair.root.call("many", refusing, 10_000)
        assert len(refusing.pages) == 2
        assert served.closed == 1
        assert served.made <= UNANSWERED_PAGES


async def test_the_end_of_the_connection_ends_the_pages(dialect: str) -> None:
    for method in ("many", "flood"):
        served = Book()
        async with memory_pair(served, dialects=[dialect]) as pair:
            pages = pb.streams.get_pages(pair.root, method, 10_000)
            await anext(pages)
            await turns(100)
            pair.accepted._driver._transport.abort()  # type: ignore[union-attr] # it is connected
            await pair.accepted.wait_closed()
            got: list[Any] = []
            with pytest.raises(pb.ConnectionLost):
                await read(pages, got)
            assert 0 < len(got) < served.made
            assert served.closed == (method == "many")
            if method == "flood":
                with pytest.raises(pb.DeadReferenceError):
                    await served.flooding
            with pytest.raises(pb.DeadReferenceError):
                await read(pb.streams.get_pages(pair.root, method, 1))


async def test_draining_lets_pages_end(dialect: str) -> None:
    async with memory_pair(Book(), dialects=[dialect]) as pair:
        mine = Book()
        copying = pair.root.call("copy", mine, 1000)
        await until(lambda: mine.made > 0)
        closing = asyncio.ensure_future(pair.server.close(drain=30))
        assert await copying == 1000
        del copying
        await closing


def test_the_cost_of_a_page() -> None:
    assert item_cost(PAGE) > len(PAGE)
