"""An exception in application code outside of a method ends its own call or callback, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Callable
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.hooks import contained, finish, is_ours
from perspective_broker.testing import memory_pair
from tests.aio.desk import until

KINDS = [ValueError, asyncio.CancelledError, SystemExit, GeneratorExit]

#: Exceptions that end a connection, or are ignored, if the library itself raises them.
OF_OTHER_CONNECTIONS = [
    pb.ProtocolError("bad-token", "of another connection"),
    pb.ConnectionLost("lost", "another connection"),
    pb.DeadReferenceError("of another connection"),
]

ERRORS = [*(kind("a flaw") for kind in KINDS), *OF_OTHER_CONNECTIONS]
each_error = pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
each_dialect = pytest.mark.parametrize("dialect", ["pb7", "pb"])

registry = pb.registry.Registry()


class Flawed:
    """Raises the error of the test at any use."""

    error: BaseException = ValueError()

    @classmethod
    def fail(cls, *_: Any) -> Any:
        raise cls.error


class Report(pb.Copyable, Flawed):
    def get_state_to_copy(self) -> Any:
        self.fail()


class Untagged(pb.Copyable, Flawed):
    def get_type_to_copy(self) -> Any:
        self.fail()


class Watched(pb.Cacheable, Flawed):
    def get_state_to_cache_and_observe_for(self, perspective: Any, observer: Any) -> Any:
        self.fail()


class Homeless(pb.Referenceable, Flawed):
    def _pb_export_target(self, perspective: Any) -> Any:
        self.fail()


class Mute(Exception):
    def __str__(self) -> str:
        Flawed.fail()
        return ""


class Told(pb.DecodeError):
    __str__ = Mute.__str__


class Sent(pb.Copyable):
    """Arrives as a class whose code raises."""

    def __init__(self, tag: str) -> None:
        self.tag = tag

    def get_type_to_copy(self) -> str:
        return self.tag


@pb.copier_for("unset", registry=registry)
class Unset(pb.RemoteCopy):
    def set_copyable_state(self, state: Any) -> None:
        Flawed.fail()


@pb.copier_for("unmade", registry=registry)
class Unmade(pb.RemoteCopy):
    def __new__(cls) -> Any:
        Flawed.fail()


@pb.copier_for("untold", registry=registry)
class Untold(pb.RemoteCopy):
    def set_copyable_state(self, state: Any) -> None:
        raise Told


@pb.copier_for("unhashed", registry=registry)
class Unhashed(pb.RemoteCopy):
    def __hash__(self) -> int:
        Flawed.fail()
        return 0


registry.set_unjellyable_factory_for_class("unproduced", Flawed.fail)


class Unsigned:
    """A method without a signature."""

    @property
    def __signature__(self) -> Any:
        return Flawed.fail()

    def __call__(self) -> None: ...


class Desk(pb.Root):
    remote_unsigned = Unsigned()

    def __init__(self) -> None:
        self.forgotten_ones = 0

    @property
    def remote_property(self) -> Any:
        return Flawed.fail()

    def remote_text(self) -> None:
        raise Mute

    def remote_take(self, value: Any) -> None: ...

    def remote_hello(self) -> str:
        return "hello"

    def remote_get(self, what: str) -> Any:
        return {"report": Report, "untagged": Untagged, "watched": Watched, "homeless": Homeless}[what]()

    def remote_held(self) -> Any:
        return Held(self)


class Held(pb.Referenceable):
    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def forgotten(self) -> None:
        self.desk.forgotten_ones += 1
        Flawed.fail()


@each_error
@each_dialect
@pytest.mark.parametrize(
    "call",
    [
        ("property",),
        ("text",),
        ("unsigned", lambda: 1),
        ("get", "report"),
        ("get", "untagged"),
        ("get", "watched"),
        ("get", "homeless"),
        ("take", lambda: Report()),
        ("take", lambda: Untagged()),
        ("take", lambda: [Watched()]),
        ("take", lambda: (Homeless(),)),
        ("take", lambda: Sent("unset")),
        ("take", lambda: Sent("unmade")),
        ("take", lambda: Sent("untold")),
        ("take", lambda: {Sent("unhashed"): 1}),
        ("take", lambda: Sent("unproduced")),
    ],
    ids=lambda call: call[0] if len(call) == 1 or callable(call[1]) else call[1],
)
async def test_a_hook_costs_its_own_call(call: Any, dialect: str, error: BaseException) -> None:
    Flawed.error = error
    async with memory_pair(Desk(), dialects=[dialect], registry=registry) as pair:
        name, *args = call
        with pytest.raises(Exception):  # noqa: B017, PT011 # another test is about the report
            await pair.root.call(name, *(arg() if callable(arg) else arg for arg in args))
        assert await pair.root.call("hello") == "hello"
        with contextlib.suppress(Exception):
            pair.root.tell(name, *(arg() if callable(arg) else arg for arg in args))
        assert await pair.root.call("hello") == "hello"


async def test_how_it_is_told(caplog: pytest.LogCaptureFixture) -> None:
    Flawed.error = asyncio.CancelledError()
    async with memory_pair(Desk()) as pair:
        for name, args in (("property", ()), ("get", ("report",))):
            with pytest.raises(
                pb.RemoteError, match=r"code of the program raised asyncio.*CancelledError"
            ) as caught:
                await pair.root.call(name, *args)
            assert caught.value.check(RuntimeError)
        with pytest.raises(RuntimeError, match="CancelledError") as own:
            await pair.root.call("take", Report())
        assert isinstance(own.value.__cause__, asyncio.CancelledError)
        with pytest.raises(pb.RemoteError, match=r"\(its text could not be made\)"):
            await pair.root.call("text")
    assert "CancelledError" in caplog.text


@each_error
async def test_forgotten_and_the_callbacks_for_the_end_run_all(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    Flawed.error = error
    desk = Desk()
    told: list[Any] = []
    async with memory_pair(desk) as pair:
        held = await pair.root.call("held")
        del held
        await until(lambda: desk.forgotten_ones == 1)
        assert await pair.root.call("hello") == "hello"
        kept = [await pair.root.call("held") for _ in range(2)]

        async def later(connection: pb.Connection) -> None:
            await asyncio.sleep(0)
            told.append("began")
            Flawed.fail()

        callbacks: list[Callable[[Any], object]] = [Flawed.fail, later, told.append]
        for callback in callbacks:
            pair.accepted.on_disconnect(callback)
        await pair.client.close()
        await pair.accepted.wait_closed()
    assert told == [pair.accepted, "began"]
    assert desk.forgotten_ones == 1 + len(kept)
    assert caplog.text.count("forgotten of a Held raised") == 3
    assert caplog.text.count("a callback for the end of a connection raised") == 2


@each_error
async def test_a_root_that_cannot_be_made_ends_its_connection(error: BaseException) -> None:
    class Door(pb.Root):
        def root_object(self, connection: pb.Connection) -> Any:
            if first:
                first.clear()
                Flawed.fail()
            return self

        def remote_hello(self) -> str:
            return "hello"

    Flawed.error, first = error, [True]
    async with pb.serve(Door(), "memory:door") as server:
        with pytest.raises(pb.BrokerError):
            await pb.connect(server.urls[0])
        async with pb.connect(server.urls[0]) as root:
            assert await root.call("hello") == "hello"


@each_error
async def test_an_own_object_that_comes_home_as_a_promise(error: BaseException) -> None:
    """The caller itself runs calls on it, and they fail as any other call."""
    Flawed.error = error

    class Mine(pb.Referenceable):
        def remote_fail(self) -> None:
            Flawed.fail()

    class Echo(pb.Root):
        def remote_echo(self, value: Any) -> Any:
            return value

    async with memory_pair(Echo(), dialects=["pb"]) as pair:
        with pytest.raises(Exception):  # noqa: B017, PT011
            await pair.root.call("echo", Mine()).call("fail")


@each_error
@pytest.mark.parametrize("made", ["plain", "async"])
async def test_every_service_is_stopped(error: BaseException, made: str) -> None:
    Flawed.error, stopped = error, []

    class Flawless(pb.Service):
        def stop_service(self) -> None:
            stopped.append(self.name)

    class Bad(pb.Service):
        def stop_service(self) -> Any:
            return self.later() if made == "async" else Flawed.fail()

        async def later(self) -> None:
            Flawed.fail()

    app = pb.Application("demo")
    for service in (Flawless("first"), Bad("second"), Flawless("third")):
        app.add_service(service)
    async with pb.serve(app, "memory:services") as server:
        forever = asyncio.ensure_future(server.serve_forever())
    await forever
    assert stopped == ["third", "first"]


class Leaking(pb.Root):
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")

    def remote_set(self, value: str) -> None:
        self.variable.set(value)

    async def remote_set_later(self, value: str) -> str:
        self.variable.set(value)
        await asyncio.sleep(0)
        return self.variable.get()

    def remote_decorated(self, value: str) -> Any:
        """As a decorator may: a value that is set before the coroutine is made is visible in it."""
        self.variable.set(value)
        return self._later()

    async def _later(self) -> str:
        return self.variable.get()

    def remote_get(self) -> str:
        return self.variable.get()

    async def remote_get_later(self) -> str:
        return self.variable.get()


async def test_what_a_method_sets_in_its_context_stays_in_its_call() -> None:
    async with memory_pair(Leaking()) as pair:
        await pair.root.call("set", "one")
        assert await pair.root.call("set_later", "two") == "two"
        assert await pair.root.call("decorated", "three") == "three"
        assert await pair.root.call("get") == "unset"
        assert await pair.root.call("get_later") == "unset"


# -- the guard of asynchronous code


async def _raise(error: BaseException) -> None:
    raise error


@each_error
async def test_what_an_async_callback_raises_is_logged(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    assert not await finish(_raise(error), "a callback raised")
    assert "a callback raised" in caplog.text
    with pytest.raises(Exception):  # noqa: B017, PT011
        await contained(_raise(error))
    assert await finish(asyncio.sleep(0), "raised")


@pytest.mark.parametrize(
    "wait", [lambda: finish(asyncio.sleep(9), "raised"), lambda: contained(asyncio.sleep(9))]
)
async def test_who_waits_may_be_cancelled(wait: Callable[[], Any]) -> None:
    task = asyncio.ensure_future(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not is_ours(asyncio.CancelledError(), asyncio.current_task())
    task = asyncio.ensure_future(wait())
    await asyncio.sleep(0)
    task.get_coro().close()  # which raises GeneratorExit in it, from outside of its task
    task.cancel()
    with pytest.raises((asyncio.CancelledError, RuntimeError)):
        await task
    with pytest.raises(KeyboardInterrupt):
        await finish(_raise(KeyboardInterrupt()), "raised")
