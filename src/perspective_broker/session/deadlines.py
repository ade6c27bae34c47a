"""The deadlines of one connection: what must have happened by when. The clock is the driver's.

Everything is judged by bytes, never by a timer alone: a timer that comes late shows that *our* loop stood still,
and then the peer's bytes may be waiting unread. So a late judgement is postponed once, until they have been read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from ..errors import ProtocolError
from ..limits import Limits
from ..queues import NOTHING

__all__ = ["MUCH_UNREAD", "SLOW_CONSUMER", "Deadlines", "Standstill"]

#: The code with which a peer is given up that does not read.
SLOW_CONSUMER: Final = "slow-consumer"

#: Bytes per second that a peer must manage while a message is under way (ROBUSTNESS, row 76).
SLOWEST_BYTES_PER_SECOND: Final = 16 * 1024

#: Bytes of unread answers from which on a peer that reads nothing is given less time: it costs memory as long as that.
MUCH_UNREAD: Final = 8 * 1024 * 1024

#: A timer that is later than this was delayed by our own loop ...
LATE: Final = 0.1

#: ... which then gets this long to read what came meanwhile. In seconds, like all here.
GRACE: Final = 0.5


class Deadlines:
    """The deadlines of one connection.

    Args:
        limits: how long everything may take.
        now: the driver's clock when the connection was made.

    Attributes:
        heard: when the peer's last bytes came.
        message_began: when the first bytes of an incomplete message came; None between messages.
        unread: bytes of answers that wait for the peer to read.
        blocked_since: when the peer stopped reading what we send; None while it reads.
        closing: until when one-way calls may wait alone while the connection is closed; None otherwise.
    """

    __slots__ = (
        "_first_pieces",
        "_granted",
        "_handshake",
        "_keepalive",
        "_look_again",
        "_pinged",
        "_unfinished",
        "blocked_since",
        "closing",
        "heard",
        "limits",
        "message_began",
        "unread",
    )

    def __init__(self, limits: Limits, now: float) -> None:
        self.limits: Limits = limits
        self.heard: float = now
        self.message_began: float | None = None
        self.blocked_since: float | None = None
        self.unread: int = 0
        self.closing: float | None = None
        self._unfinished: Mapping[int, int] = (
            NOTHING  # messages that come in pieces, with their bytes so far,
        )
        self._first_pieces: dict[int, float] = NOTHING  # and when the first piece of each came
        self._handshake: float | None = now + limits.handshake_seconds
        self._keepalive = False
        self._pinged = now  # when we last asked whether the peer lives
        self._look_again = (
            now  # when to look whether the answer came, for then the next silence counts from it
        )
        self._granted = now  # nothing is judged before

    def use_limits(self, limits: Limits) -> None:
        """Go by other limits from now on."""
        self.limits = limits

    def established(self, keepalive: bool) -> None:
        """The greeting is over; with ``keepalive`` the peer answers pings."""
        self._handshake = None
        self._keepalive = keepalive

    def stop(self) -> None:
        """The connection has ended: nothing is due any more."""
        self._handshake = self.message_began = self.blocked_since = self.closing = None
        self._first_pieces = NOTHING
        self._keepalive = False

    def bytes_came(self, now: float) -> None:
        """Bytes of the peer have come; a message that is incomplete began with them at the latest."""
        self.heard = now
        if self.message_began is None:
            self.message_began = now

    def message_ended(self) -> None:
        """A message is complete: no time runs between messages."""
        self.message_began = None

    def message_goes_on(self, now: float) -> None:
        """More bytes are needed for a message that has begun."""
        if self.message_began is None:
            self.message_began = now

    def set_blocked(self, since: float | None) -> None:
        """The peer does not read what we send since then; None when it reads."""
        self.blocked_since = since

    def set_unread(self, size: int) -> None:
        """So many bytes of answers wait for the peer to read."""
        self.unread = size

    def wait_to_close(self, until: float | None) -> None:
        """One-way calls may wait alone until then although the connection is being closed."""
        self.closing = until

    def pieces_came(self, unfinished: Mapping[int, int], now: float) -> None:
        """Take note of messages of which pieces have come but not the last.

        Args:
            unfinished: by a number that is used once, with the bytes that have come. It is kept, and may change.
            now: the driver's clock.
        """
        self._unfinished = unfinished
        self._first_pieces = {serial: self._first_pieces.get(serial, now) for serial in unfinished}

    def reading_stopped(self) -> None:
        """We read no further for now: the time that what is incomplete takes is ours, not the peer's."""
        self.message_began = None
        self._first_pieces = NOTHING

    def next(self, mid_message: int) -> float | None:
        """Return when :meth:`overdue` and :meth:`wants_ping` have to be asked next, or None.

        Args:
            mid_message: bytes received of an incomplete message.
        """
        times = [when for when, _, _ in self._ends(mid_message)]
        if self.closing is not None:
            times.append(self.closing)
        if self._keepalive:
            times.append(self._look_again if self._asked else self.heard + self.limits.ping_seconds)
        return max(min(times), self._granted) if times else None

    def overdue(self, now: float, mid_message: int) -> ProtocolError | None:
        """Return why the connection has to end at the time ``now``, if it has to."""
        if now < self._granted:
            return None
        for when, code, reason in self._ends(mid_message):
            if now >= when:
                if now - when > LATE and self._granted <= when:
                    self._granted = now + GRACE
                    return None
                return ProtocolError(code, reason)
        return None

    def wants_ping(self, now: float) -> bool:
        """Return whether the peer has to be asked now whether it lives; it then counts as asked."""
        if not self._keepalive:
            return False
        if self._asked:
            if now >= self._look_again:
                self._look_again = now + self.limits.ping_seconds
            return False
        if now < self.heard + self.limits.ping_seconds:
            return False
        self._pinged = now
        self._look_again = now + self.limits.ping_seconds
        return True

    def did_not_listen(self, now: float) -> None:
        """We do not read for now, so the peer is not silent because nothing was received."""
        self.heard = now

    @property
    def _asked(self) -> bool:
        """Whether we asked, and have heard nothing since."""
        return self._pinged > self.heard

    def _ends(self, mid_message: int) -> Iterator[tuple[float, str, str]]:
        """Yield every time at which the connection ends if nothing changes, with code and reason."""
        limits = self.limits
        if self._handshake is not None:
            yield self._handshake, "handshake-timeout", f"no greeting in {limits.handshake_seconds:g} s"
        if self.message_began is not None:
            allowed = limits.message_seconds + mid_message / SLOWEST_BYTES_PER_SECOND
            yield self.message_began + allowed, "message-timeout", "a message was not finished in time"
        for serial, began in self._first_pieces.items():
            if serial in self._unfinished:
                allowed = limits.message_seconds + self._unfinished[serial] / SLOWEST_BYTES_PER_SECOND
                yield began + allowed, "message-timeout", "a message in pieces was not finished in time"
        if self.blocked_since is not None:
            allowed = limits.slow_consumer_seconds
            if self.unread > MUCH_UNREAD:
                allowed *= MUCH_UNREAD / self.unread
            yield self.blocked_since + allowed, SLOW_CONSUMER, f"nothing was read for {allowed:g} s"
        if self._keepalive and self._asked:
            allowed = limits.pong_seconds
            yield self._pinged + allowed, "ping-timeout", f"no sign of life for {allowed:g} s after a ping"


