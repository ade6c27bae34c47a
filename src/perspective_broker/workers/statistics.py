"""The statistics of a server of one or several processes, and the object behind ``pb serve --control``."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from ..aio import Server
from ..flavors import Referenceable

__all__ = ["Control", "WorkerStatistics", "add_up", "of_one_process"]

#: What several workers have together is the greatest of these, and the sum of all others.
_GREATEST: Final = ("lag", "worst_lag")


@dataclass(frozen=True, slots=True)
class WorkerStatistics:
    """One worker at one moment.

    Attributes:
        worker: its slot, from 1; 0 for a server of one process.
        process: the number of its process.
        state: ``"starting"``, ``"serving"`` or ``"leaving"``; ``"silent"`` if it serves and has not answered in time.
        statistics: the fields of its ``ServerStatistics``; empty when it has not answered.
    """

    worker: int
    process: int
    state: str
    statistics: Mapping[str, float]


def add_up(workers: Iterable[WorkerStatistics]) -> dict[str, float]:
    """Return the statistics of all workers together: sums, and the greatest of the lags."""
    total: dict[str, float] = {}
    for worker in workers:
        for name, value in worker.statistics.items():
            before = total.get(name, 0)
            total[name] = max(before, value) if name in _GREATEST else before + value
    return total


def of_one_process(server: Server) -> list[WorkerStatistics]:
    """Return the statistics of a server without workers in the form of one with workers."""
    return [WorkerStatistics(0, os.getpid(), "serving", asdict(server.statistics()))]


class Control(Referenceable):
    """What ``pb status`` calls.

    Args:
        statistics: returns those of each worker.
    """

    def __init__(self, statistics: Callable[[], Awaitable[list[WorkerStatistics]]]) -> None:
        self._statistics = statistics

    async def remote_statistics(self) -> list[dict[str, Any]]:
        """Return the statistics of each worker, as dictionaries."""
        return [asdict(worker) for worker in await self._statistics()]
