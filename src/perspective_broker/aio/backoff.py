"""Backoff: how long to wait before something is tried again."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Backoff"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long to wait before the next attempt to connect: full jitter.

    Before the first attempt it is anything from 0 to ``base`` seconds, all as likely; the bound doubles with every
    attempt, up to ``cap``, and starts anew after a connection that has lived for ``cap`` seconds. The defaults are for
    a thousand clients: when all lose one server at the same moment, and however long it stays away, no second sees
    more than 200 of them come back. Where there are few clients, less is better: ``Backoff(base=0.5, cap=5)``.

    Attributes:
        base: seconds. 1000 clients within 9 s are 111 a second; those whose first attempt came too early meet them.
        cap: seconds. On average a client is back a third of this after a long absence of the server.
        random: gives numbers from 0 to below 1.

    Raises:
        ValueError: ``base`` is not above 0, or above ``cap``.
    """

    base: float = 9.0
    cap: float = 18.0
    random: Callable[[], float] = field(default=random.random, repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.base <= self.cap:
            raise ValueError(f"0 < base <= cap is what a back-off needs, not {self.base!r} and {self.cap!r}")

    def delay(self, attempt: int) -> float:
        """Return the seconds to wait before an attempt; the first is number 0."""
        return self.random() * min(self.cap, self.base * 2.0 ** min(attempt, 60))
