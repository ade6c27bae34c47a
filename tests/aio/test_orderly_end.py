"""An orderly end loses nothing that was made before it, in either direction, and has an end of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.testing import ScriptedPeer, memory_pair
from tests.authority import Authority

from .desk import Desk, turns, until

NUMBER = 100

virtual = pytest.mark.parametrize("loop_name", ["virtual"], indirect=True)


@pytest.fixture(params=["pb7", "pb"])
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Sink(Desk):
    """Records its arguments; slowly, if it is set to be busy."""

    def __init__(self) -> None:
        super().__init__()
        self.busy = False
        self.other: Any = None

    def remote_take(self, mark: Any, *things: Any) -> Any:
        if self.busy:
            sum(range(10_000))
        self.log.append(mark)
        return mark

    def remote_join(self, other: Any) -> None:
        self.other = other

    async def remote_make_slowly(self) -> Sink:
        await self.remote_wait()
        made = Sink()
        made.log = self.log
        return made


@asynccontextmanager
async def connected(
    where: str, tmp_path: Path, dialect: str, limits: pb.Limits | None = None
) -> AsyncIterator[tuple[pb.Server, pb.RemoteReference, Sink, Sink]]:
    """Serve a sink and give it one of the client's; both ends are closed behind the test, if it has not done so."""
    sink, mine = Sink(), Sink()
    authority = Authority(tmp_path) if where.startswith("tls") else None
    server = await pb.serve(
        sink,
        where,
        tls=authority.server("127.0.0.1") if authority else None,
        limits=limits,
        dialects=[dialect],
    )
    try:
        root = await pb.connect(
            server.urls[0],
            tls=authority.trusted() if authority else None,
            limits=limits,
            dialects=[dialect],
        )
        try:
            await root.call("join", mine)
            yield server, root, sink, mine
        finally:
            sink.other = None
            await root.connection.close()
    finally:
        await server.close()


async def end(how: str, server: pb.Server, root: pb.RemoteReference) -> None:
    if how == "close":
        await root.connection.close()
    elif how == "server":
        await server.close()
    else:
        await server.close(drain=30)


def skip_where_an_end_is_all(where: str, dialect: str) -> None:
    """The classic dialect has no farewell and TLS no half-closed connections: calls that cross the end are lost."""
    if where.startswith("tls") and dialect == "pb":
        pytest.skip("the peer can only be told by closing")


WHERE = ["memory:orderly", "tcp://127.0.0.1:0", "tls://127.0.0.1:0"]


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("how", ["close", "server", "drain"])
@pytest.mark.parametrize("behind", ["", "busy", "slots"])
async def test_one_way_calls_before_an_end_have_run_when_it_is_over(
    where: str, how: str, behind: str, dialect: str, tmp_path: Path
) -> None:
    limits = pb.Limits(calls_in_flight=1) if behind == "slots" else None
    async with connected(where, tmp_path, dialect, limits) as (server, root, sink, mine):
        from_client = how == "close"
        to, receiver = (root, sink) if from_client else (sink.other, mine)
        receiver.busy = behind == "busy"
        if behind == "slots":
            to.tell("wait")
        for number in range(NUMBER):
            to.tell("take", number)
        closing = asyncio.ensure_future(end(how, server, root))
        if behind == "slots":
            await until(lambda: receiver.waiting)
            await turns()
            assert receiver.log == []
            assert closing.done() is (
                where.startswith("tls") and dialect == "pb"
            )  # there the end is the only message
            receiver.gate.set()
        await closing
        if (
            where.startswith("tls") and dialect == "pb"
        ):  # bytes on the wire at that moment are read after the end
            await until(lambda: len(receiver.log) == NUMBER)
            await until(lambda: root.connection.close_cause is not None)
        assert receiver.log == list(range(NUMBER))
        assert root.connection.close_cause is not None
        assert root.connection.close_cause.clean
        assert root.connection.close_cause.undelivered == 0
        assert receiver.cancelled == 0


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("busy", [False, True])
async def test_one_way_calls_before_the_end_of_a_block_have_run_behind_it(
    where: str, busy: bool, dialect: str, tmp_path: Path
) -> None:
    sink = Sink()
    sink.busy = busy
    authority = Authority(tmp_path)
    tls = where.startswith("tls")
    async with pb.serve(sink, where, tls=authority.server("127.0.0.1") if tls else None) as server:
        async with pb.connect(
            server.urls[0], tls=authority.trusted() if tls else None, dialects=[dialect]
        ) as root:
            for number in range(NUMBER):
                root.tell("take", number)
        if tls and dialect == "pb":
            await until(lambda: len(sink.log) == NUMBER)
        assert sink.log == list(range(NUMBER))


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("busy", [False, True])
async def test_both_sides_may_close_at_once(where: str, busy: bool, dialect: str, tmp_path: Path) -> None:
    skip_where_an_end_is_all(where, dialect)
    async with connected(where, tmp_path, dialect) as (server, root, sink, mine):
        sink.busy = mine.busy = busy
        for number in range(NUMBER):
            root.tell("take", number)
            sink.other.tell("take", number)
        await asyncio.gather(root.connection.close(), server.close())
        assert sink.log == mine.log == list(range(NUMBER))


