"""The caller: where the outcome of a call goes, and what references may ask of their connection."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.aio.caller import Answer
from perspective_broker.aio.held import caller_of, usable
from perspective_broker.testing import memory_pair
from tests.aio.desk import Desk


def answer() -> tuple[Answer, asyncio.Future[Any]]:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    return Answer(future, None), future


async def test_an_answer_resolves_its_future() -> None:
    one, future = answer()
    one.succeed(3)
    assert await future == 3


async def test_an_answer_rejects_its_future() -> None:
    one, future = answer()
    one.fail(pb.RemoteError("builtins.ValueError", "a defect"))
    with pytest.raises(pb.RemoteError, match="a defect"):
        await future


async def test_an_error_that_no_future_can_hold_is_another_one() -> None:
    one, future = answer()
    one.fail(StopIteration("over"))
    with pytest.raises(RuntimeError, match="StopIteration"):
        await future


@pytest.mark.parametrize("outcome", [("succeed", 5), ("fail", ValueError())])
async def test_an_answer_that_was_given_up_is_ignored(outcome: tuple[str, Any]) -> None:
    one, future = answer()
    one.abandon()
    method, value = outcome
    {"succeed": one.succeed, "fail": one.fail}[method](value)
    assert future.cancelled()


async def test_the_end_of_the_connection_needs_no_one_to_look_at_it(caplog: pytest.LogCaptureFixture) -> None:
    one, future = answer()
    one.fail(pb.ConnectionLost("lost", "gone"))
    del one, future
    gc.collect()
    assert not caplog.records


async def test_references_of_a_connection_ask_the_same_caller() -> None:
    async with memory_pair(Desk()) as pair:
        other = await pair.root.call("new")
        caller = usable(pair.root)
        assert caller_of(other) is caller
        assert caller.connection is pair.client
        assert caller.close_cause is None
        other.release()
        assert caller_of(other) is None
        with pytest.raises(pb.DeadReferenceError, match="was released"):
            usable(other)
        promise = pair.root.call("echo", 1)
        assert caller.unanswered == 1
        await promise
    assert caller.close_cause is not None
