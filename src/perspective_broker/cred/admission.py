"""Admission: the attempts of a connection to log in, counted and limited until one succeeds."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final, ParamSpec, Protocol, TypeVar

from ..errors import BrokerError, Error, LoginFailed, Unavailable
from .attempts import MOST_WAITING, SPARE_CHALLENGES, SourceTable
from .audit import Audit
from .authorizer import Authorizer, StoreBusy, StoreError
from .lifetime import LoginConnection

__all__ = ["UNKNOWN_USER", "Admission", "AttemptCounter", "LoginThrottle", "refusal"]

log: logging.Logger = logging.getLogger("perspective_broker")

P = ParamSpec("P")
R = TypeVar("R")

#: Login steps that begin in one turn of the event loop. One step takes less than 1 ms, because SCRAM is Python.
_STEPS_PER_TURN: Final = 8

#: Login steps that may wait for a turn, or for the store: eight seconds of them at 1 ms each, which is
#: less than a client waits (30 s). A client that would wait longer should retry later.
_MOST_STEPS: Final = 8192

#: Questions of logins that the store has at a time. A database answers as many at once as it has processors, and its
#: pool of connections, which other programs use as well, is not drained.
_AT_ONCE: Final = 16

#: Why no response of a login can succeed: there is no such user, or it is disabled. (For the log only.)
UNKNOWN_USER: Final = "unknown user"

#: Seconds between two log lines about logins that fail.
_LOG_SECONDS: Final = 1.0


def refusal() -> LoginFailed:
    """Return the error of every login that fails, whatever was wrong."""
    return LoginFailed("the login was refused")


def busy() -> Unavailable:
    """Return the error of every login that was not checked, whatever the reason."""
    return Unavailable("no login is possible at the moment", code="busy")


class Turns:
    """Lets a few login steps begin in each turn of the event loop, in order of arrival."""

    def __init__(self) -> None:
        self._left = _STEPS_PER_TURN
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._scheduled = False
        self._loop: asyncio.AbstractEventLoop | None = None  # another loop may serve the application later

    async def wait(self) -> None:
        """Wait for a turn in which one more step may begin.

        Raises:
            Unavailable: too many steps are waiting already.
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


