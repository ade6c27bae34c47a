"""Shared by the tests of logins: an application that records events, and a clock that tests can advance."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import perspective_broker as pb
from perspective_broker.cred.scram import UNBOUND, ClientExchange
from perspective_broker.testing import assert_all_closed, assert_no_leaks

#: The fewest that SCRAM allows.
ITERATIONS = 4096

USERS = {"alice": "secret", "bob": "sesame"}


class Chatter(pb.Perspective):
    """Records attached and detached users in its service's diary."""

    def tell(self, what: str, identity: pb.Identity) -> None:
        service = self.service
        assert isinstance(service, Chat)
        service.diary.append(f"{what} {identity.name} as {self.name}")

    def attached(self, client: Any, identity: pb.Identity) -> Any:
        self.tell("attached", identity)

    def detached(self, client: Any, identity: pb.Identity) -> Any:
        self.tell("detached", identity)

    def perspective_name(self) -> str:
        return self.name

    async def perspective_ask_client(self) -> Any:
        return [await client.call("name") for client in self.clients if client is not None]


class Chat(pb.Service):
    """A service with a diary."""

    def __init__(
        self, name: str = "chat", perspective_class: type[pb.Perspective] = Chatter, **options: Any
    ) -> None:
        super().__init__(name, perspective_class, **options)
        self.diary: list[str] = []


class Mind(pb.Referenceable):
    """An object that a client passes."""

    def __init__(self, name: str = "mind") -> None:
        self._name = name

    def remote_name(self) -> str:
        return self._name


async def authorizer(**options: Any) -> pb.MemoryAuthorizer:
    """Return one that knows the users, each with a key to the service ``chat``, legacy logins included."""
    known = pb.MemoryAuthorizer(iterations=ITERATIONS, **options)
    for name, password in USERS.items():
        await known.create(name, password, legacy=True)
        await known.grant(name, "chat")
    return known


async def application(service: pb.Service | None = None, **options: Any) -> pb.Application:
    """Return an application with these users, and one service."""
    app = pb.Application("test", await authorizer(), **options)
    app.add_service(Chat() if service is None else service)
    return app


@contextlib.asynccontextmanager
async def serving(
    root: Any, url: str = "memory:logins", **options: Any
) -> AsyncIterator[tuple[pb.Server, Callable[..., Any]]]:
    """Serve; yield the server, and a function that logs in there. Nothing may be left at the end."""
    async with pb.serve(root, url, **options) as server:

        def connect(username: Any = None, password: str | None = None, **more: Any) -> Any:
            if isinstance(username, str) and password is None:
                password = USERS[username]
            return pb.connect(server.urls[0], username=username, password=password, **more)

        yield server, connect
        left = server.connections
        del connect
    await assert_no_leaks(*left)


async def scram(root: pb.RemoteReference, username: str, password: str) -> Any:
    """Log in step by step, in this thread; return the wrapper."""
    exchange = ClientExchange(username, password, None)
    server_first, challenger = await root.call("authenticate", UNBOUND, exchange.first)
    server_final, wrapper = await challenger.call("respond", exchange.final(server_first))
    exchange.verify(server_final)
    return wrapper


class SkippingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock stands still until a test puts it forward, however busy the machine is."""

    skipped = 0.0

    def __init__(self) -> None:
        self._began = time.monotonic()
        super().__init__()

    def time(self) -> float:
        return self._began + self.skipped


async def skip(seconds: float) -> None:
    """Let time pass, on a :class:`SkippingLoop`, and due timers run."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SkippingLoop)
    loop.skipped += seconds
    await turns()


async def turns(count: int = 20) -> None:
    """Let the event loop turn: enough for a message over memory and its answer."""
    for _ in range(count):
        await asyncio.sleep(0)


def skipping(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an asynchronous test on a :class:`SkippingLoop`."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def whole() -> None:
            await test(*args, **kwargs)
            await assert_all_closed()

        with asyncio.Runner(loop_factory=SkippingLoop) as runner:
            runner.run(whole())

    return run
