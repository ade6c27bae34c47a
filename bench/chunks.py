"""What it costs to read a 10 MB message that comes in 64-byte pieces, beside one that comes whole.

Run it as ``python -m bench.chunks``. Both dialects, two shapes of message: large strings, and many small values. A
codec that looked at a piece again for every piece behind it would be thousands of times slower on the left.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from perspective_broker import Limits, Root
from perspective_broker.testing import BrokerPair

SIZE = 10_000_000
PIECE = 64
ROUNDS = 5

#: Room for the message in every respect.
LIMITS = Limits(message_bytes=2 * SIZE, nodes=10_000_000, large_string_bytes=2 * SIZE)

SHAPES: dict[str, Callable[[], Any]] = {
    "20 strings of 500 kB": lambda: [bytes([65 + n]) * (SIZE // 20) for n in range(20)],
    "small values": lambda: [{"user": "alice", "n": n, "ratio": 0.5} for n in range(SIZE // 45)],
}


class Taker(Root):
    """Takes a value, so that all of it is decoded."""

    def remote_take(self, value: Any) -> int:
        return len(value)


def seconds_to_read(dialect: str, value: Any, piece: int | None) -> tuple[float, int]:
    """Return how long the receiving broker takes to read, decode and run one call, and the call's size."""
    with BrokerPair(Taker(), dialects=[dialect], limits=LIMITS) as pair:
        pair.run()
        pair.root.call("take", value)
        data = pair.client.take()
        receiver = pair.server
        began = time.perf_counter()
        if piece is None:
            receiver.receive(data)
        else:
            for start in range(0, len(data), piece):
                receiver.receive(data[start : start + piece])
        seconds = time.perf_counter() - began
        pair.link.cut()
    return seconds, len(data)


def main() -> None:
    """Print the table."""
    print(f"{'dialect':8} {'message':22} {'MB':>6} {'whole':>9} {'64-byte pieces':>15} {'ratio':>7}")
    for dialect in ("pb", "pb7"):
        for shape, make in SHAPES.items():
            value = make()
            pairs = []
            for _ in range(ROUNDS):
                whole, size = seconds_to_read(dialect, value, None)
                pieces, _ = seconds_to_read(dialect, value, PIECE)
                pairs.append((whole, pieces))
            whole, pieces = (statistics.median(column) for column in zip(*pairs, strict=True))
            ratio = statistics.median(pieces / whole for whole, pieces in pairs)
            print(f"{dialect:8} {shape:22} {size / 1e6:6.1f} {whole:8.3f}s {pieces:14.3f}s {ratio:7.2f}")


if __name__ == "__main__":
    main()
