"""Failed logins: per name, with the time that the next attempt has to wait, and per source, with what is left to it.

A stranger knows other users' names. If only names had counts, each wrong guess of his would keep the owner waiting; so
the owner's address counts too. Both tables are bounded: a flood of invented names can neither fill the memory nor,
cheaply, push out the count of a name under attack. Time is an argument; any clock that does not jump will do.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from typing import Final

__all__ = ["MOST_WAITING", "SPARE_CHALLENGES", "AttemptTable", "SourceTable"]

#: Attempts for one name that may wait for their turn at a time, of those whose source cannot be told from others. Where
#: each waits a minute, that leaves a peer with many connections eight guesses a minute.
MOST_WAITING: Final = 8

#: Challenges that a peer may ask for beyond the logins it may fail: some are never answered.
SPARE_CHALLENGES: Final = 5

#: Wrong passwords that cost nothing: people mistype, and try the other one they know.
_FREE = 3
#: Seconds after the first failure that is not free; each further one doubles it.
_FIRST_DELAY = 1.0
#: At most a minute: at 1440 guesses a day even a poor password lasts, and an owner whose own address has failures waits
#: no longer than that.
_MAX_DELAY = 60.0
#: A quarter of an hour after its last failure a name starts anew.
_FORGET_AFTER = 900.0
#: Failures that one source may have at once: a thousand users may log in from one address, and some of them mistype.
_SOURCE_BURST = 32
#: And in the long run: one for every so many seconds, 2880 a day, whatever names they are for.
_SOURCE_SECONDS = 30.0

#: Names remembered. At about 250 bytes a name the table stays below 4 MB.
_CAPACITY = 16_384


class AttemptTable:
    """Failed attempts by name.

    Two parts, each in order of the last failure. Names that failed once stand in the *first* part, names that
    failed again in the *repeated* part, and the first part gives way to newcomers. A stranger who wants one
    name's count forgotten must therefore fail twice with each of thousands of other names, which costs far
    more attempts than the reset gives back.

    Args:
        capacity: names remembered in all; three quarters of it are for repeated failures.

    Raises:
        ValueError: the capacity is below 4.
    """

    __slots__ = ("_capacity", "_first", "_key", "_repeated", "_repeated_capacity")

    def __init__(self, capacity: int = _CAPACITY) -> None:
        if capacity < 4:
            raise ValueError("an attempt table remembers at least 4 names")
        self._capacity = capacity
        self._repeated_capacity = capacity * 3 // 4
        # fingerprint of the name -> (failures, time of the last)
        self._first: OrderedDict[bytes, tuple[int, float]] = OrderedDict()
        self._repeated: OrderedDict[bytes, tuple[int, float]] = OrderedDict()
        self._key = secrets.token_bytes(16)

    def __len__(self) -> int:
        return len(self._first) + len(self._repeated)

    def record_failure(self, name: str, now: float) -> None:
        """Count a failed attempt of ``name``.

        Args:
            name: whatever was sent, known or not.
            now: seconds on the caller's clock.
        """
        fingerprint = self._fingerprint(name)
        failures = self._failures(fingerprint, now) + 1
        self._first.pop(fingerprint, None)
        self._repeated.pop(fingerprint, None)
        if failures == 1:
            self._first[fingerprint] = (failures, now)
        else:
            self._repeated[fingerprint] = (failures, now)
            if len(self._repeated) > self._repeated_capacity:
                self._repeated.popitem(last=False)
        if len(self) > self._capacity:
            (self._first or self._repeated).popitem(last=False)

    def record_success(self, name: str) -> None:
        """Forget the failures of ``name``."""
        fingerprint = self._fingerprint(name)
        self._first.pop(fingerprint, None)
        self._repeated.pop(fingerprint, None)

    def delay_for(self, name: str, now: float) -> float:
        """Return the seconds from ``now`` until an attempt of ``name`` may be answered; 0.0 for at once."""
        fingerprint = self._fingerprint(name)
        excess = self._failures(fingerprint, now) - _FREE
        if excess <= 0:
            return 0.0
        _, last = self._repeated[fingerprint]
        # The exponent is capped so that a long attack cannot overflow the float.
        delay = min(_MAX_DELAY, _FIRST_DELAY * 2.0 ** min(excess - 1, 32))
        # A clock that went backwards must not lengthen the wait.
        return min(delay, max(0.0, last + delay - now))

    def _failures(self, fingerprint: bytes, now: float) -> int:
        entry = self._repeated.get(fingerprint) or self._first.get(fingerprint)
        if entry is None or now - entry[1] > _FORGET_AFTER:
            return 0
        return entry[0]

    def _fingerprint(self, name: str) -> bytes:
        # Names come from strangers: a keyed hash makes each as small as any other, and collisions
        # unguessable.
        return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16, key=self._key).digest()


class SourceTable:
    """Failed attempts by where they come from: a bucket for each source, emptied by failures, filled by time.

    Args:
        capacity: sources remembered; the one whose last failure is the oldest gives way.
    """

    __slots__ = ("_capacity", "_failures")

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._capacity = capacity
        # source -> (failures that time has not forgiven, time of the last); in the order of the last
        self._failures: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._failures)

    def record_failure(self, source: str, now: float) -> None:
        """Count a failed attempt from ``source``."""
        self._failures[source] = (self._left_of(source, now) + 1.0, now)
        self._failures.move_to_end(source)
        if len(self._failures) > self._capacity:
            self._failures.popitem(last=False)

    def is_exhausted(self, source: str, now: float) -> bool:
        """Return whether no attempt from ``source`` is looked at for the time being."""
        return self._left_of(source, now) > _SOURCE_BURST - 1

    def is_clean(self, source: str, now: float) -> bool:
        """Return whether no attempt from ``source`` has failed within the last quarter of an hour."""
        entry = self._failures.get(source)
        return entry is None or now - entry[1] > _FORGET_AFTER

    def _left_of(self, source: str, now: float) -> float:
        entry = self._failures.get(source)
        if entry is None:
            return 0.0
        failures, last = entry
        return max(0.0, failures - max(0.0, now - last) / _SOURCE_SECONDS)