@pytest.mark.parametrize("where", WHERE)
async def test_calls_of_the_peer_that_crossed_the_farewell_run(
    where: str, dialect: str, tmp_path: Path
) -> None:
    skip_where_an_end_is_all(where, dialect)
    async with connected(where, tmp_path, dialect) as (_, root, sink, mine):
        root.connection.end()
        for number in range(NUMBER):
            sink.other.tell("take", number)
        await root.connection.wait_closed()
        assert mine.log == list(range(NUMBER))


@virtual
@pytest.mark.parametrize("how", ["close", "server", "drain"])
async def test_one_way_calls_on_promises_run_before_the_end(
    how: str, dialect: str, tmp_path: Path, loop_name: str
) -> None:
    async with connected("memory:promises", tmp_path, dialect) as (server, root, sink, mine):
        from_client = how == "close"
        to, receiver = (root, sink) if from_client else (sink.other, mine)
        made = to.call("make_slowly")
        made.tell("take", 1)
        to.tell("take", 2, [made])
        to.tell("take", 3)
        closing = asyncio.ensure_future(end(how, server, root))
        await until(lambda: receiver.waiting)
        await turns()
        receiver.gate.set()
        await closing
        assert receiver.log == [3, 1, 2]
        assert receiver.cancelled == 0
        await asyncio.gather(made, return_exceptions=True)


@virtual
async def test_an_end_waits_for_calls_that_wait_alone_no_longer_than_they_do(
    dialect: str, loop_name: str
) -> None:
    sink = Sink()
    async with memory_pair(sink, dialects=[dialect]) as pair:
        made = pair.root.call("make_slowly")
        await until(lambda: sink.waiting)  # its call has been sent, so calls that depend on it wait here
        pair.root.tell("take", 1, made)
        closing = asyncio.ensure_future(pair.client.close())
        await turns()
        began = asyncio.get_running_loop().time()
        sink.gate.set()
        await closing
        assert sink.log == [1]
        assert asyncio.get_running_loop().time() == began
        await asyncio.gather(made, return_exceptions=True)


@virtual
async def test_what_could_not_leave_is_counted(dialect: str, loop_name: str) -> None:
    desk = Desk()
    async with memory_pair(desk, dialects=[dialect], client_limits=pb.Limits(close_seconds=2)) as pair:
        slow = pair.root.call("wait")
        await until(lambda: desk.waiting)
        for _ in range(3):
            pair.root.tell("plain", slow)
        began = asyncio.get_running_loop().time()
        await pair.client.close()
        assert asyncio.get_running_loop().time() - began < 60
        assert pair.client.close_cause is not None
        assert pair.client.close_cause.undelivered == 3
        with pytest.raises(pb.ConnectionLost):
            await slow
        assert desk.log == []


@pytest.mark.parametrize("how", ["close", "server"])
async def test_calls_that_want_an_answer_are_cancelled_once(how: str, dialect: str, tmp_path: Path) -> None:
    async with connected("memory:cancelled", tmp_path, dialect) as (server, root, sink, mine):
        ours, theirs = root.call("wait"), sink.other.call("wait")
        chained = ours.call("plain", "never")
        await until(lambda: sink.waiting and mine.waiting)
        await end(how, server, root)
        assert (sink.cancelled, mine.cancelled) == (1, 1)
        for call in (ours, theirs):
            with pytest.raises(pb.ConnectionLost) as caught:
                await call
            assert caught.value.ran is None
        with pytest.raises(pb.ConnectionLost):
            await chained
        assert sink.log == []


