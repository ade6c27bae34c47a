"""One frozen :class:`Limits`: how much a peer may ask of one connection, with a reason beside every default.

Limits are judged by the receiver, per connection; nothing in them is negotiated. A connection that has not
logged in yet lives under :meth:`Limits.before_login`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Final

__all__ = ["Limits"]

KIB = 1024
MIB = 1024 * KIB

#: What a container counts of ``Limits.nodes``, beside its items: an empty one takes 56 bytes and more.
CONTAINER_NODES: Final = 4

#: Memory of one node: a number takes 28 to 36 bytes with its pointer, a short text 60 and counts two on pb7.
NODE_BYTES: Final = 32

#: What stays as it is before login: times are not a resource the peer consumes, and a login needs whole words.
_NOT_REDUCED = frozenset(
    {
        "depth",
        "int_bits",
        "method_name_bytes",
        "logins",
        "handshake_seconds",
        "message_seconds",
        "ping_seconds",
        "pong_seconds",
        "close_seconds",
        "slow_consumer_seconds",
        "login_seconds",
        "strangers_per_address",
        "server_memory_bytes",
        "connection_seconds",
        "stalled_seconds",
    }
)

#: Of these there is a sixty-fourth before login, of the others a sixteenth: they bound how many values are held
#: at once, and a login has few.
_REDUCED_MORE = frozenset({"memory_bytes", "nodes", "waiting_bytes", "window_bytes"})

_MAY_BE_NONE = frozenset({"calls_begun", "connection_seconds", "stalled_seconds"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Receiver-side bounds of one connection. Sizes in bytes, times in seconds.

    Attributes:
        depth: nested lists in a message. 256 is deeper than any data met in practice, and leaves half of
            Python's recursion limit of 1000 to the application.
        message_bytes: one message, encoded. 16 MiB: 25 of the largest classic strings. On pb7 four of them may be under
            way in pieces.
        nodes: items in a message, counted when a container announces them; 32 bytes of memory each, or so. A value of
            one byte is one, on pb7 a longer one is two, a container four (:data:`CONTAINER_NODES`). A million keeps
            the worst message at some 32 MB, and at some 50 ms to read. What takes longer to read is counted as well: on
            pb7 at most a twentieth of them may be extensions, which is tuples, dates, copyables, references and
            whatever else MessagePack does not have; on a classic dialect a tenth may be containers, of which a date, a
            decimal or a copyable counts five.
        list_items: items in one list; the number every classic peer uses for its own bound.
        string_bytes: one string on a classic dialect; one byte more is refused by every classic peer.
        large_string_bytes: one string on pb7, where nothing but the message bounds it.
        method_name_bytes: a method's name; names are written by programmers.
        int_bits: size of an integer: 64 base-128 digits, what every classic peer can read.
        calls_in_flight: unanswered calls, either way; further ones wait, see ``window_bytes``. Each side's unanswered
            calls lend the other side as many further slots, so that methods which call each other never block each
            other.
        calls_begun: methods that run at once for one connection, those in lent slots included; further calls are
            refused with ``Unavailable("slots")``. None, the default, stands for the larger of 4096 and 4 times
            ``calls_in_flight``: it ends a recursion that does not end, and an honest one is not so deep.
        waiting_bytes: encoded size of a peer's calls that stand in line for a slot, from which on nothing more is read
            of it; and of its calls that wait for answers, beyond which they are refused. Each counts as 256 at
            least. 16 MiB: 65,536 small calls, or one message of the largest size.
        stalled_seconds: how long a call may stand first in a line, or in a queue, without any call beginning or ending
            there; then it is ended with an error that names the limit. None lets it wait for ever. Five minutes is
            longer than people wait, and than most methods run.
        window_bytes: encoded size of calls that may be on their way unanswered before further ones wait in
            their caller's memory. 1 MiB fills any local network; a receiver holds twice as much. A call counts as
            512 KiB at most, so that one large argument does not hold up the small calls behind it until it is answered.
        memory_bytes: memory that one connection may take here by what it has sent and by what it does not read: calls
            that have not ended, as objects, and answers as bytes. Then its calls of more than 1 KiB are refused with
            ``Unavailable("slots")``, and answers that it does not read are not kept. 128 MiB, eight of the largest
            messages; a client of ours has no more than a few of them on their way.
        server_memory_bytes: the same of all connections of a server together; then those calls are refused with
            ``Unavailable("busy")``. 1 GiB: eight connections that take all they may. It goes by the limits that
            ``serve`` was given.
        references_received: live references a peer may make us hold.
        references_exported: live objects a peer may make us keep for it.
        observer_backlog_bytes: unsent bytes at which a peer that keeps replicas is given up: it lags so far behind
            that they are not true any more. Four write buffers, so a burst of updates alone does not end it.
        write_buffer_high: unsent bytes at which producers are asked to wait.
        write_buffer_low: unsent bytes at which they may go on.
        handshake_seconds: from connection to the end of the greeting.
        message_seconds: from a message's first byte to its last, plus a second for every 16 KiB of it.
        ping_seconds: silence after which a pb7 peer is asked whether it lives.
        pong_seconds: silence after which it is then given up.
        close_seconds: how long a close may take before the transport is aborted, and methods that go on although they
            were cancelled are left behind.
        slow_consumer_seconds: how long a peer may leave a full write buffer unread; less, in proportion, when more than
            8 MiB of answers wait behind it.
        logins: failed logins on one connection.
        login_seconds: life of a login's challenge, and what a peer that has to log in may let pass without trying.
            Programs need one; half a minute is for whoever connects first and asks for the password then.
        strangers_per_address: connections from one IP address (one /64 of IPv6) whose peers have not said who they are:
            no greeting yet, or no login where one is asked for. Further ones are closed at once. A thousand users
            behind one address can log in at the same moment; who holds silent connections open gets no more.
        connection_seconds: age at which a connection takes no new calls and ends as soon as those that run have ended,
            or a tenth of that age later. None, the default, lets it live: who wants a certificate or a password that
            was taken back to end what was begun with it sets a day (86 400) or less.
    """

    depth: int = 256
    message_bytes: int = 16 * MIB
    nodes: int = 1_000_000
    list_items: int = 640 * KIB
    string_bytes: int = 640 * KIB
    large_string_bytes: int = 16 * MIB
    method_name_bytes: int = 256
    int_bits: int = 448
    calls_in_flight: int = 1024
    calls_begun: int | None = None
    waiting_bytes: int = 16 * MIB
    stalled_seconds: float | None = 300.0
    window_bytes: int = 1 * MIB
    memory_bytes: int = 128 * MIB
    server_memory_bytes: int = 1024 * MIB
    references_received: int = 10_000
    references_exported: int = 100_000
    observer_backlog_bytes: int = 4 * MIB
    write_buffer_high: int = 1 * MIB
    write_buffer_low: int = 256 * KIB
    handshake_seconds: float = 10.0
    message_seconds: float = 30.0
    ping_seconds: float = 20.0
    pong_seconds: float = 20.0
    close_seconds: float = 5.0
    slow_consumer_seconds: float = 30.0
    logins: int = 5
    login_seconds: float = 30.0
    strangers_per_address: int = 1024
    connection_seconds: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None and field.name in _MAY_BE_NONE:
                continue
            whole = field.type in ("int", "int | None")
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
                raise TypeError(
                    f"Limits.{field.name} is a {'whole ' if whole else ''}number, not {value!r:.100}"
                )
            if not 0 < value < math.inf:
                raise ValueError(f"Limits.{field.name} must be positive, not {value!r}")
        if self.write_buffer_low > self.write_buffer_high:
            raise ValueError("Limits.write_buffer_low must not exceed write_buffer_high")

    @property
    def most_begun(self) -> int:
        """Methods that may run at once for one connection, see ``calls_begun``."""
        return max(4096, 4 * self.calls_in_flight) if self.calls_begun is None else self.calls_begun

    def before_login(self) -> Limits:
        """Return the limits of a peer that has not said who it is: a sixteenth of every quantity, or less.

        They keep what such a peer has here below 2 MiB.
        """
        return _before_login(self)


@lru_cache(maxsize=16)
def _before_login(limits: Limits) -> Limits:
    """Return the same object for all the connections of a server: making one takes 30 µs, and it 250 bytes."""
    reduced = {
        field.name: max(1, getattr(limits, field.name) // (64 if field.name in _REDUCED_MORE else 16))
        for field in fields(limits)
        if field.name not in _NOT_REDUCED and field.name != "calls_begun"
    }
    reduced["calls_begun"] = max(1, limits.most_begun // 16)
    return replace(limits, **reduced)
