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

    def accept_waiting(self) -> None:
        """Accept the connections that wait in the system's queue, because closing would reset them."""

    async def wait_begun(self) -> None:
        """Wait until each connection that was accepted has its protocol, or was refused."""

    async def wait_closed(self) -> None:
        """Wait until the address is free again."""