async def test_a_closing_side_makes_no_calls(dialect: str, tmp_path: Path) -> None:
    async with connected("memory:late", tmp_path, dialect) as (_, root, sink, __):
        root.connection.end()
        for late in (lambda: root.call("plain", 1), lambda: root.tell("plain", 1)):
            with pytest.raises(pb.DeadReferenceError):
                late()
        await root.connection.wait_closed()
        assert sink.log == []


# -- peers that do not end


def never_end(peer: ScriptedPeer) -> None:
    """Let a peer keep its own bytes open when the other side has ended its."""
    peer.eof_received = lambda: True  # type: ignore[method-assign]


SHORT = pb.Limits(close_seconds=0.05, slow_consumer_seconds=0.1)


@asynccontextmanager
async def client_that_never_ends() -> AsyncIterator[tuple[pb.Server, ScriptedPeer]]:
    async with (
        pb.serve(Desk(), "tcp://127.0.0.1:0", limits=SHORT, dialects=["pb"]) as server,
        ScriptedPeer.connect(server.urls[0], dialect="pb") as peer,
    ):
        never_end(peer)
        await until(lambda: server.connections)
        yield server, peer


async def test_a_client_that_never_ends_is_given_up() -> None:
    async with client_that_never_ends() as (server, _):
        (accepted,) = server.connections
        await server.close()
        assert accepted.close_cause is not None
        assert accepted.close_cause.code == "closed"


async def test_a_server_that_never_ends_is_given_up() -> None:
    async with ScriptedPeer.listen("tcp://127.0.0.1:0") as listener:
        connecting = asyncio.ensure_future(pb.connect(listener.url, limits=SHORT, dialects=["pb"]))
        peer = await listener.accept()
        never_end(peer)
        await peer.greet_as_server("pb")
        root = await connecting
        root.tell("plain", 1)
        await root.connection.close()
        assert root.connection.close_cause is not None
        assert root.connection.close_cause.code == "closed"
        await until(lambda: b"plain" in peer.received)


async def test_a_peer_that_goes_on_talking_does_not_hold_up_the_end_for_ever() -> None:
    async with client_that_never_ends() as (server, peer):
        closing = asyncio.ensure_future(server.close())
        while not closing.done():
            if not peer.transport.is_closing():
                peer.call("root", "keep", answer=False)
            await asyncio.sleep(0)
        await closing


# -- draining


@pb.copier_for("tests.orderly.Score")
class Score(pb.Live, tag="tests.orderly.Score"):
    points: int = 0


class Court(Desk):
    def __init__(self, score: Score) -> None:
        super().__init__()
        self.score = score

    def remote_score(self) -> Score:
        return self.score


async def test_draining_does_not_wait_for_a_live_object_that_goes_on_changing(dialect: str) -> None:
    score = Score()
    async with memory_pair(Court(score), dialects=[dialect]) as pair:
        replica = await pair.root.call("score")

        async def change() -> None:
            while True:
                score.points += 1
                await asyncio.sleep(0)

        changing = asyncio.ensure_future(change())
        await until(lambda: replica.points > 3)
        closing = asyncio.ensure_future(pair.server.close(drain=3600))
        await until(closing.done, turns=2000)
        changing.cancel()
        assert pair.client.close_cause is not None
        assert pair.client.close_cause.clean


async def test_draining_runs_what_arrived_before_and_refuses_what_comes_later(dialect: str) -> None:
    sink = Sink()
    async with memory_pair(sink, dialects=[dialect]) as pair:
        made = pair.root.call("make_slowly")
        before = made.call("take", 1)
        await until(lambda: sink.waiting)
        closing = asyncio.ensure_future(pair.server.close(drain=3600))
        await until(lambda: pair.client.draining or dialect != "pb7")
        await turns()
        with pytest.raises(pb.Unavailable) as caught:
            await pair.root.call("take", 2)
        assert caught.value.code == "draining"
        assert caught.value.ran is False
        sink.gate.set()
        if dialect == "pb7":  # elsewhere the call has waited here
            assert await before == 1
        else:
            with pytest.raises((pb.Unavailable, pb.ConnectionLost)):
                await before
        await closing
        assert sink.log == ([1] if dialect == "pb7" else [])
