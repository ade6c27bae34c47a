"""Our client asks a Twisted server, a process of its own that keeps the contract of `peers/contract.py`.

Not here until the library has them: logins, and with them viewables.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import signal
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.testing import assert_no_leaks
from tests.interop.ours import (
    REGISTRY,
    CarriedError,
    ContractError,
    Note,
    Score,
    ScoreReplica,
    Stranger,
    send_all_pages,
)
from tests.interop.peers.contract import (
    ECHO_DATES,
    ECHO_VALUES,
    EMPTY_TABLES,
    PAGED,
    hash_of,
    page_data,
    show,
)
from tests.interop.rig import ServerProcess, twisted_server
from tests.interop.twisted_env import TwistedEnv


@pytest.fixture(params=["tcp", "unix"])
def url(request: pytest.FixtureRequest, server: ServerProcess) -> str:
    """Where the server listens."""
    return server.tcp if request.param == "tcp" else server.unix


@contextlib.asynccontextmanager
async def connected(
    url: str, registry: pb.registry.Registry = REGISTRY, dialects: Sequence[str] | None = None
) -> AsyncIterator[pb.RemoteReference]:
    """The root at a url."""
    async with pb.connect(url, registry=registry, dialects=dialects) as root:
        yield root


def leaving_nothing(
    test: Callable[[pb.RemoteReference], Awaitable[None]],
) -> Callable[[str], Awaitable[None]]:
    """Give a test the root of a connection of its own; when it has ended, the tables of both sides must be empty."""

    @functools.wraps(test)
    async def wrapped(url: str) -> None:
        async with connected(url) as root:
            await test(root)
            await _nothing_is_left(root)

    del wrapped.__wrapped__  # or pytest would ask for a fixture named root
    return wrapped


async def _nothing_is_left(root: pb.RemoteReference) -> None:
    """Releases have their own time: ask until both tables are empty, each question being a round trip."""
    for _ in range(200):
        theirs = await root.call("tables")
        if theirs == EMPTY_TABLES:
            break
        gc.collect()
    assert theirs == EMPTY_TABLES
    await assert_no_leaks(root.connection)


class Callback(pb.Referenceable):
    """The object that we hand over."""

    def __init__(self, root: pb.RemoteReference | None = None, error: Exception | None = None) -> None:
        self.root = root
        self.error = error

    def remote_call(self, value: Any) -> Any:
        return ("called", value)


class NestedCallback(Callback):
    """Calls the server while the server waits for it."""

    async def remote_call(self, value: Any) -> Any:
        assert self.root is not None
        return ("nested", await self.root.call("add", value, b=1))


class LaterCallback(Callback):
    """Answers in another turn of the event loop."""

    async def remote_call(self, value: Any) -> Any:
        await asyncio.sleep(0)
        return ("later", value)


class FailingCallback(Callback):
    """Raises the error it was made with."""

    def remote_call(self, value: Any) -> Any:
        assert self.error is not None
        raise self.error


class Mute(pb.Referenceable):
    """Has no `call` at all."""


async def test_dialects(url: str) -> None:
    async with connected(url) as root:
        assert root.connection.dialect == "pb"
    async with connected(url, dialects=["none"]) as root:
        assert root.connection.dialect == "none"
        everything = [value for _, value in ECHO_VALUES]
        assert show(await root.call("echo", everything)) == show(everything)
        with pytest.raises(pb.NoSuchMethod):
            await root.call("missing")


# -- values


@leaving_nothing
async def test_values_arrive_and_come_back(root: pb.RemoteReference) -> None:
    seen = [(name, await root.call("text", value)) for name, value in ECHO_VALUES]
    assert seen == [(name, show(value)) for name, value in ECHO_VALUES]
    came_back = [(name, show(await root.call("echo", value))) for name, value in ECHO_VALUES]
    assert came_back == seen
    assert await root.call("blob", 600_000) == b"x" * 600_000


@leaving_nothing
async def test_identity_within_a_message(root: pb.RemoteReference) -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    echoed = await root.call("echo", cycle)
    assert echoed[0] is echoed
    first, second = await root.call("echo", [cycle, cycle])
    assert first is second
    shared = {"shared": 1}
    assert await root.call("same", shared, shared) is True
    assert await root.call("same", shared, {"shared": 1}) is False


async def test_dates(server: ServerProcess, server_env: TwistedEnv, url: str) -> None:
    async with connected(url) as root:
        for _, value in ECHO_DATES:
            assert await root.call("text", value) == show(value)
        if server_env.sends_dates:
            dates = [value for _, value in ECHO_DATES]
            assert show(await root.call("dates")) == show(dates)
            assert show(await root.call("echo", dates)) == show(dates)
        else:  # it cannot, and drops the connection
            with pytest.raises(pb.ConnectionLost):
                await root.call("dates")


@leaving_nothing
async def test_keyword_arguments(root: pb.RemoteReference) -> None:
    assert await root.call("add", 1, 2) == 3
    assert await root.call("add", a=3, b=4) == 7
    assert await root.call("add", 5) == 5
    assert await root.call("add", "a", b="b") == "ab"
    assert await root.call("arguments", 1, "two", a=1, b=[2], name="x") == [
        [1, "two"],
        {"a": 1, "b": [2], "name": "x"},
    ]
    assert await root.call("arguments") == [[], {}]


@leaving_nothing
async def test_copyables(root: pb.RemoteReference) -> None:
    note = await root.call("note", "hello \N{SNOWMAN}")
    assert type(note) is Note
    assert note.text == "hello \N{SNOWMAN}"
    assert await root.call("take_note", Note("carried")) == "carried"
    outer = await root.call("echo", Note(Note(["inner"])))
    assert type(outer) is type(outer.text) is Note
    assert outer.text.text == ["inner"]
    assert await root.call("same", note, note) is True
    assert await root.call("same", note, Note(note.text)) is False
    first, second = await root.call("echo", [note, note])
    assert first is second
    assert first is not note


@leaving_nothing
async def test_copyables_that_nobody_registered(root: pb.RemoteReference) -> None:
    with pytest.raises(pb.BadAnswer, match=r"interop\.Stranger"):
        await root.call("stranger")
    with pytest.raises(pb.InsecureJelly, match=r"interop\.Stranger"):
        await root.call("echo", Stranger())
    assert await root.call("echo", "still here") == "still here"


# -- order


@leaving_nothing
async def test_one_way_calls(root: pb.RemoteReference) -> None:
    for n in range(5):
        root.tell("record", n)
    await root.call("record", "waited")
    assert await root.call("recordings") == [0, 1, 2, 3, 4, "waited"]
    root.tell("value_error", "unheard")
    root.tell("missing")
    assert await root.call("echo", "still here") == "still here"


@leaving_nothing
async def test_order_over_several_objects(root: pb.RemoteReference) -> None:
    things = [await root.call("new_thing", name) for name in "abc"]
    promises = []
    for n in range(20):  # one-way and answered calls mixed, nothing awaited
        for index, thing in enumerate(things):
            if (n + index) % 2:
                thing.tell("touch", n)
            else:
                promises.append(thing.call("touch", n))
    assert await root.call("recordings") == [[name, n] for n in range(20) for name in "abc"]
    assert await asyncio.gather(*promises) == [None] * 30


@leaving_nothing
async def test_a_thousand_calls_in_flight(root: pb.RemoteReference) -> None:
    echoes = [root.call("echo", n) for n in range(1000)]
    assert await asyncio.gather(*echoes) == list(range(1000))
    waiting = [root.call("wait") for _ in range(1000)]
    await root.call("echo", None)
    assert not any(promise.done() for promise in waiting)
    assert root.connection.statistics().calls_out == 1000
    assert await root.call("fire", "fired") == 1000
    assert await asyncio.gather(*waiting) == ["fired"] * 1000


@leaving_nothing
async def test_an_answer_that_nobody_waits_for_any_more(root: pb.RemoteReference) -> None:
    given_up = root.call("wait")
    given_up.cancel()
    # It comes nevertheless, and the reference in it is counted and released.
    assert await root.call("fire", await root.call("own")) == 1
    with pytest.raises(asyncio.CancelledError):
        await given_up


@leaving_nothing
async def test_promises_are_called_before_they_are_kept(root: pb.RemoteReference) -> None:
    own = root.call("own")
    assert await own.call("itself").call("name") == "own"
    assert await own is await own.call("itself")


# -- references and callbacks


@leaving_nothing
async def test_callbacks(root: pb.RemoteReference) -> None:
    assert await root.call("callback", Callback(), "hello") == ("called", "hello")
    assert await root.call("callback", NestedCallback(root), 41) == ("nested", 42)
    assert await root.call("callback", LaterCallback(), None) == ("later", None)


@leaving_nothing
async def test_errors_of_callbacks_come_back(root: pb.RemoteReference) -> None:
    with pytest.raises(pb.RemoteError) as expected:
        await root.call("callback", FailingCallback(error=ContractError("from here")), 0)
    assert (expected.value.type, expected.value.value) == ("interop.ContractError", "from here")
    with pytest.raises(pb.RemoteError) as unexpected:
        await root.call("callback", FailingCallback(error=ValueError("from here")), 0)
    assert (unexpected.value.type, unexpected.value.value) == ("builtins.ValueError", "from here")
    assert unexpected.value.check(ValueError)
    with pytest.raises(pb.NoSuchMethod):
        await root.call("callback", Mute(), 0)


@leaving_nothing
async def test_their_objects_passed_back_home(root: pb.RemoteReference) -> None:
    own, other = await root.call("own"), await root.call("new_thing", "other")
    assert await own.call("name") == "own"
    assert await root.call("own") is own
    assert await own.call("itself") is own
    assert await root.call("is_own", own) is True
    assert await root.call("is_own", other) is False
    assert await root.call("same", own, own) is True
    assert await root.call("echo", [own, other, own]) == [own, other, own]
    # The root as well, which has a name instead of a number.
    assert await root.call("same", root, root) is True


@leaving_nothing
async def test_our_objects_come_home(root: pb.RemoteReference) -> None:
    # Twisted releases each of them just before the answer in which it sends it home.
    mine, yours = Callback(), Callback()
    assert await root.call("echo", mine) is mine
    first, second, third = await root.call("echo", [mine, yours, mine])
    assert (first, second, third) == (mine, yours, mine)
    assert await root.call("give_back", mine) is mine
    called, met = await root.call("callback", mine, mine)
    assert (called, met) == ("called", mine)
    several = [root.call("echo", mine) for _ in range(50)]
    assert all(came is mine for came in await asyncio.gather(*several))
    (kw,) = (await root.call("arguments", ref=mine))[1].values()
    assert kw is mine


@leaving_nothing
async def test_our_objects_come_home_from_an_earlier_call(root: pb.RemoteReference) -> None:
    mine = Callback()
    await root.call("hold", mine)
    assert await root.call("call_held", 1) == ("called", 1)
    assert await root.call("hand_back") is mine
    root.tell("hold", mine)
    assert await root.call("hand_back") is mine
    root.tell("record", [mine, mine])
    assert await root.call("recordings") == [[mine, mine]]


@leaving_nothing
async def test_references_are_released(root: pb.RemoteReference) -> None:
    mine = Callback()
    await root.call("hold", mine)
    assert root.connection.statistics().exported == 1
    await root.call("release_held")
    await root.call("echo", None)
    assert root.connection.statistics().exported == 0
    things = [await root.call("new_thing", str(n)) for n in range(50)]
    again = await asyncio.gather(*(thing.call("itself") for thing in things))
    assert root.connection.statistics().imported == 50
    assert (await root.call("tables"))["local_objects"] == 50
    things[0].release()
    with pytest.raises(pb.DeadReferenceError):
        again[0].call("name")
    assert await again[1].call("name") == "1"
    assert (await root.call("tables"))["local_objects"] == 49


@leaving_nothing
async def test_a_reference_may_be_dropped_while_its_calls_wait(root: pb.RemoteReference) -> None:
    thing = await root.call("new_thing", "dropped")
    # More than may be on their way at once: the rest waits in our memory, and must not be overtaken by the release.
    promises = [thing.call("name") for _ in range(1500)]
    assert root.connection.statistics().calls_held > 0
    del thing
    assert await asyncio.gather(*promises) == ["dropped"] * 1500


@leaving_nothing
async def test_what_was_released_is_not_kept_for_its_return(root: pb.RemoteReference) -> None:
    waiting = root.call("wait")
    mine = Callback()
    alive = weakref.ref(mine)
    await root.call("hold", mine)
    del mine
    assert alive() is not None
    await root.call("release_held")
    gc.collect()
    assert alive() is None
    await root.call("fire", None)
    await waiting


# -- cacheables


@leaving_nothing
async def test_our_cacheable_comes_home(root: pb.RemoteReference) -> None:
    # Here as well Twisted drops its replica just before the answer in which it sends it home.
    score = Score()
    assert await root.call("echo", score) is score
    assert await root.call("echo", [score, score]) == [score, score]
    assert score.observers == []


@leaving_nothing
async def test_replicas_follow(root: pb.RemoteReference) -> None:
    score = await root.call("score")
    assert type(score) is ScoreReplica
    assert score.points == 0
    assert await root.call("win", 3) == 3
    assert await root.call("win", 2) == 5
    assert (score.points, score.changes) == (5, [3, 5])
    assert await root.call("score") is score
    assert await root.call("observers") == 1
    del score
    gc.collect()
    await root.call("echo", None)  # in whose answer's turn at the latest the replica is given up
    assert await root.call("observers") == 0


# -- pages


class Pages(pb.Referenceable):
    """Sends pages, as a Twisted collector expects them."""

    async def remote_pages(self, collector: pb.RemoteReference, kind: str, size: int) -> None:
        await send_all_pages(collector, kind, size)


@leaving_nothing
async def test_pages(root: pb.RemoteReference) -> None:
    for kind, size in PAGED:
        pages = pb.streams.get_pages(root, "pages", kind, size)
        assert await pb.streams.collect_stream(pages, limit_bytes=size) == page_data(size)
        del pages
        assert await root.call("collect", Pages(), kind, size) == hash_of(page_data(size))


@leaving_nothing
@pytest.mark.seconds(600)
async def test_a_twisted_pager_that_is_read_slowly_is_held_up(root: pb.RemoteReference) -> None:
    """And one that is left sends on into nothing, without harm for others."""
    size = 20_000_000
    pages = pb.streams.get_pages(root, "pages", "file", size)
    first = await anext(pages)
    driver = root.connection._driver
    while not driver.broker.is_paused:
        await asyncio.sleep(0)
    received = root.connection.statistics().bytes_received
    assert received < size // 2
    assert await root.call("echo", "beside") == "beside"  # for whose answer the connection goes on
    rest = await pb.streams.collect_stream(pages, limit_bytes=size)
    assert first + rest == page_data(size)
    left = pb.streams.get_pages(root, "pages", "file", size)
    await anext(left)
    await left.aclose()
    assert await root.call("echo", "behind") == "behind"
    del pages, left, driver
    while root.connection.statistics().exported:  # until the pager has come to its end
        await root.call("echo", None)


# -- errors


@leaving_nothing
async def test_errors(root: pb.RemoteReference) -> None:
    for method in ("pb_error", "pb_error_later"):
        with pytest.raises(pb.RemoteError) as expected:
            await root.call(method, "boom")
        error = expected.value
        assert (error.type, error.value, error.traceback) == ("interop.ContractError", "boom", "")
        assert error.check("twisted.spread.pb.Error")
        assert error.check(pb.Error)
        assert error.check(ValueError, ContractError) is ContractError
    for method in ("value_error", "value_error_later"):
        with pytest.raises(pb.RemoteError) as unexpected:
            await root.call(method, "\N{SNOWMAN}")
        error = unexpected.value
        assert (error.type, error.value, error.traceback) == ("builtins.ValueError", "\N{SNOWMAN}", "")
        assert error.check("ValueError")
        assert not error.check(KeyError, pb.Error)
    with pytest.raises(pb.NoSuchMethod):
        await root.call("missing")
    with pytest.raises(pb.RemoteError) as wrong:
        await root.call("add")
    assert wrong.value.check(TypeError)


@leaving_nothing
async def test_an_error_that_is_a_copyable_arrives_as_itself(root: pb.RemoteReference) -> None:
    with pytest.raises(CarriedError) as carried:
        await root.call("carried_error", "cargo")
    assert carried.value.text == "cargo"


async def test_a_registered_error_arrives_as_itself(url: str) -> None:
    registry = pb.registry.Registry(REGISTRY)
    registry.set_error_class(ContractError)
    async with connected(url, registry) as root:
        with pytest.raises(ContractError, match=r"^boom$"):
            await root.call("pb_error", "boom")


async def test_tracebacks_cross_where_allowed(server_env: TwistedEnv) -> None:
    with twisted_server(server_env, unsafe_tracebacks=True) as running:
        async with connected(running.tcp) as root:
            for method in ("pb_error_later", "value_error", "value_error_later"):
                with pytest.raises(pb.RemoteError) as raised:
                    await root.call(method, "boom")
                assert raised.value.traceback.startswith("Traceback")
                assert 'File "' in raised.value.traceback
                assert "boom" in raised.value.traceback


# -- the end


async def _lose(root: pb.RemoteReference, last_call: str) -> None:
    """Calls that are open when the connection goes, and what is left afterwards."""
    told: list[object] = []
    root.on_disconnect(told.append)
    mine = Callback()
    await root.call("hold", mine)
    thing = await root.call("new_thing", "lost")
    hanging, last = root.call("hang"), root.call(last_call)
    for promise in (hanging, last):
        with pytest.raises(pb.ConnectionLost):
            await promise
    await root.connection.wait_closed()
    assert told == [root]
    statistics = root.connection.statistics()
    assert (statistics.phase, statistics.calls_out, statistics.exported) == ("closed", 0, 0)
    for reference in (root, thing):
        with pytest.raises(pb.DeadReferenceError):
            reference.call("echo", None)


async def test_we_hang_up_in_mid_call(url: str) -> None:
    async with connected(url) as root:
        hanging = root.call("hang")
        await root.call("hold", Callback())
        await root.connection.close()
        with pytest.raises(pb.ConnectionLost):
            await hanging
        assert root.connection.statistics().exported == 0


async def test_a_server_that_hangs_up_in_mid_call(url: str) -> None:
    async with connected(url) as root:
        await _lose(root, "hang_up")


@pytest.mark.parametrize("transport", ["tcp", "unix"])
async def test_a_server_killed_in_mid_call(server_env: TwistedEnv, transport: str) -> None:
    with twisted_server(server_env, tcp=transport == "tcp", unix=transport == "unix") as running:
        async with connected(running.urls[0]) as root:
            await _lose(root, "die")
        assert running.wait() == -signal.SIGKILL
