"""``pb bench``: how many calls of a method a peer answers, and how fast."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Annotated, Final

from cyclopts import Parameter
from cyclopts.validators import Number

from ..aio import RemoteReference, run
from .arguments import Arguments, Data, Texts, read_arguments
from .calling import answer, patience
from .client import ClientOptions, Credentials, Url, connected
from .output import show_json
from .status import CommandError, Status

__all__ = ["EXAMPLES", "Times", "bench"]

#: Shown at the end of its help.
EXAMPLES: Final = r"""
Examples:

```console
pb bench tcp://127.0.0.1:8787 greet world
pb bench unix:///run/jobs.sock status --in-flight 1,10,100,1000 --seconds 10
pb bench tcp://127.0.0.1:8787 echo --data '["x"]' --json | jq .p99
```

Exit codes: 0 measured, 1 the method fails, 2 wrong usage, 3 no connection or no answer, 4 no login.
"""

#: The most calls at once: beyond, the caller's own queue is measured.
_MOST_IN_FLIGHT: Final = 10_000


def bench(
    url: Annotated[Url, Parameter(help="Where the peer listens, such as tcp://127.0.0.1:8787.")],
    method: Annotated[str, Parameter(help="The name of the method; it is called as often as it answers.")],
    /,
    *args: Texts,
    data: Data = None,
    seconds: Annotated[
        float, Parameter(help="How long to measure each number of calls in flight.", validator=Number(gt=0))
    ] = 5.0,
    in_flight: Annotated[
        str, Parameter(help="How many calls wait for their answers at a time: one number, or several.")
    ] = "1,100",
    json: Annotated[
        bool, Parameter(help="Print a line of JSON for each number.", negative="", show_default=False)
    ] = False,
    options: ClientOptions = ClientOptions(),  # noqa: B008 # a frozen value
) -> None:
    """Call a method again and again over one connection, and print calls a second and latencies.

    p50 and p99 are the times within which half and 99 of 100 calls were answered, to a percent. With one call in flight
    they show the round trip; with many, what the peer can do. This command takes processor time of its own, so that on
    one machine a peer does better than it shows. Do not bench a method that must not run thousands of times.
    """
    numbers = _numbers(in_flight)
    options.prepare()
    arguments = read_arguments(args, data, stdin_taken=options.reads_stdin)
    run(_bench(url, options, options.credentials(url), method, arguments, numbers, seconds, json))


def _numbers(text: str) -> list[int]:
    """Return the numbers of ``--in-flight``.

    Raises:
        CommandError: it has none, or something else.
    """
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(1 <= number <= _MOST_IN_FLIGHT for number in numbers):
        raise CommandError(
            Status.USAGE,
            f"--in-flight takes numbers from 1 to {_MOST_IN_FLIGHT}, such as 1,100; not {text!a:.80}",
        )
    return numbers


async def _bench(
    url: str,
    options: ClientOptions,
    credentials: Credentials,
    method: str,
    arguments: Arguments,
    numbers: list[int],
    seconds: float,
    json: bool,
) -> None:
    async with connected(url, options, credentials) as root:
        await answer(root, url, options, method, arguments)  # does it work?
        if not json:
            print(_row("in flight", "calls/s", "p50", "p99", "slowest"), flush=True)
        for number in numbers:
            times = Times()
            began = time.perf_counter()
            await _measure(root, url, options, method, arguments, number, began + seconds, times)
            rate = len(times) / (time.perf_counter() - began)
            if json:
                show_json(
                    {
                        "in_flight": number,
                        "calls": len(times),
                        "calls_per_second": round(rate, 1),
                        "p50": round(times.within(0.5), 7),
                        "p99": round(times.within(0.99), 7),
                        "slowest": round(times.slowest, 7),
                    }
                )
            else:
                shown = (f"{number:,}", f"{rate:,.0f}", *map(_shown, (times.within(0.5), times.within(0.99))))
                print(_row(*shown, _shown(times.slowest)), flush=True)


async def _measure(
    root: RemoteReference,
    url: str,
    options: ClientOptions,
    method: str,
    arguments: Arguments,
    number: int,
    until: float,
    times: Times,
) -> None:
    """Keep a number of calls in flight until a moment, and note how long each took.

    Raises:
        CommandError: the peer does not answer any more.
    """

    async def caller() -> None:
        began = time.perf_counter()
        while began < until:
            await root.call(method, *arguments.args, **arguments.kwargs)
            ended = time.perf_counter()
            times.add(ended - began)
            began = ended

    callers = [asyncio.ensure_future(caller()) for _ in range(number)]
    try:
        await asyncio.wait(callers, timeout=until - time.perf_counter(), return_when=asyncio.FIRST_EXCEPTION)
        async with patience(url, options, repr(method)):
            await asyncio.gather(*callers)
    finally:
        for task in callers:
            task.cancel()
        await asyncio.gather(*callers, return_exceptions=True)


class Times:
    """How long calls took. They are counted, not kept, so that a long measurement needs no more memory.

    Attributes:
        slowest: the longest.
    """

    def __init__(self) -> None:
        self.slowest: float = 0.0
        self._counts: dict[int, int] = {}  # by logarithm
        self._total = 0

    def __len__(self) -> int:
        return self._total

    def add(self, seconds: float) -> None:
        """Count a call."""
        step = int(math.log(max(seconds, _LEAST) / _LEAST) / _STEP)
        self._counts[step] = self._counts.get(step, 0) + 1
        self._total += 1
        self.slowest = max(self.slowest, seconds)

    def within(self, part: float) -> float:
        """Return the seconds within which such a part of the calls was answered, to a percent."""
        passed = 0
        for step in sorted(self._counts):
            passed += self._counts[step]
            if passed >= part * self._total:
                return min(_LEAST * math.exp((step + 1) * _STEP), self.slowest)
        return self.slowest


_LEAST: Final = 1e-6
_STEP: Final = math.log(1.01)


def _row(*cells: str) -> str:
    return "".join(f"{cell:>12}" for cell in cells)


def _shown(seconds: float) -> str:
    return (
        f"{seconds * 1e6:.0f} µs"
        if seconds < 1e-3
        else f"{seconds * 1e3:.3g} ms"
        if seconds < 1
        else f"{seconds:.3g} s"
    )
