"""retry for threads: make a call again that has certainly not run, or that may run twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ..aio import Backoff, Promise
from ..aio.retrying import RETRY_BACKOFF, check_attempts, may_be_made_again
from ..errors import BrokerError
from .answers import wait
from .deadlines import seconds_left

__all__ = ["retry"]


def retry(
    call: Callable[[], Any],
    *,
    repeatable: bool = False,
    attempts: int = 5,
    backoff: Backoff = RETRY_BACKOFF,
) -> Any:
    """Make a call, and make it again when its method has certainly not run: ``retry(lambda: room.say("hi"))``.

    Args:
        call: makes the call; an answer that has to be waited for (:func:`wait`) is waited for here.
        repeatable: the method may run twice: the call is made again also when it is unknown whether it has run.
        attempts: how many at most, the first included.
        backoff: how long to wait between two attempts. A :func:`deadline` that would pass meanwhile ends them.

    Returns:
        The answer.

    Raises:
        ValueError: ``attempts`` is below 1.
        Exception: of the last attempt; see :func:`perspective_broker.retry`.
    """
    check_attempts(attempts)
    for attempt in range(attempts):
        try:
            answer = call()
            return wait(answer) if isinstance(answer, Promise) else answer
        except BrokerError as error:
            pause = backoff.delay(attempt)
            if attempt + 1 == attempts or not may_be_made_again(error, repeatable, pause, seconds_left()):
                raise
            time.sleep(pause)
    raise AssertionError
