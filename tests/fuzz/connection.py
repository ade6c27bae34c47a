"""For any bytes of a peer, a connection on an event loop, with streams and logins, leaves nothing at its end.

No exception in the loop or in the core, no task, no method that runs on, no entry in a table, no unexpected line in the
log; and nothing costs more than the bytes allow. The first byte selects our side, the served object, and whether the
rest is a peer's raw bytes or a script for a session.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import perspective_broker as pb
from perspective_broker.testing import ScriptedPeer, assert_all_closed, broker_leaks
from tests.fuzz import pb7
from tests.fuzz.application import REGISTRY, Desk
from tests.fuzz.broker import MOST_SENT, classic_message, greeting
from tests.fuzz.budget import PER_MIB_OF_CALLS, Meter, judged
from tests.fuzz.draw import Draw, cuts

__all__ = ["target"]

_LIMITS = pb.Limits(close_seconds=0.05, calls_in_flight=8)

#: More is not looked at: a life of so many steps has everything in it.
_MOST_STEPS = 40

#: Turns of the loop after every step, and before the end, so that methods can finish.
_TURNS = 6


#: Bytes for which the turns behind every piece may cost as much as the bytes.
_BYTES_OF_PIECE = 512


class StreamDesk(Desk):
    """The desk where methods need an event loop."""

    async def remote_later(self, *things: Any) -> Any:  # type: ignore[override]
        await asyncio.sleep(0)
        return things

    def remote_answer(self, value: Any = None) -> Any:
        return value

    async def remote_chunks(self, number: Any = 3) -> AsyncIterator[bytes]:
        for _ in range(number):
            yield bytes(1000)

    async def remote_numbers(self) -> AsyncIterator[Any]:
        yield self
        yield self.score
        raise pb.Error("the end")

    async def remote_read(self, stream: Any = None, most: Any = 3) -> list[Any]:
        """Read a stream of the peer's, and leave early."""
        items = []
        async for item in stream:
            items.append(item)
            if len(items) >= most:
                break
        return items

    async def remote_callback(self, theirs: Any, times: int = 1) -> Any:  # type: ignore[override]
        return await theirs.call("name", self)

    async def remote_chain(self, theirs: Any) -> Any:  # type: ignore[override]
        first = theirs.call("self")
        second = first.call("name")
        first.tell("keep", second)
        return await second


class Complaints(logging.Handler):
    """Log lines of the library that report an error, other than an application's."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if not any(said in text for said in ("raised an exception", "could not be sent", "cannot cross")):
            self.found.append(text)


_loop: asyncio.AbstractEventLoop | None = None
_serial = count()


def target(data: bytes) -> None:
    global _loop
    if _loop is None:
        _loop = asyncio.new_event_loop()  # one for all runs: making one costs more than a run
    draw = Draw(data)
    options, seed = draw.byte(), draw.byte()
    server = options & 1 == 0
    pieces = script(draw, server) if options & 4 else cuts(draw.rest(), seed)
    complaints = Complaints()
    for name in ("perspective_broker", "asyncio"):
        logger = logging.getLogger(name)
        logger.addHandler(complaints)
        logger.propagate = False
    live = as_server if server else as_client

    def run(meter: Meter) -> None:
        assert _loop is not None
        _loop.run_until_complete(live(pieces, options & 2 != 0, meter))

    try:
        judged(sum(map(len, pieces)) + _BYTES_OF_PIECE * len(pieces), run, PER_MIB_OF_CALLS)
    finally:
        for name in ("perspective_broker", "asyncio"):
            logging.getLogger(name).removeHandler(complaints)
            logging.getLogger(name).propagate = True
    assert not complaints.found, complaints.found


def script(draw: Draw, server: bool) -> list[bytes]:
    """Return a peer's bytes in one session."""
    dialect = draw.choice(("pb7", "pb7", "pb"))
    pieces = [greeting(server, dialect)]
    while draw.left and len(pieces) < _MOST_STEPS:
        pieces.append(pb7.frame(draw) if dialect == "pb7" else classic_message(draw))
        if sum(map(len, pieces)) > MOST_SENT:
            break
    return pieces


async def as_server(pieces: list[bytes], with_logins: bool, meter: Meter) -> None:
    desk = StreamDesk()
    root: Any = desk
    if with_logins:
        root = pb.Application("fuzz", anonymous="nobody")
        root.add_service(pb.Service("desk", perspective_class=pb.Perspective))
    async with pb.serve(root, f"memory:fuzz-{next(_serial)}", limits=_LIMITS, registry=REGISTRY) as server:
        async with ScriptedPeer.connect(server.urls[0]) as peer:
            await turns()
            connections = server.connections
            with meter:
                await say(peer, pieces)
        await turns()
    end(desk, connections)
    await assert_all_closed()


async def as_client(pieces: list[bytes], with_logins: bool, meter: Meter) -> None:
    who: dict[str, Any] = {"username": pb.ANONYMOUS} if with_logins else {}
    async with ScriptedPeer.listen(f"memory:fuzz-{next(_serial)}") as listener:
        using = asyncio.ensure_future(use(listener.url, who))
        peer = await listener.accept()
        with meter:
            await say(peer, pieces)
        await peer.aclose()
        await using
    await assert_all_closed()


async def use(url: str, who: dict[str, Any]) -> None:
    """Run a client of the peer."""
    try:
        async with pb.connect(url, limits=_LIMITS, registry=REGISTRY, **who) as root:
            first = root.call("thing")
            second = first.call("name", first)
            stream = root.call("chunks", 3)
            given = root.call("read", StreamDesk().remote_chunks(100))
            waited = [first, second, given, root.call("keep", root, first)]
            try:
                async for _ in stream:
                    break
            except (pb.BrokerError, pb.Error, TypeError):  # other values are refused as a stream
                pass
            waited[1].cancel()
            await asyncio.gather(*waited, return_exceptions=True)
            for promise in waited:
                if not promise.cancelled():
                    promise.exception()
            connection = root.connection
        check(connection)
    except (pb.BrokerError, pb.Error) as error:
        if getattr(error, "code", "") == "internal" and "the peer says" not in str(error):
            raise


async def say(peer: ScriptedPeer, pieces: list[bytes]) -> None:
    for piece in pieces:
        if peer.ended:
            break
        peer.send_bytes(piece)
        await turns()


async def turns() -> None:
    for _ in range(_TURNS):
        await asyncio.sleep(0)


def check(connection: pb.Connection) -> None:
    """Assert that nothing is left of a connection, and that no defect of this side has ended it."""
    assert not broker_leaks(connection._driver.broker)
    cause = connection.close_cause
    assert cause is None or cause.clean or cause.code != "internal"  # a farewell may have any text


def end(desk: StreamDesk, connections: list[pb.Connection]) -> None:
    desk.kept.clear()
    for connection in connections:
        check(connection)
    assert not desk.score.observers
