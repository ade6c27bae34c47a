"""Several objects of one server, by name: serve with a mapping, and connect with the name of an object."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.aio.roots import check_name
from perspective_broker.compat import pb as compat
from perspective_broker.testing import assert_no_leaks
from tests.aio.desk import Desk, until
from tests.loops import both_loops


class Lobby(pb.Root):
    """Each connection gets its own desk."""

    def __init__(self) -> None:
        self.given: list[tuple[pb.Connection, Desk]] = []

    def root_object(self, connection: pb.Connection) -> Desk:
        self.given.append((connection, Desk()))
        return self.given[-1][1]


class Staged(pb.Root):
    """Notes when it is begun and ended, and raises on request."""

    def __init__(self, name: str, log: list[str], fails: str = "") -> None:
        self.name, self.log, self.fails = name, log, fails

    async def begin_serving(self) -> None:
        self.note("begins")

    def end_serving(self) -> None:
        self.note("ends")

    def note(self, what: str) -> None:
        self.log.append(f"{self.name} {what}")
        if what == self.fails:
            raise RuntimeError(f"{self.name} fails")


@both_loops
async def test_each_object_is_reached_by_its_name(dialect: str) -> None:
    one, two = Desk(), Desk()
    async with pb.serve({"one": one, "zwölf/2": two}, "tcp://127.0.0.1:0", dialects=[dialect]) as server:
        for name, desk in (("one", one), ("zwölf/2", two)):
            async with pb.connect(server.urls[0], object=name) as reference:
                await reference.call("plain", name)
                me = await reference.call("me")  # the same object, under an id
                await me.call("plain", "again")
                assert name in repr(reference)
                del me
                await assert_no_leaks(reference.connection)
            assert desk.log == [name, "again"]


async def test_a_named_object_comes_home(dialect: str) -> None:
    desk = Desk()
    async with (
        pb.serve({"desk": desk}, "memory:home", dialects=[dialect]),
        pb.connect("memory:home", object="desk") as reference,
    ):
        await reference.call("keep", reference)
    assert desk.kept == [desk]


async def test_one_object_has_the_name_root(dialect: str) -> None:
    async with (
        pb.serve(Desk(), "memory:single", dialects=[dialect]),
        pb.connect("memory:single", object="root") as reference,
    ):
        assert await reference.call("echo", 1) == 1
    async with (
        pb.serve({"root": Desk(), "other": Lobby()}, "memory:single", dialects=[dialect]),
        pb.connect("memory:single") as reference,
    ):
        assert await reference.call("echo", 1) == 1


@pytest.mark.parametrize("name", ["nobody", "root", "1", "plain"])
async def test_an_unknown_name_is_an_error_that_lists_nothing(name: str, dialect: str) -> None:
    secret = Desk()
    async with (
        pb.serve({"secret": secret, "1x": Desk()}, "memory:unknown", dialects=[dialect]),
        pb.connect("memory:unknown", object=name) as reference,
    ):
        with pytest.raises(pb.UnknownObject) as caught:
            await reference.call("plain", 1)
        for text in ("secret", "1x", "Desk"):
            assert text not in str(caught.value)
        assert reference.connection.close_cause is None
    assert secret.log == []


async def test_each_connection_may_have_its_own(dialect: str) -> None:
    lobby, desk = Lobby(), Desk()
    async with pb.serve({"lobby": lobby, "desk": desk}, "memory:own", dialects=[dialect]) as server:
        for number in (1, 2):
            async with pb.connect("memory:own", object="lobby") as reference:
                await reference.call("plain", number)
                (connection,) = server.connections
                assert lobby.given[-1][0] is connection
            await until(lambda: not server.connections)
    assert [given.log for _, given in lobby.given] == [[1], [2]]
    assert desk.log == []


async def test_a_later_change_of_the_mapping_changes_nothing() -> None:
    served = {"a": Desk()}
    async with pb.serve(served, "memory:copied"):
        served["b"] = served.pop("a")
        async with pb.connect("memory:copied", object="a") as reference:
            assert await reference.call("echo", 1) == 1


async def test_a_reconnecting_reference_asks_for_the_same_object() -> None:
    soon = pb.Backoff(base=0.001, cap=0.002)
    async with (
        pb.serve({"lobby": Lobby(), "desk": Desk()}, "memory:again") as server,
        pb.connect("memory:again", object="desk", reconnect=soon) as reference,
    ):
        first = reference.connection
        assert await reference.call("echo", 1) == 1
        server.connections[0].end()
        await first.wait_closed()
        assert await reference.call("echo", 2) == 2
        assert reference.connection is not first


async def test_a_wrapped_object_and_a_view_are_roots(dialect: str) -> None:
    class Page(pb.Viewable):
        def view_read(self, reader: object) -> str:
            return f"read by {reader}"

    roots: dict[str, Any] = {"list": pb.wrap([3, 1], "index"), "page": pb.ViewPoint("Ada", Page())}
    async with pb.serve(roots, "memory:kinds", dialects=[dialect]):
        async with pb.connect("memory:kinds", object="list") as numbers:
            assert await numbers.call("index", 1) == 1
        async with pb.connect("memory:kinds", object="page") as page:
            assert await page.call("read") == "read by Ada"


# -- logins


class Member(pb.Perspective):
    def perspective_name(self) -> str:
        return self.name


async def application() -> pb.Application:
    users = pb.MemoryAuthorizer()
    await users.create("ada", "engine", legacy=True)
    await users.grant("ada", "club")
    app = pb.Application("club", users)
    app.add_service(pb.Service("club", Member))
    return app


@pytest.mark.parametrize("name", ["root", "members"])
async def test_a_login_is_made_at_the_named_object(name: str, dialect: str) -> None:
    roots = {name: await application(), "status": Desk()}
    async with pb.serve(roots, "memory:login", dialects=[dialect]):
        async with pb.connect("memory:login", object=name, username="ada", password="engine") as member:
            assert await member.call("name") == "ada"
        with pytest.raises(pb.LoginFailed):
            await pb.connect("memory:login", object=name, username="ada", password="steam")
        with pytest.raises(pb.LoginFailed, match="does not know this kind of login"):
            await pb.connect("memory:login", object="status", username="ada", password="engine")


async def test_beside_logins_other_objects_are_called_as_a_stranger() -> None:
    roots = {"root": await application(), "status": Desk()}
    limits = pb.Limits(login_seconds=0.05)
    async with (
        pb.serve(roots, "memory:beside", limits=limits),
        pb.connect("memory:beside", object="status") as status,
    ):
        assert await status.call("echo", 1) == 1
        await status.connection.wait_closed()
        assert status.connection.close_cause is not None
        assert status.connection.close_cause.code == "login-timeout"


async def test_two_logins_are_refused() -> None:
    one, two = await application(), await application()
    with pytest.raises(TypeError, match=r"^'a' and 'b' take logins, .* add the services to one pb\.Applic"):
        pb.serve({"a": one, "b": two, "c": Desk()}, "memory:x")


# -- beginning and ending


async def test_each_object_begins_once_in_order_and_ends_in_the_other() -> None:
    log: list[str] = []
    a, b = Staged("a", log), Staged("b", log)
    async with pb.serve({"a": a, "b": b, "again": a, "desk": Desk()}, "memory:staged"):
        assert log == ["a begins", "b begins"]
    assert log == ["a begins", "b begins", "b ends", "a ends"]


async def test_when_one_cannot_begin_the_others_end() -> None:
    log: list[str] = []
    roots = {"a": Staged("a", log), "b": Staged("b", log, "begins"), "c": Staged("c", log)}
    with pytest.raises(RuntimeError, match="b fails"):
        await pb.serve(roots, "memory:staged")
    assert log == ["a begins", "b begins", "a ends"]


async def test_when_one_cannot_end_the_others_do_and_the_server_is_closed() -> None:
    log: list[str] = []
    server = await pb.serve({"a": Staged("a", log), "b": Staged("b", log, "ends")}, "memory:staged")
    with pytest.raises(RuntimeError, match="b fails"):
        await server.close()
    assert log[-2:] == ["b ends", "a ends"]
    await asyncio.wait_for(server.serve_forever(), 10)


# -- what is refused


@pytest.mark.parametrize(
    ("roots", "error", "text"),
    [
        ({}, TypeError, "an empty dict cannot be served"),
        ({"a": None}, TypeError, "a NoneType cannot be served; derive it from pb.Root"),
        ({"a": {"b": pb.Root()}}, TypeError, "a dict cannot be served"),
        ({"a": pb.Root}, TypeError, "an object is served, not its class"),
        ({"a": compat.Root()}, TypeError, "a Root is one of perspective_broker.compat's"),
        ({1: pb.Root()}, TypeError, "the name of an object is text (str), not int"),
        ({b"root": pb.Root()}, TypeError, "the name of an object is text (str), not bytes"),
        ({"": pb.Root()}, ValueError, "the name of an object has 1 to 256 bytes, not 0"),
        ({"ä" * 129: pb.Root()}, ValueError, "the name of an object has 1 to 256 bytes, not 258"),
        ({"\ud800": pb.Root()}, ValueError, "the name of an object is text that UTF-8 can express"),
        ({"pb-ping": pb.Root()}, ValueError, "names that begin with pb- belong to the library: 'pb-ping'"),
    ],
)
def test_a_mapping_that_cannot_be_served(roots: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        pb.serve(roots, "memory:x")
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(
    ("name", "error"), [(None, TypeError), (1, TypeError), ("", ValueError), ("x" * 257, ValueError)]
)
def test_a_name_that_no_object_can_have(name: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="the name of an object"):
        pb.connect("memory:x", object=name)


async def test_the_longest_name(dialect: str) -> None:
    name = "ä" * 128
    check_name(name)
    async with (
        pb.serve({name: Desk()}, "memory:longest", dialects=[dialect]),
        pb.connect("memory:longest", object=name) as reference,
    ):
        assert await reference.call("echo", 1) == 1
