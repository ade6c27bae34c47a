"""Admission: what one connection may do, how often and how long, until its peer has logged in."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from ..errors import LoginFailed
from .authorizer import Authorizer
from .perspective import LoginConnection

__all__ = ["Admission", "Judge", "refusal"]

log = logging.getLogger("perspective_broker")

#: Attempts for one name that may wait for their turn at a time; more fail unjudged. Where each waits a minute, that
#: leaves a stranger with many connections eight guesses a minute.
_MAX_WAITING: Final = 8

#: Challenges that a peer may ask for beyond the logins it may fail: some are never answered.
_SPARE_CHALLENGES: Final = 5


def refusal() -> LoginFailed:
    """Return the one thing that is said of every login that fails."""
    return LoginFailed("the login was refused")


class Judge:
    """Decides attempts to log in, each when it is time for that. One for all connections.

    Args:
        authorizer: counts the failures of a name, and says how long the next attempt has to wait.
    """

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer
        self._waiting: Counter[str] = Counter()

    async def judge(self, name: str, check: Callable[[], bool]) -> bool:
        """Return what ``check`` says of an attempt to log in as ``name``.

        Counted before it waits and before it is checked: attempts side by side see each other.

        Raises:
            StoreError: the authorizer cannot say.
        """
        time = asyncio.get_running_loop().time
        await self._authorizer.record_failure(name, time())
        delay = await self._authorizer.delay_for(name, time())
        if delay > 0:
            one_too_many = self._waiting[name] >= _MAX_WAITING
            self._waiting[name] += 1
            try:
                await asyncio.sleep(delay)
            finally:
                self._waiting[name] -= 1
                if not self._waiting[name]:
                    del self._waiting[name]
            if one_too_many:
                return False
        if not check():
            return False
        await self._authorizer.record_success(name)
        return True


class Admission:
    """Counts the attempts of one connection, and ends it when there are too many or none.

    Until the first that succeeds, the peer is a stranger and lives under :meth:`Limits.before_login`.

    Args:
        judge: decides.
        connection: which.
    """

    def __init__(self, judge: Judge, connection: LoginConnection) -> None:
        self._judge = judge
        self._connection = connection
        self._limits = connection.limits
        self._loop = asyncio.get_running_loop()
        self._failures = 0  # and attempts that are being judged
        self._judging = 0
        self._challenges = 0
        self._timer: asyncio.TimerHandle | None = None
        self._admitted = False
        connection.expect_login()
        connection.on_disconnect(self._on_disconnect)
        self._wait_for_attempt()

    def challenge(self) -> float:
        """Count a challenge that the peer asks for, and return when it expires.

        Raises:
            LoginFailed: there were too many since the last login.
        """
        self._challenges += 1
        if self._challenges > self._limits.logins + _SPARE_CHALLENGES:
            self._end_soon()
            raise refusal()
        self._wait_for_attempt()
        return self._loop.time() + self._limits.login_seconds

    async def attempt(self, name: str, expires: float | None, check: Callable[[], bool]) -> None:
        """Admit the peer if ``check`` says so.

        Args:
            name: as whom it wants to log in.
            expires: its challenge's; None when that was used before.
            check: whether its response to the challenge fits.

        Raises:
            LoginFailed: it does not, or it is too late, or too often.
        """
        if self._failures >= self._limits.logins:
            raise refusal()
        self._failures += 1
        self._judging += 1
        try:
            in_time = expires is not None and self._loop.time() < expires
            if not in_time or not await self._judge.judge(name, check):
                raise refusal()
            self._failures -= 1
            self.admit()
        finally:
            self._judging -= 1
            self._look_at_failures()

    def failed(self) -> None:
        """Count that the peer, logged in or not, asked for what it has no key for."""
        self._failures += 1
        self._look_at_failures()

    def admit(self) -> None:
        """The peer has logged in."""
        self._challenges = 0
        self._stop_timer()
        if not self._admitted:
            self._admitted = True
            self._connection.welcome()

    def _look_at_failures(self) -> None:
        if self._failures >= self._limits.logins and not self._judging:
            self._end_soon()
        else:
            self._wait_for_attempt()

    def _end_soon(self) -> None:
        # In a later turn of the loop: what the attempt came to is said first.
        self._loop.call_soon(self._connection.end, "too-many-logins", "too many logins have failed")

    def _wait_for_attempt(self) -> None:
        """Hang up if nothing more is tried for a while."""
        self._stop_timer()
        if not self._admitted:
            self._timer = self._loop.call_later(self._limits.login_seconds, self._too_late)

    def _too_late(self) -> None:
        if self._judging:
            self._wait_for_attempt()
        else:
            self._connection.end("login-timeout", f"no login was tried in {self._limits.login_seconds:g} s")

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_disconnect(self, connection: Any) -> None:
        self._admitted = True  # in that there is nothing to wait for any more
        self._stop_timer()
