"""Alternatives: several urls of one service, of which any will do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeAlias

from ..errors import ConnectionLost, ProtocolError, TLSError, Unavailable
from .references import RemoteReference

__all__ = ["Alternatives", "Establish"]

#: Connects, and logs in.
Establish: TypeAlias = Callable[[], Coroutine[Any, Any, RemoteReference]]

#: Errors after which another url may serve. (A login that was refused would be refused there as well.)
_OF_THE_URL: Final = (OSError, ConnectionLost, ProtocolError, TLSError, Unavailable)

#: Seconds for which a url that refused is asked after the others.
_AVOIDED_SECONDS: Final = 10.0


class Alternatives:
    """Tries urls one after the other, and begins next time with the one behind that which served last.

    So a client that loses a server, or is told that it drains, is at another one at once.

    Args:
        urls: for messages.
        ways: one for each url.
    """

    def __init__(self, urls: Sequence[str], ways: Sequence[Establish]) -> None:
        self._urls = urls
        self._ways = ways
        self._next = 0  # where to begin
        self._refused: dict[int, float] = {}  # when each of them did

    async def establish(self) -> RemoteReference:
        """Connect to the first that serves.

        Raises:
            Exception: of the last one; its notes say what became of the others.
        """
        clock = asyncio.get_running_loop().time
        notes: list[str] = []
        order = self._order(clock())
        for number in order:
            try:
                reference = await self._ways[number]()
            except _OF_THE_URL as error:
                self._refused[number] = clock()
                if number == order[-1]:
                    for note in notes:
                        error.add_note(note)
                    raise
                notes.append(f"{self._urls[number]}: {type(error).__name__}: {error}")
            else:
                self._next = (number + 1) % len(self._ways)
                self._refused.pop(number, None)
                return reference
        raise AssertionError

    def _order(self, now: float) -> list[int]:
        count = len(self._ways)
        order = [(self._next + step) % count for step in range(count)]
        avoided = {number for number, when in self._refused.items() if now - when < _AVOIDED_SECONDS}
        return [*(it for it in order if it not in avoided), *(it for it in order if it in avoided)]
