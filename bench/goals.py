"""The ratios that are goals. A ratio is the median of the ratios of single rounds, taken side by side."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Final

from bench.runner import Table


@dataclass(frozen=True)
class Goal:
    """A goal: row ``ours`` reaches ``factor`` times row ``other`` in a column."""

    ours: str
    column: str
    other: str
    factor: float


@dataclass(frozen=True)
class Ratio:
    """A goal and the measured ratio."""

    goal: Goal
    median: float
    low: float
    high: float

    @property
    def met(self) -> bool:
        return self.median >= self.goal.factor


GOALS: Final = (
    Goal("pb7", "one", "floor", 0.75),
    Goal("pb7", "inflight", "corked_floor", 0.70),
    Goal("pb7", "inflight", "pycapnp", 4),
    Goal("pb7", "inflight", "grpc_aio", 25),
    Goal("pb7", "inflight", "twisted_pb", 45),
    Goal("classic", "one", "twisted_pb", 6),
    Goal("classic_polling", "one", "twisted_pb", 6),
    Goal("classic", "inflight", "twisted_pb", 8),
    Goal("ours_to_twisted", "one", "twisted_pb", 1),
    Goal("ours_to_twisted", "inflight", "twisted_pb", 1),
    Goal("twisted_to_ours", "one", "twisted_pb", 1),
    Goal("twisted_to_ours", "inflight", "twisted_pb", 1),
    Goal("pb7", "bytes", "floor", 0.9),
    Goal("pb7", "records", "twisted_pb", 20),
    Goal("classic", "records", "twisted_pb", 6),
    Goal("pb7", "copyables", "twisted_pb", 20),
    Goal("classic", "copyables", "twisted_pb", 6),
    Goal("pb7", "refs", "twisted_pb", 10),
    Goal("pb7", "stream", "floor", 0.7),
)


def ratios(table: Table) -> list[Ratio]:
    """The goals of which both rows were measured."""
    found = []
    for goal in GOALS:
        ours = table.get(goal.ours, {}).get(goal.column)
        other = table.get(goal.other, {}).get(goal.column)
        if ours is None or other is None or not ours.samples or not other.samples:
            continue
        each = [mine / theirs for mine, theirs in zip(ours.samples, other.samples, strict=False)]
        found.append(Ratio(goal, statistics.median(each), min(each), max(each)))
    return found
