"""A promise in the hands of asyncio: each of its functions that takes an awaitable, a coroutine or a future.

The tables name every way to wait for one; tests run each of them on every event loop.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, assert_type

import pytest

import perspective_broker as pb
from perspective_broker.testing import assert_no_leaks, memory_pair
from tests.loops import every_loop

from .desk import Desk, turns, until

pytestmark = every_loop

Promise = pb.Promise[Any]


async def _awaited(promise: Promise) -> Any:
    return await promise


async def _task(promise: Promise) -> Any:
    return await asyncio.create_task(promise)


async def _named_task(promise: Promise) -> Any:
    return await asyncio.get_running_loop().create_task(promise, name="asking")


async def _group(promise: Promise) -> Any:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(promise)
    return task.result()


async def _two_tasks(promise: Promise) -> Any:
    one, two = asyncio.create_task(promise), asyncio.create_task(promise)
    (same,) = {repr(outcome) for outcome in await asyncio.gather(one, two, promise, return_exceptions=True)}
    assert same == repr(one.exception() or one.result())
    return await two


async def _threadsafe(promise: Promise) -> Any:
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(promise, asyncio.get_running_loop()))


async def _ensured(promise: Promise) -> Any:
    assert asyncio.ensure_future(promise) is promise
    return await asyncio.ensure_future(promise)


async def _gathered(promise: Promise) -> Any:
    (value,) = await asyncio.gather(promise)
    return value


async def _shielded(promise: Promise) -> Any:
    return await asyncio.shield(promise)


async def _within(promise: Promise) -> Any:
    return await asyncio.wait_for(promise, 60)


async def _task_within(promise: Promise) -> Any:
    return await asyncio.wait_for(asyncio.create_task(promise), 60)


async def _timeout(promise: Promise) -> Any:
    async with asyncio.timeout(60):
        return await promise


async def _waited_for(promise: Promise) -> Any:
    done, pending = await asyncio.wait([asyncio.create_task(promise)])
    assert not pending
    return done.pop().result()


async def _as_completed(promise: Promise) -> Any:
    (first,) = asyncio.as_completed([promise])
    return await first


async def _called_back(promise: Promise) -> Any:
    called = asyncio.Event()
    promise.add_done_callback(lambda same: called.set() if same is promise else None)
    await called.wait()
    return promise.result()


#: Ways to wait for a promise.
WAYS: list[Callable[[Promise], Awaitable[Any]]] = [
    _awaited,
    _task,
    _named_task,
    _group,
    _two_tasks,
    _threadsafe,
    _ensured,
    _gathered,
    _shielded,
    _within,
    _task_within,
    _timeout,
    _waited_for,
    _as_completed,
    _called_back,
]

every_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


@every_way
async def test_every_way_gets_the_answer(way: Callable[[Promise], Awaitable[Any]]) -> None:
    async with memory_pair(Desk()) as pair:
        for value in (1, None, "text", (1, 2), [StopIteration.__name__]):
            assert await way(pair.root.call("echo", value)) == value
        kept = pair.root.call("echo", "kept")
        await kept
        assert await way(kept) == "kept"
        assert await way(kept) == "kept"
        await assert_no_leaks(pair.client, pair.accepted)


@every_way
async def test_every_way_meets_the_error(way: Callable[[Promise], Awaitable[Any]]) -> None:
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    async with memory_pair(Desk()) as pair:
        failing = pair.root.call("raise", "pb.Error")
        for _ in range(2):  # while it is under way, and when it has failed
            with pytest.raises((pb.RemoteError, ExceptionGroup)) as raised:
                await way(failing)
            error = raised.value
            if isinstance(error, ExceptionGroup):
                (error,) = error.exceptions
            assert isinstance(error, pb.RemoteError)
    assert complaints == []


@every_way
async def test_every_way_ends_when_the_promise_is_cancelled(way: Callable[[Promise], Awaitable[Any]]) -> None:
    if way is _group:  # a group takes a cancelled task for one that has nothing to say
        return
    desk = Desk()
    async with memory_pair(desk) as pair:
        promise = pair.root.call("wait")
        waiting = asyncio.ensure_future(way(promise))
        await until(lambda: desk.waiting == 1)
        promise.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await until(lambda: desk.cancelled == 1)
        with pytest.raises(asyncio.CancelledError):
            await way(promise)


#: Ways that do not give the call up when the task that waits is cancelled.
SPARING = {_shielded, _as_completed, _called_back, _waited_for}


@every_way
async def test_a_cancelled_task_gives_the_call_up(way: Callable[[Promise], Awaitable[Any]]) -> None:
    desk = Desk()
    async with memory_pair(desk) as pair:
        promise = pair.root.call("wait")
        waiting = asyncio.ensure_future(way(promise))
        await until(lambda: desk.waiting == 1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        if way in SPARING:
            await turns()
            assert not promise.done()
            promise.cancel()
        await until(lambda: desk.cancelled == 1)
        assert promise.cancelled()


async def _too_late(promise: Promise) -> Any:
    return await asyncio.wait_for(promise, 0.01)


async def _task_too_late(promise: Promise) -> Any:
    return await asyncio.wait_for(asyncio.create_task(promise), 0.01)


async def _timed_out(promise: Promise) -> Any:
    async with asyncio.timeout(0.01):
        return await promise


@pytest.mark.parametrize("way", [_too_late, _task_too_late, _timed_out], ids=lambda way: way.__name__)
async def test_what_runs_out_of_time_is_given_up(way: Callable[[Promise], Awaitable[Any]]) -> None:
    desk = Desk()
    async with memory_pair(desk) as pair:
        promise = pair.root.call("wait")
        with pytest.raises(TimeoutError):
            await way(promise)
        assert promise.cancelled()
        await until(lambda: desk.waiting == 0)
        assert await pair.root.call("echo", "next") == "next"


# -- who else wants the answer


@pytest.mark.parametrize("begun", [False, True])
async def test_a_task_ends_its_own_wait(begun: bool) -> None:
    desk = Desk()
    async with memory_pair(desk) as pair:
        promise = pair.root.call("wait", "kept")
        tasks = [asyncio.create_task(promise) for _ in range(3)]
        if begun:
            await until(lambda: desk.waiting == 1)
            await turns()
        for task in tasks[:2]:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert not promise.done()
        desk.gate.set()
        assert await tasks[2] == await promise == "kept"
        assert desk.cancelled == 0


async def test_the_last_of_the_tasks_gives_the_call_up() -> None:
    desk = Desk()
    async with memory_pair(desk) as pair:
        promise = pair.root.call("wait")
        tasks = [asyncio.create_task(promise) for _ in range(3)]
        await until(lambda: desk.waiting == 1)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert promise.cancelled()
        await until(lambda: desk.cancelled == 1)


async def test_a_task_that_has_not_begun_gives_the_call_up() -> None:
    desk = Desk()
    async with memory_pair(desk) as pair:
        promise = pair.root.call("wait")
        asyncio.create_task(promise).cancel()
        await until(promise.cancelled)
        assert await pair.root.call("echo", 1) == 1
        await until(lambda: desk.waiting == 0)


@pytest.mark.parametrize("wanted_by", ["await", "callback", "call", "tell", "argument"])
async def test_a_call_that_is_wanted_elsewhere_goes_on(wanted_by: str, dialect: str) -> None:
    desk = Desk()
    async with memory_pair(desk, dialects=[dialect]) as pair:
        promise = pair.root.call("wait", Desk())
        task = asyncio.create_task(promise)
        other: Any = None
        match wanted_by:
            case "await":
                other = asyncio.create_task(_awaited(promise))
            case "callback":
                promise.add_done_callback(desk.kept.append)
            case "call":
                other = promise.call("echo", 1)
            case "tell":
                promise.tell("plain", 1)
            case "argument":
                other = pair.root.call("echo", promise)
        await until(lambda: desk.waiting == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not promise.done()
        desk.gate.set()
        await promise
        if other is not None:
            await other


async def test_a_group_that_fails_gives_the_other_calls_up() -> None:
    desk = Desk()

    async def all_of(*promises: Promise) -> None:
        async with asyncio.TaskGroup() as group:
            for promise in promises:
                group.create_task(promise)

    async with memory_pair(desk) as pair:
        waits = pair.root.call("wait")
        with pytest.raises(ExceptionGroup) as raised:
            await all_of(waits, pair.root.call("raise", "pb.Error"))
        assert isinstance(raised.value.exceptions[0], pb.RemoteError)
        assert waits.cancelled()
        await until(lambda: desk.waiting == 0)


async def test_closing_gives_up_what_no_task_wants() -> None:
    desk = Desk()
    async with memory_pair(desk) as pair:
        promise, kept, wanted = (pair.root.call(name) for name in ("wait", "echo", "wait"))
        await kept
        task = asyncio.create_task(wanted)
        await until(lambda: desk.waiting == 2)
        for each in (promise, kept, wanted):
            each.close()
        await until(promise.done)
        assert promise.cancelled()
        assert not kept.cancelled()
        assert not wanted.done()
        desk.gate.set()
        await task


async def test_the_loop_need_not_be_idle_for_a_task_to_send() -> None:
    # Not over TCP, because with eager tasks asyncio of 3.13.0 cannot race addresses (asyncio.staggered).
    async with memory_pair(Desk()) as pair:
        for number in range(20):
            assert await asyncio.create_task(pair.root.call("echo", number)) == number


# -- what it is


async def test_it_is_a_future_and_a_coroutine() -> None:
    async with memory_pair(Desk()) as pair:
        promise = pair.root.call("echo")
        assert asyncio.isfuture(promise)
        assert asyncio.iscoroutine(promise)
        assert inspect.isawaitable(promise)
        with pytest.raises(TypeError, match="use tasks explicitly"):  # which asyncio says to all coroutines
            await asyncio.wait([promise])
        task = asyncio.create_task(promise)
        assert "echo()" in repr(task)
        await task


@pytest.mark.parametrize("error", [ValueError("mine"), ValueError, KeyError])
async def test_what_is_thrown_into_it_comes_out(error: Any) -> None:
    async with memory_pair(Desk()) as pair:
        promise = pair.root.call("echo")
        with pytest.raises(LookupError if error is KeyError else ValueError) as raised:
            promise.throw(error)
        assert raised.value is error or type(raised.value) is error
        await until(promise.cancelled)


async def test_another_loop_does_not_drive_it() -> None:
    async with memory_pair(Desk()) as pair:
        promise = pair.root.call("wait")

        def elsewhere() -> None:
            with pytest.raises(pb.UsageError):
                asyncio.run(_task(promise))

        await asyncio.to_thread(elsewhere)
        assert not promise.done()
        promise.cancel()


async def test_it_says_which_call_and_how_old() -> None:
    desk = Desk()
    async with memory_pair(desk) as pair:
        failed, kept, pending = (pair.root.call(name) for name in ("nothing", "echo", "wait"))
        odd = pair.root.call("two\nlines")
        await kept
        await asyncio.wait([asyncio.create_task(each) for each in (failed, odd)])
        assert repr(kept) == "<Promise of echo, kept>"
        assert repr(failed) == "<Promise of nothing, failed with NoSuchMethod>"
        assert repr(odd).startswith("<Promise of 'two\\nlines', ")
        assert repr(pending).startswith("<Promise of wait, pending for 0.")
        chained = pending.call("further")
        assert repr(chained).startswith("<Promise of further, pending for 0.")
        pending.cancel()
        assert repr(pending) == "<Promise of wait, cancelled>"


async def test_looking_at_its_repr_is_not_looking_at_its_error() -> None:
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["message"]))
    async with memory_pair(Desk()) as pair:
        promise = pair.root.call("nothing")
        await until(promise.done)
        repr(promise)
        del promise
    assert complaints == ["Promise exception was never retrieved"]


async def test_type_checkers_know_the_answer() -> None:
    """They judge this where the types are checked; here it only has to run."""
    async with memory_pair(Desk()) as pair:
        promise: pb.Promise[str] = pair.root.call("echo", "text")
        assert_type(pair.root.call("echo"), pb.Promise[Any])
        assert_type(await promise, str)
        assert_type(promise.result(), str)
        assert_type(asyncio.create_task(promise), asyncio.Task[str])
        assert_type(await asyncio.gather(promise, promise), tuple[str, str])
        assert_type(await asyncio.wait_for(promise, 60), str)
        assert_type(await asyncio.shield(promise), str)
        async with asyncio.TaskGroup() as group:
            assert_type(group.create_task(promise), asyncio.Task[str])
        assert_type(promise.call("further"), pb.Promise[Any]).cancel()
