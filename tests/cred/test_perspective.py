"""Perspectives: attached clients, hooks, and that each attachment ends exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import perspective_broker as pb
from perspective_broker.cred.lifetime import Detacher
from tests.cred.logins import Chat, Chatter, Mind, application, scram, serving, turns


class Board(pb.Viewable):
    def view_who(self, perspective: Any) -> str:
        return str(perspective.name)


class Poster(Chatter):
    board = Board()

    def perspective_board(self) -> Board:
        return self.board

    def perspective_is_mine(self, perspective: Any) -> bool:
        return perspective is self


async def test_a_viewable_it_hands_out_is_seen_as_it_sees() -> None:
    async with (
        serving(await application(Chat(perspective_class=Poster))) as (_, connect),
        connect("alice", service="chat") as alice,
        connect("bob", service="chat") as bob,
    ):
        hers, his = await alice.call("board"), await bob.call("board")
        assert await hers.call("who") == "alice"
        assert await his.call("who") == "bob"
        assert await alice.call("is_mine", alice) is True


async def test_only_its_perspective_methods_are_reached() -> None:
    async with serving(await application()) as (_, connect), connect("alice") as me:
        for name in ("attached", "make_identity", "__init__", "detached", "service"):
            with pytest.raises(pb.NoSuchMethod):
                await me.call(name)


def test_what_it_is_made_of() -> None:
    perspective = pb.Perspective("alice")
    assert perspective.name == "alice"
    assert perspective.clients == ()
    assert perspective.attached_count == 0
    assert repr(perspective) == "<Perspective 'alice'>"
    with pytest.raises(RuntimeError, match="belongs to no service"):
        perspective.service  # noqa: B018
    with pytest.raises(TypeError, match="perspective name: must be a str"):
        pb.Perspective(7)  # type: ignore[arg-type]


async def test_several_clients_at_once() -> None:
    service = Chat()
    async with serving(await application(service)) as (_, connect):
        async with connect("alice", service="chat", client=Mind("one")) as one:
            async with connect("alice", service="chat", client=Mind("two")), connect("alice", service="chat"):
                perspective = await service.request_perspective("alice")
                assert perspective.attached_count == service.attached_count == 3
                assert await one.call("ask_client") == ["one", "two"]
                assert perspective.clients[2] is None
            await turns()
            assert perspective.attached_count == 1
            assert await one.call("ask_client") == ["one"]
        await turns()
        assert perspective.clients == ()


class Aware(Chatter):
    """Knows the connection, asynchronously."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.seen: list[Any] = []

    async def attached(self, client: Any, identity: pb.Identity) -> Any:
        await asyncio.sleep(0)
        self.tell("attached", identity)
        return self

    async def detached(self, client: Any, identity: pb.Identity) -> None:
        await asyncio.sleep(0)
        self.tell("detached", identity)

    async def broker_attached(self, client: Any, identity: pb.Identity, connection: pb.Connection) -> Any:
        self.seen.append((connection, connection.close_cause))
        return await super().broker_attached(client, identity, connection)

    async def broker_detached(self, client: Any, identity: pb.Identity, connection: pb.Connection) -> None:
        self.seen.append((connection, connection.close_cause))
        await super().broker_detached(client, identity, connection)


async def test_the_forms_that_know_the_connection() -> None:
    service = Chat(perspective_class=Aware)
    app = await application(service)
    async with serving(app) as (server, connect):
        async with connect("alice", service="chat"):
            perspective = await service.request_perspective("alice")
            assert isinstance(perspective, Aware)
            (accepted,) = server.connections
            assert perspective.seen == [(accepted, None)]
        await accepted.wait_closed()  # which waits for detached
        assert service.diary == ["attached alice as alice", "detached alice as alice"]
        assert perspective.seen[1] == (accepted, accepted.close_cause)


