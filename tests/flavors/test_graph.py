"""A graph arrives as its value, with its sharing and its cycles, in every dialect."""

from __future__ import annotations

from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.dialects.offer import DIALECTS
from perspective_broker.testing import memory_pair


class Desk(pb.Root):
    def remote_is_cycle(self, value: Any) -> bool:
        return type(value) is list and value[0] is value

    def remote_twins(self) -> pb.Graph:
        shared = {"n": 1}
        return pb.Graph((shared, [shared]))


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_graph_keeps_cycles_and_sharing(dialect: str) -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    async with memory_pair(Desk(), dialects=[dialect]) as pair:
        assert await pair.root.call("is_cycle", pb.Graph(cycle))
        shared, [again] = await pair.root.call("twins")
        assert shared is again
        assert shared == {"n": 1}


def test_a_graph_is_shown_without_what_it_holds() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    assert repr(pb.Graph(cycle)) == "<Graph of a list>"
