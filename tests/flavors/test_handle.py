"""Objects of a connection: a copy of a reference is the reference, and the others cannot be copied or pickled."""

from __future__ import annotations

import copy
import dataclasses
import gc
import pickle
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.testing import memory_pair


@dataclasses.dataclass
class Job:
    name: str
    owner: Any


@pb.copier_for("tests.handle.Level")
class Level(pb.Live, tag="tests.handle.Level"):
    height: int


class Root(pb.Root):
    def __init__(self) -> None:
        self.level = Level(height=1)

    def remote_level(self) -> Level:
        return self.level

    async def remote_items(self) -> Any:
        yield 1


async def test_a_copy_of_a_reference_is_the_reference() -> None:
    async with memory_pair(Root()) as pair:
        job = Job("sweep", pair.root)
        assert copy.copy(pair.root) is pair.root
        assert copy.deepcopy(job).owner is pair.root
        assert dataclasses.asdict(job) == {"name": "sweep", "owner": pair.root}
        assert copy.deepcopy(pair.root.method("level")) == pair.root.method("level")
        with pytest.raises(TypeError, match="a RemoteReference cannot be pickled: a reference belongs"):
            pickle.dumps(job)
    async with pb.serve(Root(), "memory:handles"), pb.connect("memory:handles", reconnect=True) as lasting:
        assert copy.deepcopy([lasting]) == [lasting]
        with pytest.raises(TypeError, match="a ReconnectingReference cannot be pickled"):
            pickle.dumps(lasting)


async def test_other_things_of_a_connection_are_refused(capfd: pytest.CaptureFixture[str]) -> None:
    server = pb.serve(Root(), "memory:copied")
    async with server, pb.connect("memory:copied") as root:
        replica = await root.call("level")
        things = [
            server,
            root.connection,
            replica,
            replica.changes(),
            aiter(root.call("items")),
            root.call("level"),
        ]
        for thing in things:
            for make in (copy.copy, copy.deepcopy, pickle.dumps):
                if make is copy.copy and isinstance(thing, type(replica.changes())):
                    continue  # an object of the program's own side, whose copy follows as well
                with pytest.raises(TypeError):
                    make(thing)
        del things, thing
        gc.collect()
    assert capfd.readouterr().err == ""


async def test_a_copy_of_a_live_object_is_one_of_its_own() -> None:
    root = Root()
    async with memory_pair(root) as pair:
        replica = await pair.root.call("level")
        for make in (copy.copy, copy.deepcopy, lambda level: pickle.loads(pickle.dumps(level))):
            copied = make(root.level)
            copied.height += 1
            assert (copied.height, root.level.height) == (2, 1)
        root.level.height = 5
        await pair.root.call("level")
        await pair.root.call("level")
        assert replica.height == 5