class Substitute(Chatter):
    """Gives its clients another perspective."""

    def attached(self, client: Any, identity: pb.Identity) -> Any:
        if self.name.startswith("room of "):
            self.tell("attached", identity)
            return self
        return self.service.create_perspective(f"room of {self.name}")


async def test_the_client_gets_what_attached_returns() -> None:
    service = Chat(perspective_class=Substitute)
    async with serving(await application(service)) as (_, connect), connect("alice", service="chat") as me:
        assert await me.call("name") == "room of alice"
        assert (await service.request_perspective("room of alice")).attached_count == 1
        assert (await service.request_perspective("alice")).attached_count == 0
    assert service.diary == ["detached alice as alice"]  # the object whose attached was called


class Member(Chatter):
    """Two classes of users, as the page on logging in describes them."""

    seen: list[Any] = []

    def attached(self, client: Any, identity: pb.Identity) -> Any:
        super().attached(client, identity)
        self.seen.append(self)
        return Moderator(self.name) if identity.name == "alice" else self

    def detached(self, client: Any, identity: pb.Identity) -> Any:
        super().detached(client, identity)
        self.seen.remove(self)


class Moderator(Member):
    def perspective_service(self) -> str:
        return self.service.name

    def perspective_clients(self) -> list[str]:
        return [str(client is None) for client in self.clients]


async def test_two_classes_of_users() -> None:
    service = Chat(perspective_class=Member)
    Member.seen.clear()
    app = await application(service)
    await app.authorizer.grant("bob", "chat", "alice")
    async with serving(app) as (server, connect):
        async with (
            connect("alice", service="chat") as one,
            connect("alice", service="chat", client=Mind()) as two,
            connect("bob", service="chat") as bob,
            connect("bob", service="chat", perspective="alice") as other,
        ):
            assert await one.call("service") == "chat"
            assert await one.call("clients") == ["True", "False"]
            assert await two.call("clients") == ["True", "False"]  # one object for both
            for me in (bob, other):  # a user that does not get a moderator's by the name of the perspective
                with pytest.raises(pb.NoSuchMethod):
                    await me.call("service")
            assert len(Member.seen) == 4
        for connection in server.connections:
            await connection.wait_closed()
        await turns()
        assert Member.seen == []
        assert service.attached_count == 0
        assert (
            service.diary.count("attached alice as alice")
            == service.diary.count("detached alice as alice")
            == 2
        )
        async with connect("alice", service="chat") as one:
            assert await one.call("clients") == ["True"]


class Picky(Chatter):
    """Refuses, or raises another error."""

    def attached(self, client: Any, identity: pb.Identity) -> Any:
        if self.name == "alice":
            raise pb.Error("banned")
        return "no perspective"


async def test_who_is_not_attached_is_not_detached(caplog: pytest.LogCaptureFixture) -> None:
    service = Chat(perspective_class=Picky)
    async with serving(await application(service)) as (_, connect):
        with pytest.raises(pb.RemoteError, match="banned"):
            await connect("alice", service="chat")
        with pytest.raises(pb.RemoteError, match="attached: must return a Perspective"):
            await connect("bob", service="chat")
        assert service.attached_count == 0
    assert service.diary == []
    assert "attached: must return a Perspective" in caplog.text


class Slow(Chatter):
    """Attaches on the test's command."""

    waiting: list[asyncio.Future[None]] = []

    async def attached(self, client: Any, identity: pb.Identity) -> None:
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(waiting)
        try:
            await waiting
        except asyncio.CancelledError:
            self.tell("cancelled", identity)
            raise
        self.tell("attached", identity)


async def test_a_connection_lost_while_attaching() -> None:
    service = Chat(perspective_class=Slow)
    async with serving(await application(service)) as (server, connect), connect() as root:
        (accepted,) = server.connections
        wrapper = await scram(root, "alice", "secret")
        attaching = wrapper.call("attach", "chat")
        await turns()
        await root.connection.close()
        await accepted.wait_closed()
        with pytest.raises(pb.ConnectionLost):
            await attaching
        assert service.attached_count == 0
    assert service.diary == ["cancelled alice as alice"]


