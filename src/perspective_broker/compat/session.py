"""The core's broker under this face. Compiled, like the class it derives from."""

from __future__ import annotations

import time
from typing import Any

from .. import flavors
from ..limits import Limits
from ..ports import ObjectId
from ..session import Broker

__all__ = ["FaceSession"]


class FaceSession(Broker):
    """The core's broker, which tells this face two moments that Twisted's programs know.

    Attributes:
        face: the Protocol, a :class:`perspective_broker.compat.broker.Broker`.
    """

    def __init__(self, face: Any, limits: Limits) -> None:
        super().__init__(face, limits, time.monotonic())
        self.face = face

    def on_dialect(self, dialect: Any, rest: bytes) -> None:
        super().on_dialect(dialect, rest)
        self.face.connectionReady()  # Twisted's begin here, before the peer has said its version

    def introduce_cache(self, luid: int, cls: type[flavors.RemoteCache]) -> flavors.RemoteCache:
        replica = super().introduce_cache(luid, cls)
        self.face.watch(replica)
        return replica

    def import_cache(self, luid: int) -> flavors.RemoteCache:
        replica = super().import_cache(luid)
        self.face.watch(replica)
        return replica

    def decode_value(self, jelly: Any, perspective: Any) -> Any:
        """Return what lists, as they came from the peer, stand for."""
        return self._dialect.decode_value(jelly, perspective)

    def on_release(self, luid: ObjectId, count: int) -> None:
        held = self.face.localObjects.get(luid)
        super().on_release(luid, count)
        if held is not None and luid not in self.face.localObjects:
            self.face.clean_up(held.object)
