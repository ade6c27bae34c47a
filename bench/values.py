"""The values of each column, the same for every row, and the checks that they come back unchanged."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any, Final, Protocol

PAYLOAD: Final[dict[str, Any]] = {"user": "alice", "n": 42, "tags": ["a", "b", "c"], "ratio": 0.5}
"""The small call."""

RECORDS: Final[list[dict[str, Any]]] = [
    {"user": f"user{i}", "n": i, "tags": ["a", "b", "c"], "ratio": i / 8} for i in range(1000)
]

# Random, so that a peer that compresses gains nothing that a real payload would not give it;
# seeded, so that every run and every process has the same.
MEBIBYTE: Final[bytes] = random.Random(6).randbytes(1 << 20)

CHUNK_SIZE: Final = 64 * 1024
CHUNK: Final[bytes] = MEBIBYTE[:CHUNK_SIZE]

POINTS: Final[list[tuple[str, int, float]]] = [(f"p{i}", i, i / 4) for i in range(1000)]
"""State of the 1,000 copyables: name, x, y. The class is each peer's own."""

POINT_TAG: Final = "bench.Point"
BOARD_TAG: Final = "bench.Board"
"""Wire names of the copyable and the cacheable, for the rows in which two libraries meet."""

IN_FLIGHT: Final = 200
OBSERVERS: Final = 100
UPDATES: Final = 10
"""Changes of the cached object per request to change it."""


class Point(Protocol):
    """The attributes of every peer's copyable."""

    name: str
    x: int
    y: float


class Mismatch(Exception):
    """A peer returned another value than it got, so its figures would be meaningless."""


def check_same(sent: object, received: object) -> None:
    """Raise unless a peer echoed the very same value, types included."""
    if not same(sent, received):
        raise Mismatch(f"sent {type(sent).__name__}, received a different {type(received).__name__}")


def same(left: Any, right: Any) -> bool:
    """Equality that distinguishes 1 from 1.0 and True, and a tuple from a list."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(value, right[key]) for key, value in left.items())
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def check_points(points: Iterable[Point], kind: type) -> None:
    """Raise unless these are the 1,000 points, as objects of the peer's own class."""
    received = list(points)
    if not all(isinstance(point, kind) for point in received):
        raise Mismatch(f"not every point arrived as a {kind.__name__}")
    if not same([[*state] for state in POINTS], [[point.name, point.x, point.y] for point in received]):
        raise Mismatch("the points came back different")
