"""Applications: their services, and the hooks of these when they are served."""

from __future__ import annotations

from typing import Any

import pytest

import perspective_broker as pb
from tests.cred.logins import USERS, Chat, application, authorizer, scram, serving, skip, skipping


def test_what_it_is_made_of() -> None:
    app = pb.Application("shop")
    assert app.name == "shop"
    assert isinstance(app.authorizer, pb.MemoryAuthorizer)
    chat = app.add_service(Chat())
    assert chat.application is app
    assert app.get_service("chat") is chat
    assert app.services == (chat,)
    assert repr(app) == "<Application 'shop', 1 services>"
    with pytest.raises(KeyError):
        app.get_service("other")
    with pytest.raises(ValueError, match="already"):
        app.add_service(Chat())
    with pytest.raises(RuntimeError, match="belongs to an application already"):
        pb.Application("other").add_service(chat)
    with pytest.raises(TypeError, match="must be a Service"):
        app.add_service("chat")  # type: ignore[type-var]
    with pytest.raises(TypeError, match="application name: must be a str"):
        pb.Application(7)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="an Authorizer"):
        pb.Application("shop", {"alice": "secret"})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="name"):
        pb.Application("shop", anonymous="")


class Watched(Chat):
    """Notes when it is started and stopped, plainly or asynchronously."""

    def __init__(self, name: str, log: list[str], later: bool = False) -> None:
        super().__init__(name)
        self.log, self.later = log, later

    def note(self, what: str) -> Any:
        async def note() -> None:
            self.log.append(f"{what} {self.name}")

        return note() if self.later else self.log.append(f"{what} {self.name}")

    def start_service(self) -> Any:
        return self.note("start")

    def stop_service(self) -> Any:
        return self.note("stop")


async def test_services_are_started_and_stopped() -> None:
    log: list[str] = []
    app = pb.Application("test", await authorizer())
    app.add_service(Watched("chat", log)).diary = log  # for the order of it all
    app.add_service(Watched("news", log, later=True))
    for _ in range(2):
        async with pb.serve(app, "memory:one") as server:
            assert log == ["start chat", "start news"]
            with pytest.raises(RuntimeError, match="before"):
                app.add_service(Chat("late"))
            async with pb.serve(app, "memory:two"):
                pass
            assert log == ["start chat", "start news"]
            me = await pb.connect(server.urls[0], username="alice", password=USERS["alice"], service="chat")
        assert log[2:] == ["attached alice as alice", "detached alice as alice", "stop news", "stop chat"]
        await me.connection.wait_closed()
        log.clear()


async def test_a_service_that_does_not_start(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Chat):
        def start_service(self) -> None:
            raise OSError("no disk")

    class Failing(Watched):
        def stop_service(self) -> None:
            super().stop_service()
            raise ValueError("no way")

    log: list[str] = []
    app = pb.Application("test")
    app.add_service(Watched("first", log))
    app.add_service(Failing("second", log))
    app.add_service(Broken("third"))
    with pytest.raises(OSError, match="no disk"):
        await pb.serve(app, "memory:broken")
    assert log == ["start first", "start second", "stop second", "stop first"]
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["no way"]
    with pytest.raises(ConnectionRefusedError):
        await pb.connect("memory:broken")


async def test_a_url_that_cannot_be_bound_stops_the_services() -> None:
    log: list[str] = []
    app = pb.Application("test")
    app.add_service(Watched("chat", log))
    async with pb.serve(pb.Root(), "memory:taken"):
        with pytest.raises(OSError, match="already"):
            await pb.serve(app, "memory:taken")
    assert log == ["start chat", "stop chat"]


async def test_the_default_service() -> None:
    for default, served in ((None, False), ("news", True), ("nothing", False)):
        app = pb.Application("test", await authorizer(), default_service=default)
        app.add_service(Chat("chat"))
        app.add_service(Chat("news"))
        await app.authorizer.grant("alice", "news")
        async with serving(app) as (_, connect):
            if served:
                async with connect("alice") as me:
                    assert await me.call("name") == "alice"
                with pytest.raises(pb.LoginFailed):
                    await connect("bob")  # a user without a key to it
            else:
                with pytest.raises(pb.LoginFailed):
                    await connect("alice")


@skipping
async def test_keys_are_looked_up_again_after_a_while() -> None:
    app = await application()
    async with serving(app) as (_, connect), connect() as root:
        wrapper = await scram(root, "alice", "secret")
        await wrapper.call("attach", "chat")
        await app.authorizer.revoke("alice", "chat")
        await wrapper.call("attach", "chat")  # as a moment ago
        await skip(31)
        with pytest.raises(pb.RemoteError) as caught:
            await wrapper.call("attach", "chat")
        assert caught.value.check(pb.LoginFailed)
        await app.authorizer.grant("alice", "chat")
        await skip(31)
        await wrapper.call("attach", "chat")
        await app.authorizer.disable("alice")
        await skip(31)
        with pytest.raises(pb.RemoteError) as caught:
            await wrapper.call("request_avatar")
        assert caught.value.check(pb.LoginFailed)


async def test_a_sqlite_store(sqlite_url: str) -> None:
    async with pb.SQLAuthorizer(sqlite_url, iterations=4096) as store:
        await store.create("alice", "secret")
        await store.grant("alice", "chat")
        service = Chat()
        app = pb.Application("test", store)
        app.add_service(service)
        async with serving(app, "tcp://127.0.0.1:0") as (_, connect):
            async with connect("alice", service="chat") as me:
                assert await me.call("name") == "alice"
            with pytest.raises(pb.LoginFailed):
                await connect("alice", "wrong", service="chat")
            with pytest.raises(pb.LoginFailed):
                await connect("mallory", "secret", service="chat")
    assert service.diary == ["attached alice as alice", "detached alice as alice"]
