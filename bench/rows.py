"""The rows, in the order of the table: modules of ``bench.peers``, imported only in their own processes."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from typing import Final

OURS: Final = "perspective-broker"


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    name: str
    label: str
    needs: tuple[str, ...]
    """Distributions without which the row cannot run."""
    column: str = ""
    """The only column in which it is measured; empty for all."""

    def missing(self) -> list[str]:
        """The required distributions that are not installed."""
        return [need for need in self.needs if version_of(need) is None]


def version_of(distribution: str) -> str | None:
    """The installed version of a distribution, None if it is not there."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


ROWS: Final[dict[str, Row]] = {
    row.name: row
    for row in (
        Row("floor", "floor", ("uvloop", "msgspec")),
        Row("corked_floor", "corked floor", ("uvloop", "msgspec")),
        Row("pb7", "ours pb7", (OURS,)),
        Row("pb7_polling", "ours pb7, busy_poll", (OURS,), "one"),
        Row("classic", "ours classic", (OURS,)),
        Row("classic_polling", "ours classic, busy_poll", (OURS,), "one"),
        Row("ours_to_twisted", "ours -> Twisted", (OURS, "twisted")),
        Row("twisted_to_ours", "Twisted -> ours", (OURS, "twisted")),
        Row("compat", "Twisted's names, ours", (OURS, "twisted")),
        Row("twisted_pb", "Twisted PB", ("twisted",)),
        Row("foolscap", "Foolscap", ("foolscap",)),
        Row("pyro5", "Pyro5", ("Pyro5", "msgpack")),
        Row("rpyc", "RPyC", ("rpyc",)),
        Row("grpc_aio", "grpc.aio", ("grpcio", "msgspec")),
        Row("pycapnp", "pycapnp", ("pycapnp",)),
    )
}
