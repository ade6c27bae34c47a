"""Promises, and how a call may end: a value, a remote error, a local error, cancellation, the end."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.testing import ScriptedPeer, assert_no_leaks, memory_pair
from tests.aio.desk import Desk, turns, until
from tests.loops import both_loops

# -- values


@both_loops
@pytest.mark.parametrize("method", ["echo", "wait", "awaitable"])
async def test_methods_of_every_kind_answer(method: str, dialect: str) -> None:
    desk = Desk()
    desk.gate.set()
    async with memory_pair(desk, dialects=[dialect]) as pair:
        assert await pair.root.call(method, "value") == "value"


async def test_keywords_arrive(dialect: str) -> None:
    async with memory_pair(Desk(), dialects=[dialect]) as pair:
        assert await pair.root.call("keywords", name="n", kwargs="k") == {"name": "n", "kwargs": "k"}
        with pytest.raises(pb.BadArguments):
            await pair.root.call("keywords", self="not a keyword that crosses")


async def test_a_call_is_sent_when_called_not_when_awaited(dialect: str) -> None:
    desk = Desk()
    async with memory_pair(desk, dialects=[dialect]) as pair:
        promise = pair.root.call("plain", "sent")
        await until(lambda: desk.log == ["sent"])
        await promise


async def test_a_call_means_what_it_said_when_it_was_made(dialect: str) -> None:
    async with memory_pair(Desk(), dialects=[dialect]) as pair:
        value = [1]
        promise = pair.root.call("echo", value)
        value.append(2)
        assert await promise == [1]


async def test_a_promise_may_be_awaited_any_number_of_times(dialect: str) -> None:
    async with memory_pair(Desk(), dialects=[dialect]) as pair:
        promise = pair.root.call("echo", "again")
        one, two = await asyncio.gather(promise, promise)
        assert one == two == "again"
        assert await promise == "again"


# -- errors


@pytest.mark.parametrize("method", ["raise", "raise_async"])
@pytest.mark.parametrize(
    ("error", "kind", "level"),
    [
        ("pb.Error", pb.Error, logging.DEBUG),
        ("builtins.ValueError", ValueError, logging.ERROR),
        ("builtins.SystemExit", SystemExit, logging.ERROR),
        ("CancelledError", asyncio.CancelledError, logging.ERROR),
    ],
)
async def test_whatever_a_method_raises_ends_the_call_and_nothing_else(
    caplog: pytest.LogCaptureFixture,
    method: str,
    error: str,
    kind: type[BaseException],
    level: int,
    dialect: str,
) -> None:
    caplog.set_level(logging.DEBUG, "perspective_broker")
    async with memory_pair(Desk(), dialects=[dialect]) as pair:
        with pytest.raises(pb.RemoteError) as raised:
            await pair.root.call(method, error)
        assert raised.value.check(kind) is kind
        assert "Traceback" not in raised.value.traceback or "unavailable" in raised.value.traceback
        (record,) = [record for record in caplog.records if "method" in record.getMessage()]
        assert record.levelno == level
        assert bool(record.exc_info) == (level == logging.ERROR)
        assert await pair.root.call("echo", "still here") == "still here"


async def test_tracebacks_cross_where_they_were_asked_for(dialect: str) -> None:
    async with memory_pair(Desk(), unsafe_tracebacks=True, dialects=[dialect]) as pair:
        with pytest.raises(pb.RemoteError) as raised:
            await pair.root.call("raise")
        assert "remote_raise" in raised.value.traceback


async def test_a_registered_exception_arrives_as_itself(dialect: str) -> None:
    class OutOfCoffee(pb.Error):
        pass

    class Machine(pb.Root):
        def remote_brew(self) -> None:
            raise OutOfCoffee("since noon")

    registry = pb.registry.Registry()
    registry.set_error_class(OutOfCoffee)
    async with memory_pair(Machine(), registry=registry, dialects=[dialect]) as pair:
        with pytest.raises(OutOfCoffee, match="since noon") as raised:
            await pair.root.call("brew")
        assert isinstance(raised.value.__cause__, pb.RemoteError)


async def test_a_missing_method_is_its_own_error_and_not_logged_as_a_defect(
    caplog: pytest.LogCaptureFixture, dialect: str
) -> None:
    async with memory_pair(Desk(), dialects=[dialect]) as pair:
        for name in ("nothing", "__class__", "", "log", "remote_echo"):
            with pytest.raises(pb.NoSuchMethod):
                await pair.root.call(name)
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


async def test_arguments_that_cannot_cross_fail_the_call_and_nothing_is_sent(dialect: str) -> None:
    desk = Desk()
    async with memory_pair(desk, dialects=[dialect]) as pair:
        sent = pair.client.statistics().bytes_sent
        with pytest.raises(pb.SerializationError, match=r"args\[1\]"):
            await pair.root.call("keep", pb.Referenceable(), object())
        assert pair.client.statistics().bytes_sent == sent
        await assert_no_leaks(pair.client, pair.accepted)
        with pytest.raises(pb.SerializationError):
            pair.root.tell("keep", object())


class Relay(pb.Root):
    """Calls others for its callers, and catches nothing."""

    def __init__(self) -> None:
        self.ran = 0

    async def remote_pass_on(self, other: pb.RemoteReference, name: str) -> Any:
        self.ran += 1
        return await other.call(name)

    async def remote_call_with_junk(self, other: pb.RemoteReference) -> Any:
        self.ran += 1
        return await other.call("echo", object())

    async def remote_tell_junk(self, other: pb.RemoteReference) -> Any:
        self.ran += 1
        return other.tell("echo", object())

    def remote_refuse(self) -> None:
        self.ran += 1
        raise pb.BadArguments("a name is a short text")


@pytest.mark.parametrize(
    ("method", "args", "kind"),
    [
        ("pass_on", ("nothing",), pb.NoSuchMethod),
        ("pass_on", ("keep_one",), pb.BadArguments),
        ("pass_on", ("unknown_class",), pb.BadAnswer),
        ("call_with_junk", (), pb.SerializationError),
        ("tell_junk", (), pb.SerializationError),
    ],
)
async def test_what_a_method_meets_when_it_calls_others_is_no_refusal_of_its_own_call(
    method: str, args: tuple[str, ...], kind: type[Exception], dialect: str
) -> None:
    """A CallError or a SerializationError means that the method has not run; here it has."""

    class Unknown(pb.Copyable): ...

    class Other(pb.Referenceable):
        def remote_keep_one(self, one: int) -> None: ...

        def remote_unknown_class(self) -> Unknown:
            return Unknown()

    relay = Relay()
    async with memory_pair(relay, dialects=[dialect]) as pair:
        with pytest.raises(pb.RemoteError, match=kind.__name__) as raised:
            await pair.root.call(method, Other(), *args)
        assert raised.value.type == f"perspective_broker.errors.{kind.__name__}"
        assert raised.value.check(kind) is kind
        assert relay.ran == 1


async def test_a_method_may_refuse_its_arguments_itself(dialect: str) -> None:
    async with memory_pair(Relay(), dialects=[dialect]) as pair:
        with pytest.raises(pb.BadArguments, match="a name is a short text"):
            await pair.root.call("refuse")


async def test_arguments_that_do_not_fit_are_told_to_both_sides(
    caplog: pytest.LogCaptureFixture, dialect: str
) -> None:
    caplog.set_level(logging.INFO, "perspective_broker")
    async with memory_pair(Relay(), dialects=[dialect]) as pair:
        with pytest.raises(pb.BadArguments, match=r"^pass_on takes \(other, name\)$"):
            await pair.root.call("pass_on", 1)
    assert "refused a call: pass_on takes (other, name)" in caplog.text


async def test_an_answer_that_cannot_cross_fails_that_call(dialect: str) -> None:
    class Odd(pb.Root):
        def remote_odd(self) -> object:
            return [pb.Referenceable(), object()]

        def remote_even(self) -> int:
            return 2

    async with memory_pair(Odd(), dialects=[dialect]) as pair:
        with pytest.raises(pb.RemoteError, match=r"SerializationError: answer\[1\]"):
            await pair.root.call("odd")
        assert await pair.root.call("even") == 2
        await assert_no_leaks(pair.client, pair.accepted)


async def test_an_answer_that_cannot_be_decoded_fails_that_call_and_no_other() -> None:
    async with ScriptedPeer.listen("memory:odd") as listener:
        connecting = asyncio.ensure_future(pb.connect("memory:odd"))
        peer = await listener.accept()
        await peer.greet_as_server()
        root = await connecting
        one, two = root.call("one"), root.call("two")
        await peer.read()
        await peer.read()
        peer.send(["answer", 1, ["no.such.Class", 1]], ["answer", 2, 2])
        with pytest.raises(pb.BadAnswer):
            await one
        assert await two == 2
        await root.connection.close()


async def test_a_call_without_an_answer_that_raises_is_logged_here_only(
    caplog: pytest.LogCaptureFixture, dialect: str
) -> None:
    async with memory_pair(Desk(), dialects=[dialect]) as pair:
        pair.root.tell("raise")
        pair.root.tell("no_such_method")
        assert await pair.root.call("echo", 1) == 1
        assert pair.accepted.statistics().calls_in == 0
    assert [record.levelname for record in caplog.records] == ["ERROR"]


# -- cancellation


async def test_a_cancelled_promise_ignores_its_answer(dialect: str) -> None:
    desk = Desk()
    async with memory_pair(desk, dialects=[dialect]) as pair:
        promise = pair.root.call("wait", pb.Referenceable())
        await until(lambda: desk.waiting == 1)
        promise.cancel()
        with pytest.raises(asyncio.CancelledError):
            await promise
        desk.gate.set()
        assert await pair.root.call("echo", "next") == "next"
        await assert_no_leaks(pair.client, pair.accepted)


async def test_an_await_that_times_out_leaves_the_connection_alone(dialect: str) -> None:
    desk = Desk()
    async with memory_pair(desk, dialects=[dialect]) as pair:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await pair.root.call("wait")
        desk.gate.set()
        assert await pair.root.call("echo", "next") == "next"


async def test_a_reference_in_a_late_answer_is_given_back(dialect: str) -> None:
    desk = Desk()
    async with memory_pair(desk, dialects=[dialect]) as pair:
        promise = pair.root.call("new")
        promise.cancel()
        await pair.root.call("echo")
        await assert_no_leaks(pair.client, pair.accepted)


# -- calls on promises


async def test_a_promise_can_be_called_before_it_is_kept(dialect: str) -> None:
    desk = Desk()
    async with memory_pair(desk, dialects=[dialect]) as pair:
        new = pair.root.call("new")
        new.tell("plain", "told")
        assert await new.call("me").call("echo", "chained") == "chained"
        new.tell("plain", "told later")
        await (await new).call("echo")
        assert desk.log == ["told", "told later"]


async def test_a_promise_of_our_own_object_calls_it_here(dialect: str) -> None:
    desk, own = Desk(), Desk()
    own.gate.set()
    async with memory_pair(desk, dialects=[dialect]) as pair:
        home = pair.root.call("echo", own)
        home.tell("plain", "told")
        assert await home.call("echo", "plain") == "plain"
        assert await home.call("wait", "asynchronous") == "asynchronous"
        with pytest.raises(pb.NoSuchMethod):
            await home.call("nothing")
        assert own.log == ["told"]


async def test_a_promise_of_what_has_no_methods_fails_the_call(dialect: str) -> None:
    async with memory_pair(Desk(), dialects=[dialect]) as pair:
        with pytest.raises(TypeError, match="int"):
            await pair.root.call("echo", 1).call("anything")


async def test_a_broken_promise_breaks_what_hangs_on_it(dialect: str) -> None:
    async with memory_pair(Desk(), dialects=[dialect]) as pair:
        broken = pair.root.call("raise", "pb.Error")
        chained = broken.call("one").call("two")
        broken.tell("three")
        with pytest.raises(pb.RemoteError, match="expected"):
            await chained
        with pytest.raises(pb.RemoteError, match="expected"):
            await broken


async def test_cancelling_a_promise_cancels_what_hangs_on_it_and_classic_sends_nothing() -> None:
    desk = Desk()
    async with memory_pair(desk, dialects=["pb"]) as pair:
        new = pair.root.call("new")
        chained, given_up = new.call("plain", "never"), new.call("plain", "nor this")
        given_up.cancel()
        new.cancel()
        with pytest.raises(asyncio.CancelledError):
            await chained
        await pair.root.call("echo")
        assert desk.log == []


async def test_cancelling_a_chained_call_cancels_the_call_behind_it(dialect: str) -> None:
    desk = Desk()
    async with memory_pair(desk, dialects=[dialect]) as pair:
        chained = pair.root.call("me").call("wait")
        await until(lambda: desk.waiting == 1)
        chained.cancel()
        await turns()
        assert chained.cancelled()
        desk.gate.set()
        await pair.root.call("echo")


# -- the end


async def test_the_end_of_the_connection_ends_every_call_once(dialect: str) -> None:
    desk = Desk()
    async with memory_pair(desk, dialects=[dialect]) as pair:
        promises = [pair.root.call("wait") for _ in range(5)]
        chained = promises[0].call("anything")
        await until(lambda: desk.waiting == 5)
        await pair.client.close()
        for promise in (*promises, chained):
            with pytest.raises(pb.ConnectionLost) as raised:
                await promise
            assert raised.value.code == "closed"
        await until(lambda: desk.cancelled == 5)


async def test_nobody_need_look_at_calls_that_the_end_took(dialect: str) -> None:
    """No "exception was never retrieved": an error at the end of a connection is not a defect."""
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    async with memory_pair(Desk(), dialects=[dialect]) as pair:
        pair.root.call("wait").call("chained").call("again")
    await assert_no_leaks()
    assert complaints == []


async def test_a_promise_that_is_not_awaited_says_so() -> None:
    async with memory_pair(Desk()) as pair:
        promise = pair.root.call("echo", 1, 2)
        with pytest.raises(TypeError, match="await it for its value, or read a stream with async for"):
            list(promise)
        assert await promise == (1, 2)


# -- names


@pytest.mark.parametrize("name", [b"slow", None, 5, ["plain"]])
async def test_a_name_that_is_not_text_is_refused_where_it_is_given(name: Any, dialect: str) -> None:
    desk = Desk()
    async with memory_pair(desk, dialects=[dialect]) as pair:
        other = pair.root.call("wait", "another call")
        promise = pair.root.call("me")
        for refused in (
            lambda: pair.root.call(name),
            lambda: pair.root.tell(name),
            lambda: pair.root.method(name)(),
        ):
            with pytest.raises(TypeError):
                refused()
        with pytest.raises(TypeError):
            await promise.call(name)
        desk.gate.set()
        assert await other == "another call"
