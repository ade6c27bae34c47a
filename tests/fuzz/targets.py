"""Every target by name. The first line of its module is the invariant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.fuzz import (
    banana,
    broker,
    connection,
    interfaces,
    jelly,
    monitor,
    pb7,
    proxies,
    scram,
    twisted_banana,
    twisted_jelly,
)

__all__ = ["TARGETS"]

#: Name -> a function of bytes that raises when the invariant does not hold.
TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "banana": banana.target,
    "jelly": jelly.target,
    "monitor": monitor.target,
    "pb7": pb7.target,
    "broker": broker.target,
    "connection": connection.target,
    "interfaces": interfaces.target,
    "proxies": proxies.target,
    "scram": scram.target,
    "twisted_banana": twisted_banana.target,
    "twisted_jelly": twisted_jelly.target,
}
