"""``pb status``: the statistics of a server and of each of its workers, by its control socket."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

from cyclopts import Parameter

from ..aio import connect, run
from ..transports import parse_url
from ..workers import WorkerStatistics, add_up
from .client import Url
from .status import CommandError, Status

__all__ = ["EXAMPLES", "status"]

#: Shown at the end of its help.
EXAMPLES: Final = r"""
Examples:

```console
pb status unix:///run/chat/control.sock
pb status unix:///run/chat/control.sock --json
```

Exit codes: 0 it answered, 2 wrong usage, 3 no connection or no answer.
"""


def status(
    url: Annotated[
        Url, Parameter(help="What pb serve --control was given, such as unix:///run/chat/control.sock.")
    ],
    /,
    *,
    json: Annotated[bool, Parameter(help="Print one JSON object.", negative="", show_default=False)] = False,
    timeout: Annotated[float, Parameter(help="Seconds to wait for the answer.")] = 10.0,
) -> None:
    """Print the statistics of a server: of each worker, and of all together.

    The columns are the fields of server.statistics(); lags are in seconds, and of all workers the greatest. A worker is
    starting, serving, leaving, or silent, when it does not answer.
    """
    if parse_url(url).scheme != "unix":
        raise CommandError(
            Status.USAGE, "a control socket is a unix:// url: what pb serve --control was given"
        )
    workers = run(_asked(url, timeout))
    print(_as_json(workers) if json else _as_table(workers))


async def _asked(url: str, timeout: float) -> list[WorkerStatistics]:
    async with connect(url, timeout=timeout) as root:
        return [WorkerStatistics(**worker) for worker in await root.call("statistics")]


def _as_json(workers: list[WorkerStatistics]) -> str:
    shown: list[dict[str, Any]] = [
        {"worker": one.worker, "process": one.process, "state": one.state, **one.statistics}
        for one in workers
    ]
    return json.dumps({"workers": shown, "total": add_up(workers)})


def _as_table(workers: list[WorkerStatistics]) -> str:
    total = add_up(workers)
    rows = [["worker", "process", "state", *total]]
    for one in workers:
        numbers = [_number(one.statistics[name]) if name in one.statistics else "-" for name in total]
        rows.append([str(one.worker or "-"), str(one.process), one.state, *numbers])
    if len(workers) != 1:
        rows.append(["all", "", "", *map(_number, total.values())])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_line(row, widths) for row in rows)


def _line(row: list[str], widths: list[int]) -> str:
    worker, process, state, *numbers = row
    cells = [worker.rjust(widths[0]), process.rjust(widths[1]), state.ljust(widths[2])]
    cells += [number.rjust(width) for number, width in zip(numbers, widths[3:], strict=True)]
    return "  ".join(cells).rstrip()


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.3f}"
