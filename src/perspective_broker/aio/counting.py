"""Counting: how often each method runs, and how long. Compiled, because it is in the path of every call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..calls import BOUNDS, MethodStatistics
from ..native import mypyc_attr
from ..session import CallListener, IncomingCall

__all__ = ["CallWatcher", "Counting", "MethodTable", "name_of"]

#: Methods that are counted by name. A program that makes classes as it runs must not fill the memory.
_MOST_METHODS: Final = 1024

_BOUNDS: Final = list(BOUNDS)


@mypyc_attr(allow_interpreted_subclasses=True)
class CallWatcher:
    """Is told of calls by :class:`Counting`, with the time at which they began. Never raises."""

    def began(self, call: IncomingCall, began: float) -> None:
        """The method of ``call`` is about to run."""
        raise NotImplementedError

    def ended(self, call: IncomingCall, error: BaseException | None) -> None:
        """A call has ended that has begun."""
        raise NotImplementedError


class _Counts:
    """The counts of one method."""

    __slots__ = ("buckets", "count", "errors", "name", "total", "worst")

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0
        self.errors = 0
        self.total = 0.0
        self.worst = 0.0
        self.buckets = [0] * (len(_BOUNDS) + 1)

    def add(self, seconds: float, failed: bool) -> None:
        self.count += 1
        if failed:
            self.errors += 1
        self.total += seconds
        if seconds > self.worst:
            self.worst = seconds
        place = 0
        while place < len(_BOUNDS) and seconds > _BOUNDS[place]:
            place += 1
        self.buckets[place] += 1


class MethodTable:
    """The counts of all methods of a server.

    Attributes:
        refused: calls that ended before a method began.
    """

    __slots__ = ("_by_method", "_by_name", "refused")

    def __init__(self) -> None:
        self.refused: int = 0
        self._by_method: dict[object, _Counts] = {}
        self._by_name: dict[str, _Counts] = {}

    def add(self, call: IncomingCall, seconds: float, failed: bool) -> None:
        """Count a call that has ended."""
        function = getattr(call.method, "__func__", None)
        counts = None if function is None else self._by_method.get(function)
        if counts is None:
            counts = self._find(call, function)
        counts.add(seconds, failed)

    def _find(self, call: IncomingCall, function: object) -> _Counts:
        interface = name_of(call)
        name = f"{interface}.{call.name}" if interface else call.name
        full = len(self._by_name) >= _MOST_METHODS
        if full:
            name = "(others)"
        counts = self._by_name.get(name)
        if counts is None:
            counts = self._by_name[name] = _Counts(name)
        if function is not None and not full:
            self._by_method[function] = counts
        return counts

    def statistics(self) -> list[MethodStatistics]:
        """Return the counts of each method, by name."""
        found = [self._by_name[name] for name in sorted(self._by_name)]
        return [
            MethodStatistics(one.name, one.count, one.errors, one.total, one.worst, tuple(one.buckets))
            for one in found
        ]


class Counting(CallListener):
    """Counts the calls of one connection.

    Args:
        table: of its server.
        clock: in seconds.
        watcher: is told of each call; None when nobody wants to know.

    Attributes:
        running: the calls that have begun and not ended, with the time of their beginning.
    """

    __slots__ = ("_clock", "_table", "_watcher", "running")

    def __init__(
        self, table: MethodTable, clock: Callable[[], float], watcher: CallWatcher | None = None
    ) -> None:
        self._table = table
        self._clock = clock
        self._watcher = watcher
        self.running: dict[IncomingCall, float] = {}

    def call_began(self, call: IncomingCall) -> None:
        began = self._clock()
        self.running[call] = began
        if self._watcher is not None:
            self._watcher.began(call, began)

    def call_ended(self, call: IncomingCall, error: BaseException | None) -> None:
        began = self.running.pop(call, None)
        if began is None:
            self._table.refused += 1
            return
        self._table.add(call, self._clock() - began, error is not None)
        if self._watcher is not None:
            self._watcher.ended(call, error)


def name_of(call: IncomingCall) -> str:
    """Return the name of the class whose method a call runs; empty where it is of none, or of this library."""
    receiver = getattr(call.method, "__self__", None)
    return "" if receiver is None else type(receiver).__name__
