"""Admission: what one connection may do, how often and how long, until its peer has logged in.

The rules are those of :mod:`perspective_broker.cred`, on a reactor. They hold for every object that logs peers in, a
program's own included: all pass through :meth:`Admission.attempt` or :meth:`Admission.admit`, and what they refuse is
seen where it is sent.
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
    """Return the one thing that is said of every login that fails."""
    return UnauthorizedLogin("invalid username or password")


class Attempts:
    """Failed logins by name, of all the connections to one portal or application."""

    def __init__(self) -> None:
        self.table = AttemptTable()
        self.waiting: Counter[str] = Counter()


_ATTEMPTS: Final[WeakKeyDictionary[Any, Attempts]] = WeakKeyDictionary()


def attempts_at(portal: Any) -> Attempts:
    """Return what is known of failed logins at ``portal``, for as long as it lives."""
    found = _ATTEMPTS.get(portal)
    if found is None:
        found = _ATTEMPTS[portal] = Attempts()
    return found


class Admission:
    """Counts the attempts of one connection, and ends it when there are too many or none.

    Args:
        broker: of the connection.

    Attributes:
        waits: whether the peer has to log in first; until it has, it lives under :meth:`Limits.before_login`.
        clock: tells the seconds.
    """

    def __init__(self, broker: Broker) -> None:
        self.waits = False
        self.clock: Callable[[], float] = time.monotonic
        self._broker = broker
        self._failures = 0  # and attempts that are being judged
        self._judging = 0
        self._counted: Any = None  # the error of the attempt that failed last
        self._challenges = 0
        self._timer: Any = None
        self._delays: set[Any] = set()
        self._ended = False

    def expect_login(self) -> None:
        """The peer has to log in."""
        self.waits = True

    def begin(self) -> None:
        """The connection is there: hang up if nothing is tried for a while."""
        self._stop_timer()
        if self.waits and not self._ended:
            self._timer = self._broker.call_later(self._broker.limits.login_seconds, self._too_late)

    def challenge(self) -> float:
        """Count a challenge that the peer asks for, and return when it expires.

        Raises:
            UnauthorizedLogin: there were too many since the last login.
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
        """Return a Deferred of what ``check`` returns when its turn has come.

        Counted as a failure of the name before it waits: attempts side by side see each other.

        Args:
            at: the attempts at the same users.
            name: as whom the peer wants to log in.
            expires: when its challenge does; None when that was used before.
            check: judges its response.
            fits: tells, after that, whether the peer has logged in.
        """
        now = self.clock()
        if self._failures >= self._broker.limits.logins:
            return defer.fail(refusal())
        self._failures += 1
        self._judging += 1
        turn: Any
        if expires is not None and now < expires:
            at.table.record_failure(name, now)
            turn = self._turn(at, name, at.table.delay_for(name, now)).addCallback(lambda _: check())
        else:
            turn = defer.fail(refusal())

        def judged(outcome: Any) -> Any:
            self._judging -= 1
            if fits():
                self._failures -= 1
                at.table.record_success(name)
            self._counted = getattr(outcome, "value", None)
            return outcome

        return turn.addBoth(judged)

    def _turn(self, at: Attempts, name: str, delay: float) -> Any:
        """Return a Deferred of the time at which an attempt may be judged."""
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
        if call is None:  # at once, or nobody would call
            come()
        else:
            self._delays.add(call)
        return turn

    def admit(self) -> None:
        """The peer has logged in."""
        self.waits = False
        self._challenges = 0
        self._stop_timer()
        self._broker.peer_is_known()

    def review(self, outcome: Any = None) -> None:
        """Look at the failures, now that an answer has been sent, or ``outcome``, which is a failure.

        An object of the program may refuse a login without :meth:`attempt`.
        """
        if self.waits and _is_refusal(outcome) and outcome.value is not self._counted:
            self._failures += 1
            self.begin()
        if self._failures >= self._broker.limits.logins and not self._judging and not self._ended:
            self._broker.hang_up("too-many-logins", "too many logins have failed")

    def end(self) -> None:
        """The connection has ended."""
        self._ended = True
        self._stop_timer()
        for call in self._delays:
            call.cancel()
        self._delays.clear()

    def _too_late(self) -> None:
        self._timer = None
        if self._judging:
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
