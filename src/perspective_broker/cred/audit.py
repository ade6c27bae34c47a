"""The audit trail: one line for each login, successful or refused, with the true reason; the peer hears none of it.

A line is written after the answer has left, because the time of an answer must not depend on the reason. A name that no
user has is shown as a keyed hash, because people type passwords there. Beyond :data:`LINES` refusals of one source in a
minute there is one line at its end, with their number. All texts of a line are ours or the store's, except hashes and
addresses, so that a program which reads the log cannot be misled by a name.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from .lifetime import LoginConnection

__all__ = ["LINES", "MINUTE", "Audit"]

log: logging.Logger = logging.getLogger("perspective_broker")

#: Refusals of one source that have a line each in one minute: enough for a program that bans a source to see it.
LINES: Final = 10
MINUTE: Final = 60.0

#: Sources that are remembered; a new one pushes out the oldest.
_MOST_SOURCES: Final = 1024


class _Source:
    """The lines about one source in the minute that has begun."""

    __slots__ = ("lines", "more", "until")

    def __init__(self, until: float) -> None:
        self.until = until
        self.lines = 0
        self.more = 0


class Audit:
    """The audit trail of one application or portal."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(16)
        self._sources: OrderedDict[str, _Source] = OrderedDict()

    def hidden(self, name: str) -> str:
        """Return a keyed hash to show in place of a name that no user has."""
        digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=6, key=self._key)
        return f"unknown-{digest.hexdigest()}"

    def accepted(self, connection: LoginConnection, name: str, method: str) -> None:
        """A peer has logged in."""
        _later(self._write_accepted, connection, name, method)

    def refused(
        self, connection: LoginConnection, name: str, method: str, why: str, *, known: bool = True
    ) -> None:
        """A login, or a request for a perspective, was refused.

        Args:
            connection: of the peer.
            name: that of a user, or ``""`` when it was not looked at.
            method: such as ``"SCRAM"``.
            why: the true reason.
            known: whether it is the name of a user.
        """
        shown = ascii(name[:64]) if known and name else self.hidden(name) if name else "somebody"
        _later(self._write_refused, connection, shown, method, why)

    def _write_accepted(self, connection: LoginConnection, name: str, method: str) -> None:
        extra = {"pb_peer": connection.peer, "pb_user": name, "pb_code": "login"}
        log.info(
            "login accepted: %s by %s from %s", ascii(name[:64]), method, _place(connection), extra=extra
        )

    def _write_refused(self, connection: LoginConnection, shown: str, method: str, why: str) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        key = connection.source or "this machine"
        source = self._sources.get(key)
        if source is None or now >= source.until:
            if source is not None:
                self._sum_up(key, source)
            source = self._sources[key] = _Source(now + MINUTE)
            self._sources.move_to_end(key)
            if len(self._sources) > _MOST_SOURCES:
                self._sum_up(*self._sources.popitem(last=False))
        if source.lines >= LINES:
            if not source.more:
                loop.call_later(max(0.0, source.until - now), self._sum_up, key, source)
            source.more += 1
            return
        source.lines += 1
        extra = {"pb_peer": connection.peer, "pb_user": shown, "pb_code": "login-refused"}
        log.warning(
            "login refused: %s by %s from %s: %s", shown, method, _place(connection), why, extra=extra
        )

    def _sum_up(self, key: str, source: _Source) -> None:
        more, source.more = source.more, 0
        if more:
            extra = {"pb_peer": key, "pb_code": "login-refused"}
            log.warning("logins refused: %s more from %s within a minute", more, key, extra=extra)


def _place(connection: LoginConnection) -> str:
    """Return where a peer is; a path may have spaces in it, so it is one word in quotes."""
    return connection.peer if " " not in connection.peer else ascii(connection.peer)


def _later(write: Callable[..., None], *arguments: object) -> None:
    """Write a line after the answer that is being made has left: two turns of the loop later."""
    loop = asyncio.get_running_loop()
    loop.call_soon(loop.call_soon, write, *arguments)
