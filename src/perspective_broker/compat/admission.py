"""Admission: the attempts of a connection to log in, counted and limited until one succeeds.

The rules are those of :mod:`perspective_broker.cred`, on a reactor. They apply to every object that logs peers in, a
program's own included: all use :meth:`Admission.attempt` or :meth:`Admission.admit`, and their refusals are noticed
when they are sent.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from twisted.cred.error import LoginFailed, Unauthorized, UnauthorizedLogin
from twisted.internet import defer

from ..cred.attempts import MOST_WAITING, SPARE_CHALLENGES, AttemptTable

if TYPE_CHECKING:
    from .broker import Broker

__all__ = ["Admission", "Attempts", "attempts_at", "refusal"]


def refusal() -> UnauthorizedLogin:
    """Return the error of every login that fails, whatever was wrong."""
    return UnauthorizedLogin("invalid username or password")


class Attempts:
    """Failed logins by name, of all the connections to one portal or application."""

    def __init__(self) -> None:
        self.table: AttemptTable = AttemptTable()
        self.waiting: Counter[str] = Counter()


_ATTEMPTS: Final[WeakKeyDictionary[Any, Attempts]] = WeakKeyDictionary()


def attempts_at(portal: Any) -> Attempts:
    """Return the failed logins at ``portal``, kept for as long as it lives."""
    found = _ATTEMPTS.get(portal)
    if found is None:
        found = _ATTEMPTS[portal] = Attempts()
    return found


class Admission:
    """Counts the attempts of one connection, and closes it when there are too many or none.

    Args:
        broker: the broker of the connection.

    Attributes:
        waits: whether the peer has to log in first; until it has, its limits are :meth:`Limits.before_login`.
        clock: returns seconds.
    """

    def __init__(self, broker: Broker) -> None:
        self.waits: bool = False
        self.clock: Callable[[], float] = time.monotonic
        self._broker = broker
        self._failures = 0  # attempts that are being checked included
        self._checking = 0
        self._counted: Any = None  # the error of the attempt that failed last
        self._challenges = 0
        self._timer: Any = None
        self._delays: set[Any] = set()
        self._ended = False

    def expect_login(self) -> None:
        """Require a login of the peer."""
        self.waits = True

    def begin(self) -> None:
        """Begin with a new connection: close it if the peer makes no attempt within ``Limits.login_seconds``."""
        self._stop_timer()
        if self.waits and not self._ended:
            self._timer = self._broker.call_later(self._broker.limits.login_seconds, self._too_late)

    def challenge(self) -> float:
        """Count a requested challenge, and return the time at which it expires.

        Raises:
            UnauthorizedLogin: the peer has requested too many since its last login.
        """
        self._challenges += 1
        if self._challenges > self._broker.limits.logins + SPARE_CHALLENGES:
            self._failures = self._broker.limits.logins
            raise refusal()
        self.begin()
        return self.clock() + self._broker.limits.login_seconds

    def attempt(
        self,
        at: Attempts,
        name: str,
        expires: float | None,
        check: Callable[[], Any],
        fits: Callable[[], bool],
    ) -> Any:
        """Return a Deferred of the result of ``check``, which runs after the delay of the name.

        The attempt is counted as a failure of the name before it waits, so that concurrent attempts see each other.

        Args:
            at: the attempts at the same users.
            name: the user as whom the peer wants to log in.
            expires: when the challenge expires; None when it was used before.
            check: checks the response.
            fits: returns, after that, whether the peer has logged in.
        """
        now = self.clock()
        if self._failures >= self._broker.limits.logins:
            return defer.fail(refusal())
        self._failures += 1
        self._checking += 1
        turn: Any
        if expires is not None and now < expires:
            at.table.record_failure(name, now)
            turn = self._turn(at, name, at.table.delay_for(name, now)).addCallback(lambda _: check())
        else:
            turn = defer.fail(refusal())

        def checked(outcome: Any) -> Any:
            self._checking -= 1
            if fits():
                self._failures -= 1
                at.table.record_success(name)
            self._counted = getattr(outcome, "value", None)
            return outcome

        return turn.addBoth(checked)

    def _turn(self, at: Attempts, name: str, delay: float) -> Any:
        """Return a Deferred that fires when an attempt may be checked."""
        turn: Any = defer.Deferred()
        one_too_many = at.waiting[name] >= MOST_WAITING

        def come() -> None:
            self._delays.discard(call)
            at.waiting[name] -= 1
            if not at.waiting[name]:
                del at.waiting[name]
            if one_too_many:
                turn.errback(refusal())
            else:
                turn.callback(None)

        at.waiting[name] += 1
        call = self._broker.call_later(delay, come) if delay > 0 else None
        if call is None:  # no delay, or no reactor
            come()
        else:
            self._delays.add(call)
        return turn

    def admit(self) -> None:
        """Record that the peer has logged in."""
        self.waits = False
        self._challenges = 0
        self._stop_timer()
        self._broker.peer_is_known()

    def review(self, outcome: Any = None) -> None:
        """Check the number of failures after an answer, or the failure ``outcome``, was sent.

        An object of the program may refuse a login without :meth:`attempt`.
        """
        if self.waits and _is_refusal(outcome) and outcome.value is not self._counted:
            self._failures += 1
            self.begin()
        if self._failures >= self._broker.limits.logins and not self._checking and not self._ended:
            self._broker.hang_up("too-many-logins", "too many logins have failed")

    def end(self) -> None:
        """Stop all timers, because the connection has ended."""
        self._ended = True
        self._stop_timer()
        for call in self._delays:
            call.cancel()
        self._delays.clear()

    def _too_late(self) -> None:
        self._timer = None
        if self._checking:
            self.begin()
        else:
            seconds = self._broker.limits.login_seconds
            self._broker.hang_up("login-timeout", f"no login was tried in {seconds:g} s")

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _is_refusal(outcome: Any) -> bool:
    return outcome is not None and outcome.check(LoginFailed, Unauthorized) is not None
