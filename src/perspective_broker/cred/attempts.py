"""Failed logins: per name, with the delay of the next attempt, and per source, with the attempts left to it.

Attackers know the names of other users. If failures were counted by name alone, each wrong guess would make the owner
of the name wait; so they are counted by source too. Both tables are bounded: a flood of invented names can neither fill
the memory nor, cheaply, push out the count of a name under attack. Time is an argument; any monotonic clock will do.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from typing import Final

__all__ = [
    "FORGET_AFTER",
    "MOST_WAITING",
    "SOURCE_SECONDS",
    "SPARE_CHALLENGES",
    "AttemptTable",
    "SourceTable",
]

#: Attempts for one name that may wait at a time, of those without a source. As each waits up to a minute, a peer with
#: many connections has eight guesses a minute.
MOST_WAITING: Final = 8

#: Challenges that a peer may request beyond ``Limits.logins``, because some are never answered.
SPARE_CHALLENGES: Final = 5

#: Wrong passwords without a delay: people mistype, and try another password of theirs.
_FREE = 3
#: Seconds of delay after the first failure beyond these; each further failure doubles it.
_FIRST_DELAY = 1.0
#: Seconds of delay at most. 1440 guesses a day do not find even a poor password, and an owner whose own source has
#: failures waits no longer than a minute.
_MAX_DELAY = 60.0
#: Seconds after its last failure at which a name has no failures again: a quarter of an hour.
FORGET_AFTER = 900.0
#: Failures of one source in a burst: a thousand users may log in from one address, and some of them mistype.
_SOURCE_BURST = 32
#: Seconds for each further failure of one source, whatever the names: 2880 failures a day.
SOURCE_SECONDS = 30.0

#: Names or sources remembered. At about 250 bytes each the table stays below 4 MB.
_CAPACITY = 16_384


class AttemptTable:
    """Failed attempts by name.

    The table has two parts, each in order of the last failure: *first* for names that failed once, *repeated* for names
    that failed again. New names push out names of the first part. To have the count of one name forgotten, an attacker
    must therefore fail twice with each of thousands of other names, which costs far more attempts than it gains.

    Args:
        capacity: names remembered altogether; three quarters of it are for repeated failures.

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
            name: the name that the peer sent, known or not.
            now: seconds on the caller's clock.
        """
        fingerprint = self._fingerprint(name)
        self._set(fingerprint, self._failures(fingerprint, now) + 1, now)

    def learn(self, name: str, failures: int, last: float, now: float) -> None:
        """Take over the failures of ``name`` that others have counted, where these are more.

        Args:
            name: the name.
            failures: how many there were, those included that were recorded here.
            last: when the last was, on the caller's clock.
            now: seconds on the caller's clock.
        """
        fingerprint = self._fingerprint(name)
        if failures > self._failures(fingerprint, now):
            self._set(fingerprint, failures, last)

    def forget(self, name: str, until: float) -> None:
        """Forget the failures of ``name`` if the last of them was before ``until``."""
        fingerprint = self._fingerprint(name)
        for part in (self._first, self._repeated):
            entry = part.get(fingerprint)
            if entry is not None and entry[1] < until:
                del part[fingerprint]

    def failures(self, name: str, now: float) -> int:
        """Return the failures of ``name``."""
        return self._failures(self._fingerprint(name), now)

    def _set(self, fingerprint: bytes, failures: int, now: float) -> None:
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
        """Return the seconds from ``now`` until an attempt of ``name`` may be answered; 0.0 for no delay."""
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
        if entry is None or now - entry[1] > FORGET_AFTER:
            return 0
        return entry[0]

    def _fingerprint(self, name: str) -> bytes:
        # Unauthenticated peers send these names. A keyed hash makes all equally small, and collisions unguessable.
        return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16, key=self._key).digest()


class SourceTable:
    """Failed attempts by source: a bucket of tokens for each, which failures empty and time fills.

    Args:
        capacity: sources remembered; a new one pushes out the source whose last failure is the oldest.
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
        self._set(source, self._left_of(source, now) + 1.0, now)

    def learn(self, source: str, failures: float, now: float) -> None:
        """Take over the failures from ``source`` that others have counted, where these are more.

        Args:
            source: the source.
            failures: how many time has not forgiven, those included that were recorded here.
            now: seconds on the caller's clock.
        """
        if failures > self._left_of(source, now):
            self._set(source, failures, now)

    def _set(self, source: str, failures: float, now: float) -> None:
        self._failures[source] = (failures, now)
        self._failures.move_to_end(source)
        if len(self._failures) > self._capacity:
            self._failures.popitem(last=False)

    def failures(self, source: str, now: float) -> float:
        """Return the failures from ``source`` that time has not forgiven."""
        return self._left_of(source, now)

    def is_exhausted(self, source: str, now: float) -> bool:
        """Return whether ``source`` has too many failures for another attempt now."""
        return self._left_of(source, now) > _SOURCE_BURST - 1

    def is_clean(self, source: str, now: float) -> bool:
        """Return whether no attempt from ``source`` has failed within the last quarter of an hour."""
        entry = self._failures.get(source)
        return entry is None or now - entry[1] > FORGET_AFTER

    def _left_of(self, source: str, now: float) -> float:
        entry = self._failures.get(source)
        if entry is None:
            return 0.0
        failures, last = entry
        return max(0.0, failures - max(0.0, now - last) / SOURCE_SECONDS)