#: How often a standstill is looked at in the time after which it is one: it is noticed at most a quarter late.
LOOKS: Final = 4


class Standstill:
    """Whether calls that wait for room have waited for ``Limits.stalled_seconds`` without any call beginning or ending.

    Attributes:
        due: when to look next; None while nothing waits.
    """

    __slots__ = ("_looks", "_moves", "due")

    def __init__(self) -> None:
        self.due: float | None = None
        self._moves = 0
        self._looks = 0

    def watch(self, now: float, moves: int, limits: Limits) -> bool:
        """Something waits; return whether :attr:`due` is earlier than it was.

        Args:
            now: the driver's clock, or a time of before.
            moves: counts calls that began or ended.
            limits: of the connection.
        """
        if self.due is not None or limits.stalled_seconds is None:
            return False
        self.due = now
        self._moves = moves
        self._looks = -1  # ``now`` may be long ago: the time counts from the first look
        return True

    def is_over(self, now: float, moves: int, waiting: int, limits: Limits) -> bool:
        """Return whether nothing has moved for so long that the first that waits has to be ended.

        Args:
            now: the driver's clock.
            moves: counts calls that began or ended.
            waiting: how many wait.
            limits: of the connection.
        """
        if self.due is None or now < self.due:
            return False
        if not waiting or limits.stalled_seconds is None:
            self.due = None
            return False
        self.due = now + limits.stalled_seconds / LOOKS
        self._looks = self._looks + 1 if moves == self._moves else 0
        self._moves = moves
        if self._looks < LOOKS:
            return False
        self._looks = 0
        return True