class Stubborn(Chatter):
    """Ends the connection while it is attached, and is attached all the same."""

    def broker_attached(self, client: Any, identity: pb.Identity, connection: pb.Connection) -> Any:
        connection.end("banned", "go away")
        return super().broker_attached(client, identity, connection)


async def test_attached_to_a_connection_that_has_ended() -> None:
    service = Chat(perspective_class=Stubborn)
    async with serving(await application(service)) as (_, connect):
        with pytest.raises(pb.ConnectionLost):
            await connect("alice", service="chat")
    assert service.diary == ["attached alice as alice", "detached alice as alice"]
    assert service.attached_count == 0


# -- ends


async def close_client(me: pb.RemoteReference, accepted: pb.Connection) -> None:
    await me.connection.close()


async def close_server(me: pb.RemoteReference, accepted: pb.Connection) -> None:
    await accepted.close("bye", "go")


async def kill(me: pb.RemoteReference, accepted: pb.Connection) -> None:
    transport = me.connection._driver._transport
    assert transport is not None
    transport.abort()
    await me.connection.wait_closed()


async def break_protocol(me: pb.RemoteReference, accepted: pb.Connection) -> None:
    transport = me.connection._driver._transport
    assert transport is not None
    transport.write(b"\xff" * 100)
    await me.connection.wait_closed()


@pytest.mark.parametrize("kind", [Chatter, Aware])
@pytest.mark.parametrize("url", ["memory:end", "tcp://127.0.0.1:0"])
@pytest.mark.parametrize("end", [close_client, close_server, kill, break_protocol])
async def test_whatever_ends_the_connection(end: Any, url: str, kind: type[Chatter]) -> None:
    service = Chat(perspective_class=kind)
    async with serving(await application(service), url) as (server, connect):
        me = await connect("alice", service="chat", client=Mind())
        (accepted,) = server.connections
        await end(me, accepted)
        await accepted.wait_closed()
        assert service.diary == ["attached alice as alice", "detached alice as alice"]
        assert service.attached_count == 0
    assert len(service.diary) == 2


async def test_the_servers_end() -> None:
    service = Chat(perspective_class=Aware)
    async with serving(await application(service)) as (server, connect):
        me = await connect("alice", service="chat")
        await server.close()
        assert service.diary == ["attached alice as alice", "detached alice as alice"]
        await me.connection.wait_closed()


async def test_a_released_reference_is_no_end() -> None:
    service = Chat()
    async with serving(await application(service)) as (_, connect):
        me = await connect("alice", service="chat")
        connection = me.connection
        me.release()
        await turns()
        assert service.attached_count == 1
        await connection.close()
    assert service.diary == ["attached alice as alice", "detached alice as alice"]


@pytest.mark.parametrize("kind", [Chatter, Aware])
async def test_logging_out(kind: type[Chatter]) -> None:
    service = Chat(perspective_class=kind)
    async with serving(await application(service)) as (server, connect), connect() as root:
        wrapper = await scram(root, "alice", "secret")
        for _ in range(2):
            await wrapper.call("attach", "chat")
        await wrapper.call("logout")
        assert service.diary == ["attached alice as alice"] * 2 + ["detached alice as alice"] * 2
        await wrapper.call("logout")
        (accepted,) = server.connections
        assert len(accepted._endings) == 1  # the login's own: nothing is kept of users that were here
    assert len(service.diary) == 4


