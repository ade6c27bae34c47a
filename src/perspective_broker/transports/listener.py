"""Listener: the result of listening, the same for all transports."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Listener"]


class Listener(Protocol):
    """An address on which a server listens."""

    @property
    def urls(self) -> list[str]:
        """The urls at which it can be reached, with the ports that were bound."""

    def close(self) -> None:
        """Stop accepting; connections go on. May be called twice."""

    async def wait_closed(self) -> None:
        """Wait until the address is free again."""
