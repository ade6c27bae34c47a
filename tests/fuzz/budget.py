"""The budget of an input: processor time that grows with its size. It is measured again before it counts as a finding.

The bound finds quadratic code, not slow code: a MiB may cost twenty times the goal of bench.hostile. Processor time of
one thread hardly depends on other work of the machine, and the least of three runs is judged.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Final, TypeVar

__all__ = ["PER_MIB_OF_CALLS", "Meter", "TooSlow", "allowed", "expect_slower", "judged"]

_T = TypeVar("_T")

#: Seconds for any input, and for each MiB of it that is only decoded.
BASE: Final = 0.05
PER_MIB: Final = 1.0
#: The same if a broker handles it: twice the cost of the costliest shape, calls on the answers of calls.
PER_MIB_OF_CALLS: Final = 2.0

#: Runs of an input that seems to cost too much.
_RUNS: Final = 3

_MIB: Final = 1024 * 1024

_slower = [1.0]


class TooSlow(AssertionError):
    """An input costs more than its size allows, each time."""


class Meter:
    """Adds up the processor time of its ``with`` blocks; the garbage collector rests in them.

    Attributes:
        seconds: so far.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = 0.0
        self._collects = False

    def __enter__(self) -> Meter:
        self._collects = gc.isenabled()
        gc.disable()  # it examines everything else in memory
        self._began = time.thread_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += time.thread_time() - self._began
        if self._collects:
            gc.enable()


def expect_slower(times: float) -> None:
    """Code runs so many times slower from now on, because it is instrumented."""
    _slower[0] = times


def allowed(size: int, per_mib: float = PER_MIB) -> float:
    """Return the seconds that an input of ``size`` bytes may cost."""
    return _slower[0] * (BASE + per_mib * size / _MIB)


def judged(size: int, run: Callable[[Meter], _T], per_mib: float = PER_MIB) -> _T:
    """Run, measured by the parts that ``run`` puts under the meter, and return its result.

    Args:
        size: bytes of the input.
        run: does the same each time that it is called.
        per_mib: seconds for each MiB.

    Raises:
        TooSlow: it costs more than allowed, three times in a row.
    """
    most = allowed(size, per_mib)
    meter = Meter()
    result = run(meter)
    least = meter.seconds
    for _ in range(_RUNS - 1):
        if least <= most:
            break
        meter = Meter()
        run(meter)
        least = min(least, meter.seconds)
    if least > most:
        raise TooSlow(
            f"{least:.2f} s of processor time for {size} bytes, {most:.2f} at most, in {_RUNS} runs"
        )
    return result
