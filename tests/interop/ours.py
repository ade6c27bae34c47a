"""The contract of `peers/contract.py`, kept by our own server, and its classes as this library has them.

    python -m tests.interop.ours --tcp 0 --unix /run/pb.sock

is the same server in a process of its own, with the command line and the manners of `peers/server.py`; the
tests serve a `ContractRoot` in their own event loop wherever nothing has to be killed.

Left out until the library has logins: all that is behind a portal, viewables included.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import platform
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import perspective_broker as pb
from tests.interop.peers.contract import ECHO_DATES, EMPTY_TABLES, MODULE, hash_of, page_data, show

#: What our side builds from the contract's tags.
REGISTRY = pb.registry.Registry()


class ContractError(pb.Error):
    """An expected error: crosses by type name and text."""

    __module__ = MODULE


@pb.copier_for("interop.CarriedError", registry=REGISTRY)
class CarriedError(pb.Error, pb.Copyable, pb.RemoteCopy):
    """An error that is a copyable: arrives as itself."""

    __module__ = MODULE

    text: str

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


@pb.copier_for("interop.Note", registry=REGISTRY)
class Note(pb.Copyable, pb.RemoteCopy):
    """Something that is copied, both ways."""

    __module__ = MODULE

    text: Any

    def __init__(self, text: Any) -> None:
        self.text = text


class Stranger(pb.Copyable):
    """A copyable that no receiver registers."""

    __module__ = MODULE


class Score(pb.Cacheable):
    """Points whose replicas follow."""

    __module__ = MODULE

    def __init__(self) -> None:
        self.points = 0
        self.observers: list[pb.annotations.RemoteCacheObserver] = []

    def win(self, n: int) -> int:
        self.points += n
        for observer in self.observers:
            observer.tell("points", self.points)
        return self.points

    def get_state_to_cache_and_observe_for(
        self, perspective: Any, observer: pb.annotations.RemoteCacheObserver
    ) -> dict[str, int]:
        self.observers.append(observer)
        return {"points": self.points}

    def stopped_observing(self, perspective: Any, observer: pb.annotations.RemoteCacheObserver) -> None:
        self.observers.remove(observer)


@pb.copier_for("interop.Score", registry=REGISTRY)
class ScoreReplica(pb.RemoteCache):
    """The receiving end of a `Score`; keeps what it was told, in order."""

    points: int

    def set_copyable_state(self, state: Any) -> None:
        super().set_copyable_state(state)
        self.changes: list[int] = []

    def observe_points(self, points: int) -> None:
        self.points = points
        self.changes.append(points)


class Thing(pb.Referenceable):
    """A small object of the server."""

    def __init__(self, desk: Desk, name: str) -> None:
        self.desk = desk
        self.label = name

    def remote_name(self) -> str:
        return self.label

    def remote_touch(self, n: int) -> None:
        self.desk.recorded.append([self.label, n])

    def remote_itself(self) -> Thing:
        return self


class Desk(pb.Referenceable):
    """The root as one connection sees it. Plain and asynchronous methods, as they come naturally."""

    def __init__(self, connection: pb.Connection) -> None:
        self.connection = connection
        self.recorded: list[Any] = []
        self.waiting: list[asyncio.Future[Any]] = []
        self.hanging = 0  #: `hang` calls that run
        self.held: Any = None
        self.statistics: pb.annotations.Statistics | None = None  #: when `tables` was last asked for
        self.own = Thing(self, "own")
        self.score = Score()

    # -- values

    def remote_echo(self, value: Any) -> Any:
        return value

    def remote_text(self, value: Any) -> str:
        return show(value)

    def remote_add(self, a: Any, b: Any = 0) -> Any:
        return a + b

    def remote_arguments(self, *args: Any, **kw: Any) -> list[Any]:
        return [list(args), kw]

    def remote_same(self, a: Any, b: Any) -> bool:
        return a is b

    def remote_same_text(self, a: Any, b: Any) -> bool:
        return isinstance(a, str) and isinstance(b, str) and a == b

    def remote_dates(self) -> list[Any]:
        return [value for _, value in ECHO_DATES]

    def remote_blob(self, size: int) -> bytes:
        return b"x" * size

    # -- copyables

    def remote_note(self, text: str) -> Note:
        return Note(text)

    def remote_take_note(self, note: Note) -> Any:
        return note.text

    def remote_stranger(self) -> Stranger:
        return Stranger()

    # -- order and one-way calls

    def remote_record(self, item: Any) -> None:
        self.recorded.append(item)

    def remote_recordings(self) -> list[Any]:
        recorded, self.recorded = self.recorded, []
        return recorded

    # -- references

    def remote_new_thing(self, name: str) -> Thing:
        return Thing(self, name)

    def remote_own(self) -> Thing:
        return self.own

    def remote_is_own(self, thing: Any) -> bool:
        return thing is self.own

    async def remote_callback(self, ref: pb.RemoteReference, value: Any) -> Any:
        return await ref.call("call", value)

    def remote_give_back(self, value: Any) -> Any:
        return value

    def remote_hold(self, ref: pb.RemoteReference) -> None:
        self.held = ref

    def remote_call_held(self, value: Any) -> Any:
        return self.held.call("call", value)

    def remote_release_held(self) -> None:
        self.held = None

    def remote_hand_back(self) -> Any:
        held, self.held = self.held, None
        return held

    # -- errors

    def remote_pb_error(self, text: str) -> None:
        raise ContractError(text)

    def remote_value_error(self, text: str) -> None:
        raise ValueError(text)

    async def remote_pb_error_later(self, text: str) -> None:
        await asyncio.sleep(0)
        raise ContractError(text)

    async def remote_value_error_later(self, text: str) -> None:
        await asyncio.sleep(0)
        raise ValueError(text)

    def remote_carried_error(self, text: str) -> None:
        raise CarriedError(text)

    # -- time, and the end of it

    async def remote_wait(self) -> Any:
        waiting: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.waiting.append(waiting)
        return await waiting

    async def remote_fire(self, value: Any) -> int:
        waiting, self.waiting = self.waiting, []
        for future in waiting:
            future.set_result(value)
        await asyncio.sleep(0)  # what waited goes on, and answers, before we do
        return len(waiting)

    async def remote_hang(self) -> None:
        self.hanging += 1
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.hanging -= 1

    async def remote_hang_up(self) -> None:
        await self.connection.close()

    def remote_die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    # -- cacheables

    def remote_score(self) -> Score:
        return self.score

    def remote_win(self, n: int) -> int:
        return self.score.win(n)

    def remote_observers(self) -> int:
        return len(self.score.observers)

    # -- pages

    async def remote_pages(self, collector: pb.RemoteReference, kind: str, size: int) -> None:
        await send_all_pages(collector, kind, size)

    async def remote_collect(self, ref: pb.RemoteReference, kind: str, size: int) -> str:
        pages = pb.streams.get_pages(ref, "pages", kind, size)
        return hash_of(await pb.streams.collect_stream(pages, limit_bytes=size))

    # -- leaks

    async def remote_tables(self) -> dict[str, int]:
        gc.collect()
        await asyncio.sleep(0)  # what was collected is off the tables after this turn
        statistics = self.statistics = self.connection.statistics()
        return EMPTY_TABLES | {
            "local_objects": statistics.exported,
            "waiting_for_answers": statistics.calls_out,
        }


async def send_all_pages(collector: pb.RemoteReference, kind: str, size: int) -> None:
    """Send what the contract's pagers send."""
    if kind == "string":
        await pb.streams.send_pages(collector, page_data(size))
        return
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(page_data(size))
        await pb.streams.send_pages(collector, pb.streams.stream_file(file.name))


