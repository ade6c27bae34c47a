"""Services: the sources and the lifetimes of perspectives, and second logins."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

import perspective_broker as pb
from tests.cred.logins import Chat, Chatter, Mind, application, scram, serving, turns


def test_what_it_is_made_of() -> None:
    service = pb.Service("chat")
    assert service.name == "chat"
    assert type(service.create_perspective("alice")) is pb.Perspective
    assert repr(service) == "<Service 'chat', 0 attached>"
    with pytest.raises(RuntimeError, match="belongs to no application"):
        service.application  # noqa: B018
    with pytest.raises(TypeError, match="service name: must be a str"):
        pb.Service(7)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="subclass"):
        pb.Service("chat", dict)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="second_login"):
        pb.Service("chat", second_login="perhaps")  # type: ignore[arg-type]


# -- perspectives


async def test_a_perspective_is_kept_while_somebody_is_attached() -> None:
    service = Chat()
    async with serving(await application(service)) as (_, connect):
        async with connect("alice", service="chat"):
            gc.collect()
            first = id(await service.request_perspective("alice"))
            async with connect("alice", service="chat"):
                assert id(await service.request_perspective("alice")) == first
        await turns()
    gc.collect()
    assert len(service._perspectives) == 0


async def test_one_that_the_program_keeps_is_found() -> None:
    service = Chat()
    async with serving(await application(service)) as (_, connect):
        kept = service.create_perspective("alice")
        async with connect("alice", service="chat"):
            assert kept.attached_count == 1


class Loading(Chat):
    """Loads perspectives from elsewhere, on the test's command."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.loads: dict[str, asyncio.Future[Any]] = {}

    async def get_perspective(self, name: str) -> Any:
        self.asked.append(name)
        self.loads[name] = asyncio.get_running_loop().create_future()
        return await self.loads[name]


async def test_loading_is_done_once_for_all_who_wait() -> None:
    service = Loading()
    requests = [asyncio.ensure_future(service.request_perspective("alice")) for _ in range(3)]
    await turns()
    assert service.asked == ["alice"]
    requests[0].cancel()  # the first caller gives up, the others do not
    await turns()
    service.loads["alice"].set_result(loaded := Chatter("alice"))
    assert [await request for request in requests[1:]] == [loaded, loaded]
    assert loaded.service is service
    assert await service.request_perspective("alice") is loaded
    assert service.asked == ["alice"]


async def test_loading_that_fails_is_tried_again() -> None:
    service = Loading()
    for outcome in (KeyError("alice"), ValueError("broken")):
        request = asyncio.ensure_future(service.request_perspective("alice"))
        await turns()
        service.loads["alice"].set_exception(outcome)
        with pytest.raises(type(outcome)):
            await request
    abandoned = asyncio.ensure_future(service.request_perspective("alice"))
    await turns()
    abandoned.cancel()
    service.loads["alice"].set_exception(ValueError("seen by nobody"))
    await turns()
    request = asyncio.ensure_future(service.request_perspective("alice"))
    await turns()
    service.loads["alice"].set_result(None)
    with pytest.raises(KeyError):
        await request
    request = asyncio.ensure_future(service.request_perspective("alice"))
    await turns()
    service.loads["alice"].set_result("no perspective")
    with pytest.raises(TypeError, match="must return a Perspective"):
        await request
    assert service.asked == ["alice"] * 5


class Members(Chat):
    """Has perspectives for some users, and refuses in either way."""

    def get_perspective(self, name: str) -> Any:
        if name == "alice":
            return None
        if name == "bob":
            raise KeyError(name)
        return super().get_perspective(name)


async def test_no_perspective_is_no_key() -> None:
    service = Members()
    async with serving(await application(service)) as (_, connect):
        for name in ("alice", "bob"):
            with pytest.raises(pb.LoginFailed, match=r"^the login was refused$"):
                await connect(name, service="chat")
    assert service.diary == []


# -- second logins


async def test_two_logins_coexist() -> None:
    service = Chat()
    async with (
        serving(await application(service)) as (_, connect),
        connect("alice", service="chat") as one,
        connect("alice", service="chat") as two,
    ):
        assert await one.call("name") == await two.call("name") == "alice"


@pytest.mark.parametrize(("dialect", "code"), [("pb7", "replaced"), ("pb", "lost")])
async def test_the_second_login_takes_over(dialect: str, code: str) -> None:
    service = Chat(second_login="replace")
    async with serving(await application(service)) as (server, connect):
        one = await connect("alice", service="chat", client=Mind("one"), dialects=[dialect])
        (accepted,) = server.connections
        bob = await connect("bob", service="chat")
        two = await connect("alice", service="chat", client=Mind("two"))
        assert accepted.close_cause is not None
        assert accepted.close_cause.code == "replaced"
        await one.connection.wait_closed()
        cause = one.connection.close_cause
        assert cause is not None
        assert cause.code == code
        assert await two.call("ask_client") == ["two"]
        assert await bob.call("name") == "bob"
        assert service.diary == [
            "attached alice as alice",
            "attached bob as bob",
            "detached alice as alice",
            "attached alice as alice",
        ]
        await two.connection.close()
        await bob.connection.close()


async def test_other_perspectives_and_other_users_are_not_replaced() -> None:
    service = Chat(second_login="replace")
    app = await application(service)
    await app.authorizer.grant("alice", "chat", "shared")
    await app.authorizer.grant("bob", "chat", "shared")
    async with (
        serving(app) as (_, connect),
        connect("alice", service="chat") as one,
        connect("alice", service="chat", perspective="shared") as two,
        connect("bob", service="chat", perspective="shared") as three,
    ):
        assert service.attached_count == 3
        for me in (one, two, three):
            await me.call("name")


async def test_a_second_login_on_the_same_connection_replaces_nothing() -> None:
    service = Chat(second_login="replace")
    async with serving(await application(service)) as (_, connect), connect() as root:
        wrapper = await scram(root, "alice", "secret")
        one, two = [await wrapper.call("attach", "chat") for _ in range(2)]
        assert one == two
        assert service.attached_count == 2


class Slow(Chatter):
    async def attached(self, client: Any, identity: pb.Identity) -> None:
        for _ in range(int(await client.call("name"))):
            await asyncio.sleep(0)


@pytest.mark.parametrize("turns_of", [(1, 30), (30, 1), (5, 5)])
async def test_of_two_that_come_at_once_one_stays(turns_of: tuple[int, int]) -> None:
    service = Chat(perspective_class=Slow, second_login="replace")
    async with serving(await application(service)) as (_, connect):
        roots = [await connect() for _ in turns_of]
        wrappers = [await scram(root, "alice", "secret") for root in roots]
        attached = await asyncio.gather(
            *(
                wrapper.call("attach", "chat", None, Mind(str(count)))
                for wrapper, count in zip(wrappers, turns_of, strict=True)
            ),
            return_exceptions=True,
        )
        assert service.attached_count == 1
        assert sum(isinstance(one, pb.RemoteReference) for one in attached) >= 1
        await turns()
        assert sum(root.connection.close_cause is None for root in roots) == 1
        for root in roots:
            await root.connection.close()
