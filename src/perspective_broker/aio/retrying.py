"""retry: make a call again that has certainly not run, or that may run twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from ..errors import BrokerError, ConnectionLost, LimitExceeded, Unavailable
from .backoff import Backoff
from .deadlines import remaining

__all__ = ["RETRY_BACKOFF", "check_attempts", "may_be_made_again", "retry"]

_T = TypeVar("_T")

#: Errors that another attempt may not meet. All others mean the call itself, and would come again.
_PASSING: Final = (ConnectionLost, LimitExceeded, Unavailable)

#: Between two attempts, where the program does not say.
RETRY_BACKOFF: Final = Backoff(base=0.1, cap=5)


async def retry(
    call: Callable[[], Awaitable[_T]],
    *,
    repeatable: bool = False,
    attempts: int = 5,
    backoff: Backoff = RETRY_BACKOFF,
) -> _T:
    """Make a call, and make it again when its method has certainly not run: ``await pb.retry(lambda: room.say("hi"))``.

    It is made again after ``ConnectionLost``, ``Unavailable`` and ``LimitExceeded`` whose ``ran`` is False. Any other
    error is raised, and so is the last one. On a plain reference nothing comes back after ``ConnectionLost``: use this
    with ``connect(..., reconnect=True)`` or connect in ``call``.

    Args:
        call: makes the call and returns its promise; called once for each attempt.
        repeatable: the method may run twice: the call is made again also when it is unknown whether it has run.
        attempts: how many at most, the first included.
        backoff: how long to wait between two attempts. A :func:`deadline` that would pass meanwhile ends them.

    Raises:
        ValueError: ``attempts`` is below 1.
        Exception: of the last attempt.
    """
    check_attempts(attempts)
    for attempt in range(attempts):
        try:
            return await call()
        except BrokerError as error:
            pause = backoff.delay(attempt)
            if attempt + 1 == attempts or not may_be_made_again(error, repeatable, pause, remaining()):
                raise
            await asyncio.sleep(pause)
    raise AssertionError


def check_attempts(attempts: Any) -> None:
    """Raise ValueError if there is no attempt."""
    if attempts < 1:
        raise ValueError(f"attempts: at least 1, not {attempts!r}")


def may_be_made_again(error: BrokerError, repeatable: bool, pause: float, left: float | None) -> bool:
    """Return whether a call is made again that has ended with ``error``.

    Args:
        error: of the call.
        repeatable: whether the method may run twice.
        pause: seconds before the next attempt.
        left: seconds until the deadline; None without one.
    """
    if not isinstance(error, _PASSING) or (left is not None and left <= pause):
        return False
    return error.ran is False or (repeatable and error.ran is None)
