"""What listening gives back, whatever the transport."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Listener"]


class Listener(Protocol):
    """One address that is listened on."""

    @property
    def urls(self) -> list[str]:
        """The urls at which it can be reached, with the ports that were bound."""

    def close(self) -> None:
        """Accept no more connections; those that were made go on. May be called twice."""

    async def wait_closed(self) -> None:
        """Wait until the address is free again."""
