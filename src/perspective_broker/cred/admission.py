"""Admission: what one connection may do, how often and how long, until its peer has logged in."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from ..errors import BrokerError, Error, LoginFailed, Unavailable
from .attempts import MOST_WAITING, SPARE_CHALLENGES, SourceTable
from .authorizer import Authorizer, StoreError
from .lifetime import LoginConnection

__all__ = ["Admission", "LoginThrottle", "refusal"]

log = logging.getLogger("perspective_broker")

#: Steps of logins that begin in one turn of the event loop. One takes 1 ms at most: SCRAM is Python.
_STEPS_PER_TURN: Final = 8

#: Steps that wait for a turn: about five seconds of them. A client that waits longer is better off coming again later.
_MOST_STEPS: Final = 4096

#: Seconds between two lines of the log that say that logins fail.
_COMPLAINT_SECONDS: Final = 1.0


def refusal() -> LoginFailed:
    """Return the one thing that is said of every login that fails."""
    return LoginFailed("the login was refused")


def busy() -> Unavailable:
    """Return the error of every login that was not judged, whatever the reason."""
    return Unavailable("no login is possible at the moment", code="busy")


class Turns:
    """Lets some steps of logins begin in each turn of the event loop, first come, first served."""

    def __init__(self) -> None:
        self._left = _STEPS_PER_TURN
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._scheduled = False
        self._loop: asyncio.AbstractEventLoop | None = None  # an application may be served again, by another

    async def wait(self) -> None:
        """Wait for a turn in which there is time for one more step.

        Raises:
            Unavailable: too many wait already.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._scheduled = loop, False
            self._waiting.clear()
        if not self._scheduled:
            self._scheduled = True
            self._left = _STEPS_PER_TURN
            loop.call_soon(self._next, loop)
        if self._left and not self._waiting:
            self._left -= 1
            return
        if len(self._waiting) >= _MOST_STEPS:
            raise busy()
        waiting: asyncio.Future[None] = loop.create_future()
        self._waiting.append(waiting)
        await waiting

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        self._left = _STEPS_PER_TURN
        while self._left and self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():  # its connection may have ended
                waiting.set_result(None)
                self._left -= 1
        self._scheduled = self._left < _STEPS_PER_TURN
        if self._scheduled:
            loop.call_soon(self._next, loop)


class LoginThrottle:
    """Decides attempts to log in, each when it is time for that. One for all connections.

    A throttle by source, or because too much goes on, is ``Unavailable``; it is decided without looking at the name.
    An attempt for a name with failures waits, whether there is such a user or not. One whose source has no failures
    of late does not: an owner gets in while strangers guess his password.

    Args:
        authorizer: counts the failures of a name, and says how long the next attempt has to wait.

    Attributes:
        turns: each step of a login waits for one of them.
    """

    def __init__(self, authorizer: Authorizer) -> None:
        self.turns = Turns()
        self._authorizer = authorizer
        self._sources = SourceTable()
        self._waiting: Counter[str] = Counter()
        self._key = secrets.token_bytes(16)
        self._last_logged = -_COMPLAINT_SECONDS

    def check_source(self, source: str | None) -> None:
        """Refuse a source with too many failures.

        Raises:
            Unavailable: it is one.
        """
        if source is not None and self._sources.is_exhausted(source, asyncio.get_running_loop().time()):
            raise busy()

    async def check(self, name: str, source: str | None, check: Callable[[], bool]) -> bool:
        """Return what ``check`` says of an attempt to log in as ``name``.

        Counted before it waits and before it is checked: attempts side by side see each other.

        Args:
            name: as it was sent.
            source: where it comes from; None where sources cannot be told apart.
            check: compares the proof.

        Raises:
            Unavailable: it was not judged.
            StoreError: the authorizer cannot say.
        """
        time = asyncio.get_running_loop().time
        self.check_source(source)
        await self._authorizer.record_failure(name, time())
        delay = await self._authorizer.delay_for(name, time())
        await self.turns.wait()
        if delay > 0 and (source is None or not self._sources.is_clean(source, time())):
            await self._wait(name, delay, bounded=source is None)
            await self.turns.wait()
        self.check_source(source)
        if not check():
            if source is not None:
                self._sources.record_failure(source, time())
            return False
        await self._authorizer.record_success(name)
        return True

    async def _wait(self, name: str, delay: float, *, bounded: bool) -> None:
        if bounded and self._waiting[name] >= MOST_WAITING:
            raise busy()
        self._waiting[name] += 1
        try:
            await asyncio.sleep(delay)
        finally:
            self._waiting[name] -= 1
            if not self._waiting[name]:
                del self._waiting[name]

    @contextmanager
    def hiding_errors(self) -> Iterator[None]:
        """Tell the log, and not the peer, what goes wrong in here: it has not logged in.

        Raises:
            Unavailable: something went wrong that is neither the library's own refusal nor a ``pb.Error``.
        """
        try:
            yield
        except Exception as error:
            if isinstance(error, (Error, BrokerError)) and not isinstance(error, StoreError):
                raise
            now = asyncio.get_running_loop().time()
            if now - self._last_logged >= _COMPLAINT_SECONDS:
                self._last_logged = now
                log.error("logins fail", exc_info=error)
            raise busy() from None

    def log_name(self, name: str) -> str:
        """Return what stands in the log for a name without a user, because people type passwords there."""
        return hashlib.blake2b(
            name.encode("utf-8", "surrogatepass"), digest_size=6, key=self._key
        ).hexdigest()


