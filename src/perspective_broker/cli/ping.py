"""``pb ping``: whether a peer answers, in which dialect, and how fast (with :meth:`Connection.ping`)."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Annotated, Final

from cyclopts import Parameter
from cyclopts.validators import Number

from ..aio import RemoteReference, run
from .client import ClientOptions, Credentials, Url, connected
from .status import CommandError, Status

__all__ = ["EXAMPLES", "ping"]

#: Shown at the end of its help.
EXAMPLES: Final = r"""
Examples:

```console
pb ping tcp://127.0.0.1:8787
pb ping unix:///run/jobs.sock --count 1000 --interval 0
pb ping tcp://127.0.0.1:8787 --dialect pb --count 0  # does it speak the classic dialect?
```

Exit codes: 0 it answered, 2 wrong usage, 3 no connection or no answer, 4 no login.
"""


def ping(
    url: Annotated[Url, Parameter(help="Where the peer listens, such as tcp://127.0.0.1:8787.")],
    /,
    *,
    count: Annotated[
        int, Parameter(alias="-c", help="How many round trips to make.", validator=Number(gte=0))
    ] = 4,
    interval: Annotated[
        float, Parameter(alias="-i", help="Seconds from one to the next.", validator=Number(gte=0))
    ] = 0.5,
    options: ClientOptions = ClientOptions(),  # noqa: B008 # a frozen value
) -> None:
    """Connect to a peer, print the dialect, and measure round trips.

    The first line shows the time until calls could be made: connecting, the greetings of both sides, and the login,
    if any. Then follow calls to an object that the peer does not have. Their answer is an error of the protocol, so
    no method is needed and no code of the application runs; a peer made with this library logs them at level info.
    """
    options.prepare()
    run(_ping(url, options, options.credentials(url), count, interval))


async def _ping(
    url: str, options: ClientOptions, credentials: Credentials, count: int, interval: float
) -> None:
    began = time.perf_counter()
    async with connected(url, options, credentials) as root:
        established = time.perf_counter() - began
        print(f"{url} speaks {root.connection.dialect}: established in {_shown(established)}", flush=True)
        times = []
        for number in range(1, count + 1):
            if number > 1:
                await asyncio.sleep(interval)
            times.append(await _round_trip(root, url, options))
            print(f"{number}: {_shown(times[-1])}", flush=True)
    if times:
        print(
            f"{count} round trips: minimum {_shown(min(times))}, median {_shown(statistics.median(times))}, "
            f"maximum {_shown(max(times))}"
        )


async def _round_trip(root: RemoteReference, url: str, options: ClientOptions) -> float:
    """Return the seconds of one round trip.

    Raises:
        CommandError: no answer has arrived in time.
    """
    try:
        async with asyncio.timeout(options.seconds) as limit:
            return await root.connection.ping()
    except TimeoutError:
        if not limit.expired():
            raise
        raise CommandError(Status.CONNECTION, f"{url} did not answer within {options.timeout:g} s") from None


def _shown(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms"
