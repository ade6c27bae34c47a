"""A protocol that records its transport's calls."""

from __future__ import annotations

import asyncio
from typing import cast

__all__ = ["Recorder"]


class Recorder(asyncio.Protocol):
    """Keeps received bytes in ``data``, and everything else in ``events``."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.events: list[str] = []
        self.error: Exception | None = None
        self.can_write = True
        self._transport: asyncio.Transport | None = None
        self.lost = asyncio.Event()

    @property
    def transport(self) -> asyncio.Transport:
        assert self._transport is not None, "not connected"
        return self._transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.events.append("made")

    def data_received(self, data: bytes) -> None:
        assert "made" in self.events
        assert "lost" not in self.events
        self.data += data

    def eof_received(self) -> None:
        self.events.append("eof")

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append("lost")
        self.error = exc
        self.lost.set()

    def pause_writing(self) -> None:
        assert self.can_write
        self.can_write = False

    def resume_writing(self) -> None:
        assert not self.can_write
        self.can_write = True