async def test_a_connection_lost_while_logging_out() -> None:
    going = asyncio.get_running_loop().create_future()

    class Reluctant(Chatter):
        async def detached(self, client: Any, identity: pb.Identity) -> None:
            await going
            self.tell("detached", identity)

    service = Chat(perspective_class=Reluctant)
    async with serving(await application(service)) as (server, connect), connect() as root:
        (accepted,) = server.connections
        wrapper = await scram(root, "alice", "secret")
        await wrapper.call("attach", "chat")
        leaving = wrapper.call("logout")
        await turns()
        root.connection.end()
        await turns()
        with pytest.raises(pb.ConnectionLost):
            await leaving
        going.set_result(None)
        await accepted.wait_closed()  # which waits for the work that the logout has started
        assert service.diary == ["attached alice as alice", "detached alice as alice"]


async def test_detached_that_raises_is_logged_and_ends_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Chatter):
        def detached(self, client: Any, identity: pb.Identity) -> Any:
            if identity.name == "alice":
                raise ValueError("no")
            return self.fail()

        async def fail(self) -> None:
            raise ValueError("no, later")

    service = Chat(perspective_class=Failing)
    async with serving(await application(service)) as (_, connect):
        async with connect("alice", service="chat"), connect("bob", service="chat"):
            pass
        await turns()
        assert service.attached_count == 0
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["no, later", "no"]


class Connection:
    """The end of a connection, and nothing else."""

    def __init__(self) -> None:
        self.callbacks: list[Callable[[Any], Any]] = []
        self.closed = False

    def on_disconnect(self, callback: Callable[[Any], Any]) -> None:
        if self.closed:
            raise pb.DeadReferenceError("ended")
        self.callbacks.append(callback)

    def dont_notify_on_disconnect(self, callback: Callable[[Any], Any]) -> None:
        self.callbacks.remove(callback)

    def close(self) -> list[Any]:
        self.closed = True
        callbacks, self.callbacks = self.callbacks, []
        return [result for callback in callbacks if (result := callback(self)) is not None]


@settings(max_examples=30)  # each on a loop of its own, which looks for leaks at its end
@given(
    steps=st.lists(st.sampled_from(["log out", "close", "turn"]), max_size=8),
    late=st.booleans(),
    slow=st.integers(0, 3),
)
async def test_any_order_of_ends(steps: list[str], late: bool, slow: int) -> None:
    # slow: turns of the loop that detaching takes; with 0 it is plain. late: the connection ended before.
    ended: list[str] = []

    async def turning() -> None:
        ended.append("begun")
        for _ in range(slow):
            await asyncio.sleep(0)
        ended.append("done")

    def detach() -> Any:
        if slow:
            return turning()
        ended.extend(["begun", "done"])
        return None

    connection: Any = Connection()
    if late:
        connection.close()
    detacher = Detacher(connection, detach)
    waits: list[Any] = []
    for step in steps:
        if step == "log out":
            waits.append(asyncio.ensure_future(detacher.log_out()))
        elif step == "close" and not connection.closed:
            waits += connection.close()
        else:
            await asyncio.sleep(0)
    if not connection.closed:
        waits += connection.close()
    for wait in waits:
        await wait
    if late:
        await detacher.log_out()
    assert ended == ["begun", "done"]
    assert connection.callbacks == []


# -- identities


async def test_making_an_identity() -> None:
    service = Chat()
    app = await application(service)
    perspective = service.create_perspective("carol")
    identity = await perspective.make_identity("geheim", legacy=True)
    assert identity.name == "carol"
    assert identity.keys == {("chat", "carol")}
    other = await perspective.make_identity("pw", name="dave")
    assert other.keys == {("chat", "carol")}
    assert other.legacy_digest is None
    async with serving(app) as (_, connect):
        async with connect("carol", "geheim", service="chat") as me:
            assert await me.call("name") == "carol"
            assert perspective.attached_count == 1  # the very one
        async with connect("dave", "pw", service="chat", perspective="carol") as me:
            assert await me.call("name") == "carol"
    with pytest.raises(KeyError):
        await perspective.make_identity("again")
    with pytest.raises(ValueError, match="password"):
        await perspective.make_identity("", name="eve")