class ContractRoot(pb.Root):
    """Gives every connection a desk of its own.

    Attributes:
        desks: those of all connections, oldest first, for tests to look at.
    """

    def __init__(self) -> None:
        self.desks: list[Desk] = []

    def root_object(self, connection: pb.Connection) -> Desk:
        desk = Desk(connection)
        self.desks.append(desk)
        return desk


# ------------------------------------------------------------------------------------------ a process


async def _serve(urls: list[str], unsafe_tracebacks: bool) -> None:
    root = ContractRoot()
    async with pb.serve(root, *urls, registry=REGISTRY, unsafe_tracebacks=unsafe_tracebacks) as server:
        about = {"urls": server.urls, "pid": os.getpid(), "python": platform.python_version()}
        print(json.dumps(about), flush=True)
        # Whoever started us closes our standard input, also by dying.
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(sys.stdin, ended.set)
        await ended.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="Our own server for interoperability tests.")
    parser.add_argument("--tcp", type=int, metavar="PORT", help="listen on this port of 127.0.0.1; 0 for any")
    parser.add_argument("--unix", metavar="PATH", help="listen on this Unix socket")
    parser.add_argument("--unsafe-tracebacks", action="store_true", help="let tracebacks cross")
    options = parser.parse_args()
    urls = [] if options.tcp is None else [f"tcp://127.0.0.1:{options.tcp}"]
    urls += [] if options.unix is None else [f"unix://{options.unix}"]
    if not urls:
        parser.error("nothing to listen on: give --tcp, --unix or both")
    asyncio.run(_serve(urls, options.unsafe_tracebacks))


if __name__ == "__main__":
    main()
