"""Logins across: a Twisted client at our portal and application, our client at a portal of Twisted."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

import perspective_broker as pb
from tests.interop.expectations import EXPECTED_PORTAL
from tests.interop.ours import REGISTRY, Note
from tests.interop.peers.contract import USERS
from tests.interop.rig import run_client, twisted_server
from tests.interop.twisted_env import TwistedEnv


class Board(pb.Viewable):
    """Shared by all avatars; the view identifies the caller."""

    def __init__(self) -> None:
        self.posted: list[list[Any]] = []

    def view_post(self, perspective: User, text: str) -> int:
        self.posted.append([perspective.name, text])
        return len(self.posted)

    def view_posts(self, perspective: User) -> list[list[Any]]:
        return self.posted

    def view_whoami(self, perspective: User) -> str:
        return perspective.name

    def view_clear(self, perspective: User) -> None:
        self.posted = []


class SecretNote(Note):
    """A note whose text depends on who receives it."""

    def get_state_to_copy_for(self, perspective: Any) -> Any:
        return {"text": f"for {perspective.name}"}

    def get_type_to_copy(self) -> str:
        return "interop.Note"


class User(pb.Perspective):
    """The avatar of the contract, for both faces.

    Attributes:
        board: the one there is.
        users: names of those who are here, shared by all.
        mind: what the last login handed over.
    """

    board: Board
    users: list[str]
    mind: Any = None

    def attached(self, client: Any, identity: pb.Identity) -> None:
        self.mind = client
        self.users.append(self.name)

    def detached(self, client: Any, identity: pb.Identity) -> None:
        self.users.remove(self.name)

    def perspective_whoami(self) -> str:
        return self.name

    async def perspective_call_mind(self, value: Any) -> Any:
        return await self.mind.call("call", value)

    def perspective_board(self) -> Board:
        return self.board

    def perspective_is_board(self, view: Any) -> bool:
        return view is self.board

    def perspective_secret_note(self) -> SecretNote:
        return SecretNote("nobody's")

    def perspective_attached(self) -> list[str]:
        return sorted(self.users)


class Users(pb.Service):
    def __init__(self) -> None:
        super().__init__("users", User)
        self.board = Board()
        self.users: list[str] = []

    def create_perspective(self, name: str) -> User:
        user = super().create_perspective(name)
        assert isinstance(user, User)
        user.board, user.users = self.board, self.users
        return user


class Realm:
    """The same through a realm."""

    def __init__(self) -> None:
        self.board = Board()
        self.users: list[str] = []

    def request_avatar(self, avatar_id: Any, mind: Any) -> Any:
        user = User("anonymous" if avatar_id is pb.ANONYMOUS else avatar_id)
        user.board, user.users, user.mind = self.board, self.users, mind
        self.users.append(user.name)
        return user, lambda: self.users.remove(user.name)


async def portal(face: str) -> tuple[Any, list[str]]:
    """Return the served object, and the list of users that are logged in."""
    authorizer = pb.MemoryAuthorizer(iterations=4096)
    for name, password in USERS.items():
        await authorizer.create(name, password, legacy=True)
        await authorizer.grant(name, "users")
    if face == "portal":
        realm = Realm()
        return pb.Portal(realm, authorizer, anonymous=True), realm.users
    app = pb.Application("contract", authorizer, anonymous="anonymous")
    return app, app.add_service(Users()).users


@pytest.mark.parametrize("face", ["portal", "application"])
async def test_a_twisted_client_logs_in(face: str, client_env: TwistedEnv) -> None:
    served, users = await portal(face)
    async with pb.serve(served, "tcp://127.0.0.1:0", registry=REGISTRY) as server:
        run = await asyncio.to_thread(run_client, client_env, server.urls[0], *EXPECTED_PORTAL)
    assert run.outcomes == EXPECTED_PORTAL
    assert "Unhandled" not in run.log
    assert users == []


class Mind(pb.Referenceable):
    def remote_call(self, value: Any) -> Any:
        return ("called", value)


async def test_our_client_logs_in_at_twisted(server_env: TwistedEnv) -> None:
    with twisted_server(server_env, portal=True) as running:

        def connect(name: Any, password: str | None = None, client: Any = None) -> Any:
            return pb.connect(running.tcp, username=name, password=password, client=client, registry=REGISTRY)

        async with connect("alice", USERS["alice"], Mind()) as alice, connect("bob", USERS["bob"]) as bob:
            assert await alice.call("whoami") == "alice"
            assert await alice.call("call_mind", "from the avatar") == ("called", "from the avatar")
            assert (await alice.call("secret_note")).text == "for alice"
            hers, his = await alice.call("board"), await bob.call("board")
            assert await hers.call("whoami") == "alice"
            assert await his.call("whoami") == "bob"
            await hers.call("post", "hello")
            await his.call("post", "hello yourself")
            assert await hers.call("posts") == [["alice", "hello"], ["bob", "hello yourself"]]
            assert await alice.call("is_board", hers) is True
            assert await alice.call("attached") == ["alice", "bob"]
            await bob.connection.close()
            for _ in range(200):
                names = await alice.call("attached")
                if names == ["alice"]:
                    break
            assert names == ["alice"]
            del hers, his
            gc.collect()
        for name, password in (("alice", "sesame"), ("mallory", "secret")):
            with pytest.raises(pb.LoginFailed, match="the login was refused"):
                await connect(name, password)
        async with connect(pb.ANONYMOUS, client=Mind()) as nobody:
            assert await nobody.call("whoami") == "anonymous"
            assert await nobody.call("call_mind", 7) == ("called", 7)
        with pytest.raises(pb.LoginFailed, match="does not know"):
            await pb.connect(running.tcp, username="alice", password=USERS["alice"], service="users")
