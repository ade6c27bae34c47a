"""Portals: avatars of a realm, as today's Twisted has them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import perspective_broker as pb
from tests.cred.logins import Mind, authorizer, scram, serving


class Board(pb.Viewable):
    def view_reader(self, perspective: Any) -> str:
        return type(perspective).__name__


class Plain:
    """An avatar of no flavor at all."""

    def perspective_name(self) -> str:
        return "plain"

    def perspective_board(self) -> Board:
        return Board()


class User(pb.Perspective):
    def perspective_name(self) -> str:
        return self.name


class Realm:
    """Makes avatars in every way there is, by the user's name."""

    def __init__(self) -> None:
        self.log: list[Any] = []

    def request_avatar(self, avatar_id: Any, mind: Any) -> Any:
        self.log.append(avatar_id)
        if avatar_id is pb.ANONYMOUS:
            return User("nobody")
        if avatar_id == "bob":
            return self.later(avatar_id)
        return Plain(), lambda: self.log.append(f"{avatar_id} left")

    async def later(self, name: str) -> Any:
        await asyncio.sleep(0)

        async def leave() -> None:
            await asyncio.sleep(0)
            self.log.append(f"{name} left")

        return User(name), leave


def test_what_it_is_made_of() -> None:
    known = pb.MemoryAuthorizer(iterations=4096)
    assert pb.Portal(Realm(), known).authorizer is known
    with pytest.raises(TypeError, match="request_avatar"):
        pb.Portal(object(), known)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="an Authorizer"):
        pb.Portal(Realm(), None)  # type: ignore[arg-type]


async def test_avatars() -> None:
    realm = Realm()
    async with serving(pb.Portal(realm, await authorizer())) as (_, connect):
        async with connect("alice") as me:
            assert await me.call("name") == "plain"
            assert await me.call("board").call("reader") == "Plain"
        async with connect("bob", client=Mind()) as me:
            assert await me.call("name") == "bob"
    assert realm.log == ["alice", "alice left", "bob", "bob left"]


async def test_an_avatar_that_is_three_things_is_none(caplog: pytest.LogCaptureFixture) -> None:
    class Twisted(Realm):
        def request_avatar(self, avatar_id: Any, mind: Any) -> Any:
            return object, Plain(), lambda: None

    async with serving(pb.Portal(Twisted(), await authorizer())) as (_, connect):
        with pytest.raises(pb.RemoteError, match="returns an avatar, or a pair"):
            await connect("alice")


async def test_anonymous_where_it_is_allowed() -> None:
    realm = Realm()
    async with (
        serving(pb.Portal(realm, await authorizer(), anonymous=True)) as (server, connect),
        connect(pb.ANONYMOUS, None) as me,
    ):
        assert await me.call("name") == "nobody"
        (accepted,) = server.connections
        assert accepted._driver.broker.limits == accepted.limits
    async with serving(pb.Portal(realm, await authorizer())) as (_, connect):
        with pytest.raises(pb.LoginFailed):
            await connect(pb.ANONYMOUS, None)
        async with connect() as root:
            for _ in range(5):
                with pytest.raises(pb.RemoteError):
                    await root.call("loginAnonymous", None)
            await root.connection.wait_closed()
    assert realm.log == [pb.ANONYMOUS]


async def test_a_connection_is_logged_in_so_many_times_at_once() -> None:
    """Each login has to be ended with the connection, and many of them held everybody up."""
    portal = pb.Portal(Realm(), await authorizer(), anonymous=True)
    async with serving(portal) as (_, connect), connect() as root:
        wrapper = await scram(root, "alice", "secret")
        for _ in range(256):
            await wrapper.call("request_avatar", None)
        for call in (wrapper.call("request_avatar", None), root.call("loginAnonymous", None)):
            with pytest.raises(pb.RemoteError, match="at most 256 at a time"):
                await call
        await wrapper.call("logout")
        avatar = await wrapper.call("request_avatar", None)
        assert await avatar.call("name") == "plain"


async def test_logging_out() -> None:
    realm = Realm()
    async with serving(pb.Portal(realm, await authorizer())) as (_, connect), connect() as root:
        wrapper = await scram(root, "alice", "secret")
        await wrapper.call("request_avatar", None)
        await wrapper.call("logout")
        assert realm.log == ["alice", "alice left"]
    assert realm.log == ["alice", "alice left"]


async def test_it_has_no_services() -> None:
    async with serving(pb.Portal(Realm(), await authorizer())) as (_, connect):
        with pytest.raises(pb.LoginFailed):
            await connect("alice", service="chat")


async def test_a_realm_may_refuse() -> None:
    class Closed:
        def request_avatar(self, avatar_id: Any, mind: Any) -> Any:
            raise pb.LoginFailed("closed today")

    async with serving(pb.Portal(Closed(), await authorizer())) as (_, connect):
        with pytest.raises(pb.LoginFailed, match=r"^the login was refused$"):
            await connect("alice")
