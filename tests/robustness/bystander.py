"""A bystander: a process with a connection of its own and a steady call. Run by :mod:`.rig`."""

from __future__ import annotations

import asyncio
import sys
import time

import perspective_broker as pb

#: Seconds between an answer and the next call.
PACE = 0.002


async def main(url: str) -> None:
    """Call until the server is gone."""
    gap = 0.0
    try:
        async with pb.connect(url) as root:
            while True:
                began = time.monotonic()
                await root.call("tick", gap)
                gap = time.monotonic() - began
                await asyncio.sleep(PACE)
    except (pb.ConnectionLost, pb.DeadReferenceError):
        pass


if __name__ == "__main__":
    pb.run(main(sys.argv[1]))