class Admission:
    """Counts the attempts of one connection, and ends it when there are too many or none.

    Until the first that succeeds, the peer is a stranger and lives under :meth:`Limits.before_login`.

    Args:
        throttle: decides.
        connection: which.
    """

    def __init__(self, throttle: LoginThrottle, connection: LoginConnection) -> None:
        self._throttle = throttle
        self._connection = connection
        self._limits = connection.limits
        self._loop = asyncio.get_running_loop()
        self._failures = 0  # and attempts that are being judged
        self._checking = 0
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
            Unavailable: there were too many failures where the peer comes from.
        """
        self._challenges += 1
        if self._challenges > self._limits.logins + SPARE_CHALLENGES:
            self._end_soon()
            raise refusal()
        self._throttle.check_source(self._connection.source)
        self._wait_for_attempt()
        return self._loop.time() + self._limits.login_seconds

    async def attempt(
        self, name: str, expires: float | None, check: Callable[[], bool], log_reason: str = ""
    ) -> None:
        """Admit the peer if ``check`` says so.

        Args:
            name: as whom it wants to log in.
            expires: its challenge's; None when that was used before.
            check: whether its response to the challenge fits.
            log_reason: why it cannot, whatever it is; for the log.

        Raises:
            LoginFailed: it does not, or it is too late, or too often.
            Unavailable: it was not judged.
        """
        with self.attempting():
            in_time = expires is not None and self._loop.time() < expires
            with self._throttle.hiding_errors():
                fits = in_time and await self._throttle.check(name, self._connection.source, check)
            if not fits:
                self._explain_later(
                    name, log_reason or ("a wrong password" if in_time else "a challenge too old")
                )
                raise refusal()

    @contextmanager
    def attempting(self) -> Iterator[None]:
        """Admit the peer unless an error is raised in here.

        An attempt counts as a failure until it has succeeded, so that attempts side by side see each other. An error of
        the application, which explains itself to the peer, does not count.

        Raises:
            LoginFailed: too many have failed, or may yet fail.
        """
        self.check_failures()
        self._failures += 1
        self._checking += 1
        try:
            yield
        except Exception as error:
            if not isinstance(error, (LoginFailed, Unavailable)):
                self._failures -= 1
            raise
        else:
            self._failures -= 1
            self.admit()
        finally:
            self._checking -= 1
            self._look_at_failures()

    def check_failures(self) -> None:
        """Refuse the peer if as many attempts have failed, or are under way, as may fail.

        Raises:
            LoginFailed: it is so.
        """
        if self._failures >= self._limits.logins:
            raise refusal()

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

    def _explain_later(self, name: str, why: str) -> None:
        """Tell the log why a login has failed, when the answer has left: it must not take longer for one reason."""
        self._loop.call_soon(self._loop.call_soon, self._explain, name, why)

    def _explain(self, name: str, why: str) -> None:
        whom = self._throttle.log_name(name) if why == "no user" else ascii(name[:64])
        log.info("a login as %s from %s failed: %s", whom, self._connection.peer, why)

    def _look_at_failures(self) -> None:
        if self._failures >= self._limits.logins and not self._checking:
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
        if self._checking:
            self._wait_for_attempt()
        else:
            self._connection.end("login-timeout", f"no login was tried in {self._limits.login_seconds:g} s")

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_disconnect(self, connection: object) -> None:
        self._admitted = True  # in that there is nothing to wait for any more
        self._stop_timer()
