"""The contract's classes as Twisted has them, shared by the Twisted server and the Twisted client.

Each has ``__module__ = "interop"``: Twisted makes its tag and its type name from that, and it must not depend on the
way in which the program was started.
"""

from __future__ import annotations

import gc
import io
from typing import Any

from twisted.spread import pb, util

from tests.interop.peers.contract import MODULE, page_data


class ContractError(pb.Error):
    """An expected error: crosses by type name and text."""

    __module__ = MODULE


class CarriedError(pb.Error, pb.Copyable, pb.RemoteCopy):
    """An error that is a copyable: arrives as itself."""

    __module__ = MODULE

    def __init__(self, text: str) -> None:
        pb.Error.__init__(self, text)
        self.text = text

    def getStateToCopy(self) -> dict[str, Any]:
        return {"text": self.text}


class Note(pb.Copyable, pb.RemoteCopy):
    """Something that is copied, both ways."""

    __module__ = MODULE

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
        self.observers: list[Any] = []

    def win(self, n: int) -> int:
        self.points += n
        for observer in self.observers:
            observer.callRemote("points", self.points)
        return self.points

    def getStateToCacheAndObserveFor(self, perspective: Any, observer: Any) -> dict[str, int]:
        self.observers.append(observer)
        return {"points": self.points}

    def stoppedObserving(self, perspective: Any, observer: Any) -> None:
        self.observers.remove(observer)


class ScoreReplica(pb.RemoteCache):
    """The receiving end of a `Score`; keeps the updates, in order."""

    __module__ = MODULE

    points: int
    changes: list[int]

    def setCopyableState(self, state: dict[str, Any]) -> None:
        self.points = state["points"]
        self.changes = []

    def observe_points(self, points: int) -> None:
        self.points = points
        self.changes.append(points)


for _class in (Note, CarriedError):
    pb.setUnjellyableForClass(_class, _class)
pb.setUnjellyableForClass(Score, ScoreReplica)


def start_pager(collector: Any, kind: str, size: int) -> None:
    """Begin to send `page_data(size)` to a collector; it goes on when we have returned."""
    if kind == "string":
        util.StringPager(collector, page_data(size))
    else:
        util.FilePager(collector, io.BytesIO(page_data(size)))


def table_sizes(broker: Any) -> dict[str, int]:
    """The objects that the broker still keeps, after a collection of garbage. Named objects (the root) do not count."""
    gc.collect()
    return {
        "local_objects": sum(1 for luid in broker.localObjects if isinstance(luid, int)),
        "remotely_cached": len(broker.remotelyCachedObjects),
        "locally_cached": len(broker.locallyCachedObjects),
        "waiting_for_answers": len(broker.waitingForAnswers),
    }