class Gate:
    """Lets a few questions to the store run at a time, in order of arrival; the others wait."""

    def __init__(self, at_once: int = _AT_ONCE) -> None:
        self._at_once = at_once
        self._running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None  # another loop may serve the application later

    async def enter(self) -> None:
        """Wait until one more question may be asked; :meth:`leave` follows.

        Raises:
            Unavailable: too many wait already.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._running = loop, 0
            self._waiting.clear()
        if self._running < self._at_once:
            self._running += 1
            return
        if len(self._waiting) >= _MOST_STEPS:
            raise busy()
        waiting: asyncio.Future[None] = loop.create_future()
        self._waiting.append(waiting)
        try:
            await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled():  # it was let in at the same moment
                self.leave()
            raise

    def leave(self) -> None:
        """Let the next one in."""
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():  # its connection may have ended
                waiting.set_result(None)
                return
        self._running = max(0, self._running - 1)  # 0 when this question began in another loop


class AttemptCounter(Protocol):
    """What counts the failed attempts of names; every :class:`Authorizer` does, see there."""

    async def record_failure(self, name: str, now: float) -> bool | None: ...

    async def record_refusal(self, name: str, source: str | None, now: float, *, counted: bool) -> float: ...

    async def record_success(self, name: str) -> None: ...

    async def delay_for(self, name: str, now: float) -> float: ...


class LoginThrottle:
    """Delays and checks attempts to log in. All connections of an application share one.

    A throttle by source or by load raises ``Unavailable``; the decision does not look at the name. An attempt for a
    name with failures waits, whether such a user exists or not, unless its source has no recent failures: so the owner
    of a name can log in while others guess the password.

    Args:
        authorizer: counts the failures of each name, and knows how long the next attempt has to wait.

    Attributes:
        turns: each step of a login waits for one of them.
        audit: the trail of all logins.
    """

    def __init__(self, authorizer: Authorizer) -> None:
        self.turns: Turns = Turns()
        self.audit: Audit = Audit()
        self._gate = Gate()
        self._counter: AttemptCounter = authorizer
        self._sources = SourceTable()
        self._waiting: Counter[str] = Counter()
        self._last_logged = -_LOG_SECONDS

    def count_with(self, counter: AttemptCounter) -> None:
        """Count attempts there from now on."""
        self._counter = counter

    def check_source(self, source: str | None) -> None:
        """Refuse a source that has too many failures.

        Raises:
            Unavailable: the source has too many.
        """
        if source is not None and self._sources.is_exhausted(source, asyncio.get_running_loop().time()):
            raise busy()

    async def ask(self, question: Callable[P, Awaitable[R]], *arguments: P.args, **options: P.kwargs) -> R:
        """Return the answer of the store, or of other code of the program, once it is this question's turn.

        Raises:
            Unavailable: too many wait already, or the store cannot answer.
        """
        await self._gate.enter()
        try:
            with self.hiding_errors():
                return await question(*arguments, **options)
        finally:
            self._gate.leave()

    async def check(self, name: str, source: str | None, check: Callable[[], bool]) -> bool:
        """Return the result of ``check`` for an attempt to log in as ``name``.

        The attempt is counted before it waits and before it is checked, so that concurrent attempts see each other.

        Args:
            name: as the peer sent it.
            source: where the attempt comes from; None where sources cannot be distinguished.
            check: compares the proof.

        Raises:
            Unavailable: the attempt was not checked, or the store cannot answer.
        """
        time = asyncio.get_running_loop().time
        self.check_source(source)
        counted = await self.ask(self._counter.record_failure, name, time())
        delay = await self.ask(self._counter.delay_for, name, time())
        await self.turns.wait()
        if delay > 0 and (source is None or not self._sources.is_clean(source, time())):
            await self._wait(name, delay, bounded=source is None)
            await self.turns.wait()
        self.check_source(source)
        if check():
            await self.ask(self._counter.record_success, name)
            return True
        if source is not None:
            self._sources.record_failure(source, time())
        left = await self.ask(
            self._counter.record_refusal, name, source, time(), counted=counted is not False
        )
        if source is not None:
            self._sources.learn(source, left, time())
        return False

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
        """Log errors raised within the block, and hide them from the peer, which has not logged in.

        Raises:
            Unavailable: in place of any error that is neither a refusal by the library nor a ``pb.Error``.
        """
        try:
            yield
        except Exception as error:
            if isinstance(error, (Error, BrokerError)) and not isinstance(error, StoreError):
                raise
            now = asyncio.get_running_loop().time()
            if now - self._last_logged >= _LOG_SECONDS:
                self._last_logged = now
                if isinstance(error, StoreBusy):  # a condition of the day, and no defect
                    log.warning("logins are refused as busy: %s", error)
                else:
                    log.error("logins fail", exc_info=error)
            raise busy() from None


class Admission:
    """Counts the attempts of one connection, and closes it when there are too many or none.

    Until one succeeds, the peer is unauthenticated and has the limits of :meth:`Limits.before_login`.

    Args:
        throttle: checks the attempts.
        connection: the connection of the peer.
    """

    def __init__(self, throttle: LoginThrottle, connection: LoginConnection) -> None:
        self._throttle = throttle
        self._connection = connection
        self._limits = connection.limits
        self._loop = asyncio.get_running_loop()
        self._failures = 0  # attempts that are being checked included
        self._checking = 0
        self._challenges = 0
        self._timer: asyncio.TimerHandle | None = None
        self._admitted = False
        connection.expect_login()
        connection.on_disconnect(self._on_disconnect)
        self._wait_for_attempt()

    def challenge(self, method: str) -> float:
        """Count a requested challenge of a method, and return the time at which it expires.

        Raises:
            LoginFailed: the peer has requested too many since its last login.
            Unavailable: the peer's source has too many failures.
        """
        self._challenges += 1
        if self._challenges > self._limits.logins + SPARE_CHALLENGES:
            self._end_soon()
            raise refusal()
        try:
            self._throttle.check_source(self._connection.source)
        except Unavailable:
            self.refused("", method, "throttled")
            raise
        self._wait_for_attempt()
        return self._loop.time() + self._limits.login_seconds

    async def attempt(
        self, name: str, method: str, expires: float | None, check: Callable[[], bool], log_reason: str = ""
    ) -> None:
        """Authenticate the peer if ``check`` returns True.

        Args:
            name: the user as whom the peer wants to log in.
            method: of the login; for the log.
            expires: when the challenge expires; None when it was used before.
            check: returns whether the response fits the challenge.
            log_reason: why no response can succeed, if that is known; only the log shows it.

        Raises:
            LoginFailed: the response does not fit, the challenge has expired, or too many attempts have failed.
            Unavailable: the attempt was not checked.
        """
        known = log_reason != UNKNOWN_USER
        try:
            with self.attempting():
                in_time = expires is not None and self._loop.time() < expires
                fits = in_time and await self._throttle.check(name, self._connection.source, check)
                if not fits:
                    why = log_reason or ("wrong password" if in_time else "challenge too old")
                    self.refused(name, method, why, known=known)
                    raise refusal()
        except Unavailable:
            self.refused(name, method, "throttled", known=known)
            raise
        self.accepted(name, method)

    @contextmanager
    def attempting(self) -> Iterator[None]:
        """Authenticate the peer unless the block raises an error.

        An attempt counts as a failure until it has succeeded, so that concurrent attempts see each other. An error of
        the application, which the peer receives, does not count.

        Raises:
            LoginFailed: too many attempts have failed, or are being checked.
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
            self._review_failures()

    def check_failures(self) -> None:
        """Refuse the peer if ``Limits.logins`` attempts have failed or are being checked.

        Raises:
            LoginFailed: there are that many.
        """
        if self._failures >= self._limits.logins:
            raise refusal()

    def failed(self) -> None:
        """Count a request for a perspective for which the peer has no key, logged in or not."""
        self._failures += 1
        self._review_failures()

    def admit(self) -> None:
        """Record that the peer has logged in."""
        self._challenges = 0
        self._stop_timer()
        if not self._admitted:
            self._admitted = True
            self._connection.welcome()

    def accepted(self, name: str, method: str) -> None:
        """Record that the peer is a user, in the audit trail too."""
        self._throttle.audit.accepted(self._connection, name, method)
        self._connection.logged_in(name, method)

    def refused(self, name: str, method: str, why: str, *, known: bool = True) -> None:
        """Write into the audit trail why a login was refused; see :meth:`.Audit.refused`."""
        self._throttle.audit.refused(self._connection, name, method, why, known=known)

    def _review_failures(self) -> None:
        if self._failures >= self._limits.logins and not self._checking:
            self._end_soon()
        else:
            self._wait_for_attempt()

    def _end_soon(self) -> None:
        # In a later turn of the loop, because the answer to the attempt is sent first.
        self._loop.call_soon(self._connection.end, "too-many-logins", "too many logins have failed")

    def _wait_for_attempt(self) -> None:
        """Close the connection if the peer makes no attempt within ``Limits.login_seconds``."""
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
        self._admitted = True  # no timer is needed any more
        self._stop_timer()
