"""pb.describe: of any object, by whom it is answered, and what a hostile peer can do with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.annotations import Description, MethodDescription
from perspective_broker.flavors.describing import MOST_BYTES
from perspective_broker.remote import Remote
from perspective_broker.testing import memory_pair
from tests.authority import Authority
from tests.cred.logins import application
from tests.loops import both_loops
from tests.proxying import header, proxy

REFUSAL = "the peer does not describe its objects"


class Room(pb.Viewable):
    def view_say(self, who: Any, text: str) -> str:
        return text


class Drawer(pb.Referenceable):
    """A drawer."""

    def remote_open(self, *, slowly: bool = False) -> bool:
        """Open it."""
        return slowly


class Desk(pb.Root):
    """A desk."""

    def __init__(self) -> None:
        self.descriptions: list[Description] = []

    def remote_drawer(self) -> Drawer:
        return Drawer()

    def remote_list(self) -> pb.Referenceable:
        return pb.wrap([1, 2, 1], "count")

    def remote_function(self) -> pb.Referenceable:
        def add(one: int, two: int) -> int:
            return one + two

        return pb.callback(add)

    def remote_room(self) -> pb.ViewPoint:
        return pb.ViewPoint(self, Room())

    async def remote_ticks(self) -> AsyncIterator[int]:
        yield 1

    async def remote_look_at(self, client: pb.RemoteReference) -> list[str]:
        try:
            return names(await pb.describe(client))
        except pb.UsageError as error:
            return [str(error)]

    def remote_echo(self, value: Any) -> Any:
        return value


def names(description: Description) -> list[str]:
    return [text for method in description.methods for text in method.signatures]


@both_loops
async def test_an_object_of_any_kind() -> None:
    async with memory_pair(Desk()) as pair:
        root = pair.root
        description = await pb.describe(root)
        assert (description.name, description.doc, description.interfaces) == ("Desk", "A desk.", ())
        drawer = await pb.describe(root.call("drawer"))
        assert drawer == Description(
            "Drawer",
            "A drawer.",
            (),
            (
                MethodDescription(
                    "open",
                    ("open(*, slowly=...)",),
                    "Open it.",
                    False,
                    {
                        "type": "object",
                        "properties": {"slowly": {}},
                        "required": [],
                        "additionalProperties": False,
                    },
                ),
            ),
        )
        assert drawer.method("open") is drawer.methods[0]
        assert drawer.method("close") is None
        assert names(await pb.describe(await root.call("list"))) == ["count(value, /)"]
        assert names(await pb.describe(root.call("function"))) == ["call(one, two)"]
        assert names(await pb.describe(root.call("room"))) == ["say(text)"]
        assert not description.is_stream
        assert (await pb.describe(root.call("ticks"))) == Description("pb:stream")
        assert (await pb.describe(root.call("ticks"))).is_stream
        assert [m.name for m in description.methods if m.stream] == ["ticks"]
        assert await root.call("look_at", Drawer()) == ["open(*, slowly=...)"]


async def test_only_references_are_described() -> None:
    async with memory_pair(Desk()) as pair:
        for value in (5, Drawer(), pair.client):
            with pytest.raises(TypeError, match="describe takes a reference, not a"):
                await pb.describe(value)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="describe takes a reference, not a int"):
            await pb.describe(pair.root.call("echo", 5))
        with pytest.raises(pb.NoSuchMethod):
            await pb.describe(pair.root.call("nothing"))
    with pytest.raises(pb.DeadReferenceError):
        await pb.describe(pair.root)


async def test_a_reconnecting_reference() -> None:
    async with (
        pb.serve(Desk(), "memory:again"),
        pb.connect("memory:again", reconnect=True) as root,
    ):
        assert (await pb.describe(root)).name == "Desk"
        assert (await pb.describe(Remote(root))).name == "Desk"


async def test_the_call_takes_no_arguments() -> None:
    async with memory_pair(Desk()) as pair:
        with pytest.raises(pb.BadArguments, match="pb:describe takes no arguments"):
            await pair.root.call("pb:describe", 1)
        with pytest.raises(pb.BadArguments, match="pb:describe takes no arguments"):
            await pair.root.call("pb:describe", deep=True)
        assert (await pair.root.call("pb:describe"))["name"] == "Desk"
        assert (await pair.root.call("room").call("pb:describe"))["name"] == "Room"


# -- peers that do not


@pytest.mark.parametrize("dialect", ["pb", "none"])
async def test_a_classic_peer_is_not_asked(dialect: str) -> None:
    async with memory_pair(Liar({"name": "Liar"}), dialects=(dialect,)) as pair:
        with pytest.raises(pb.UsageError, match=REFUSAL):
            await pb.describe(pair.root)  # although it would answer any call
    async with memory_pair(Desk(), dialects=(dialect,)) as pair:
        # A program whose library knows nothing of describing can still make the call.
        assert (await pair.root.call("pb:describe"))["name"] == "Desk"


async def test_a_server_that_keeps_it_to_itself() -> None:
    async with memory_pair(Desk(), describe=False) as pair:
        with pytest.raises(pb.UsageError, match=REFUSAL):
            await pb.describe(pair.root)
        with pytest.raises(pb.NoSuchMethod, match="Desk has no method 'pb:describe' for its callers"):
            await pair.root.call("pb:describe")
        with pytest.raises(pb.NoSuchMethod):
            await pair.root.call("ticks").call("pb:describe")


# -- by whom it is answered


async def test_of_this_machine(tmp_path: Path) -> None:
    urls = ("tcp://127.0.0.1:0", f"unix://{tmp_path}/socket", "memory:here")
    async with pb.serve(Desk(), *urls) as server:
        for url in server.urls:
            async with pb.connect(url) as root:
                assert (await pb.describe(root)).name == "Desk"
                assert await root.call("look_at", Drawer()) == ["open(*, slowly=...)"]


async def test_a_stranger_from_elsewhere_is_refused_but_reads_streams() -> None:
    async with (
        pb.serve(Desk(), "tcp://127.0.0.1:0", trusted_proxies=["127.0.0.1"]) as server,
        proxy(server.urls[0], header("203.0.113.9")) as port,
        pb.connect(f"tcp://127.0.0.1:{port}") as root,
    ):
        with pytest.raises(pb.UsageError, match=REFUSAL):
            await pb.describe(root)
        with pytest.raises(pb.NoSuchMethod, match="Drawer has no method 'pb:describe' for its callers"):
            await root.call("drawer").call("pb:describe")
        assert (await pb.describe(root.call("ticks"))).is_stream


async def test_before_a_login_it_is_refused_and_after_it_answered() -> None:
    app = await application()
    async with (
        pb.serve({"chat": app, "desk": Desk()}, "tcp://127.0.0.1:0", trusted_proxies=["127.0.0.1"]) as server,
        proxy(server.urls[0], header("203.0.113.9")) as port,
    ):
        for name in ("chat", "desk"):
            async with pb.connect(f"tcp://127.0.0.1:{port}", object=name) as root:
                with pytest.raises(pb.UsageError, match=REFUSAL):
                    await pb.describe(root)
        async with pb.connect(
            f"tcp://127.0.0.1:{port}", object="chat", username="alice", password="secret", service="chat"
        ) as me:
            assert names(await pb.describe(me)) == ["name()", "ask_client()"]


async def test_before_a_login_peers_of_this_machine_are_refused_too() -> None:
    app = await application()
    async with pb.serve(app, "memory:login"), pb.connect("memory:login") as root:
        with pytest.raises(pb.UsageError, match=REFUSAL):
            await pb.describe(root)


async def test_certificates_are_authentication(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = pb.ServerTLS(authority.issue("127.0.0.1"), client_ca=authority.file)
    async with (
        pb.serve(Desk(), "tls://127.0.0.1:0", tls=tls, trusted_proxies=["127.0.0.1"]) as server,
        proxy(server.urls[0], header("203.0.113.9")) as port,
        pb.connect(
            f"tls://127.0.0.1:{port}",
            tls=pb.ClientTLS(authority.file, certificate=authority.issue("alice@example.org")),
        ) as root,
    ):
        assert (await pb.describe(root)).name == "Desk"
        assert await root.call("look_at", Drawer()) == ["open(*, slowly=...)"]


# -- through a program in the middle


class Middle(pb.Root):
    def __init__(self) -> None:
        self.given: Any = None

    def remote_put(self, obj: Any) -> None:
        self.given = obj

    def remote_get(self) -> Any:
        return self.given


@pytest.mark.parametrize("owner", ["pb7", "pb"])
async def test_an_object_of_a_third_program(owner: str) -> None:
    middle = Middle()
    async with (
        pb.serve(middle, "tcp://127.0.0.1:0", forward=True, trusted_proxies=["127.0.0.1"]) as server,
        proxy(server.urls[0], header("203.0.113.9")) as far,
        proxy(server.urls[0], header("127.0.0.1")) as near,
        pb.connect(f"tcp://127.0.0.1:{near}", dialects=(owner,)) as giver,
        pb.connect(f"tcp://127.0.0.1:{near}") as known,
        pb.connect(f"tcp://127.0.0.1:{far}") as stranger,
    ):
        liar = Liar({"name": "asked"})
        await giver.call("put", liar if owner == "pb" else Drawer())
        if owner == "pb":  # it is not asked, although it would answer any call
            with pytest.raises(pb.UsageError, match=REFUSAL):
                await pb.describe(known.call("get"))
        else:
            assert names(await pb.describe(known.call("get"))) == ["open(*, slowly=...)"]
        with pytest.raises(pb.UsageError, match=REFUSAL):
            await pb.describe(stranger.call("get"))
        middle.given = None


# -- hostile peers


class Liar(pb.Root):
    """Answers what the test chooses."""

    def __init__(self, answer: Any = None) -> None:
        self.answer: Any = answer

    def __getattr__(self, name: str) -> Any:
        if name == "remote_pb:describe":
            return lambda: self.answer
        raise AttributeError(name)


def nested(depth: int) -> Any:
    value: Any = {}
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    "answer",
    [
        None,
        5,
        "Desk",
        [],
        {},
        {"name": 5},
        {"name": b"Desk"},
        {"name": "Desk", "methods": [5]},
        {"name": "Desk", "methods": {"a": {"name": "a"}}},
        {"name": "Desk", "methods": [{"name": "a", "signatures": "a()"}]},
        {"name": "Desk", "methods": [{"name": "a", "stream": "yes"}]},
        {"name": "Desk", "methods": [{"name": "a", "parameters": []}]},
        {"name": "Desk", "methods": [{"name": "a", "parameters": {"a": {1, 2j}}}]},
        {"name": "Desk", "methods": [{"name": "a", "parameters": {"a": Drawer()}}]},
        {"name": "Desk", "methods": [{"name": "a", "parameters": {"a": 2**100}}]},
        {"name": "Desk", "doc": "x" * MOST_BYTES},
        {"name": "Desk", "methods": [{"name": "a"}] * 20_000},
    ],
)
async def test_an_answer_that_is_no_description(answer: Any) -> None:
    liar = Liar(answer)
    async with memory_pair(liar) as pair:
        with pytest.raises(pb.BadAnswer, match="pb:describe: ") as caught:
            await pb.describe(pair.root)
        assert "xxx" not in str(caught.value)
        liar.answer = {"name": "Desk", "of a later version": True, "methods": [{"name": "a", "more": 1}]}
        assert await pb.describe(pair.root) == Description("Desk", methods=(MethodDescription("a"),))


async def test_names_that_cannot_be_typed_are_not_completed() -> None:
    offered = ("a b", "\x1b[2J", "", "good", "_pb")
    liar = Liar({"name": "x", "methods": [{"name": name} for name in offered]})
    async with memory_pair(liar) as pair:
        remote = Remote(pair.root)
        assert "good" not in dir(remote)
        await pb.describe(remote)
        assert "good" in dir(remote)
        assert not {"a b", "\x1b[2J", "", "_pb_names", "_pb"} & set(dir(remote))


async def test_deep_values_are_no_deeper_than_messages_may_be() -> None:
    liar = Liar({"name": "x", "methods": [{"name": "a", "parameters": nested(200)}]})
    async with memory_pair(liar) as pair:
        assert len((await pb.describe(pair.root)).methods) == 1
