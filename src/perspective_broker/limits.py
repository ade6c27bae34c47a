"""Limits: what a peer may use of one connection, with a reason for every default.

The receiver applies limits, for each connection; they are not negotiated. A connection whose peer has not logged in yet
has the limits of :meth:`Limits.before_login`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Final

__all__ = ["Limits"]

KIB = 1024
MIB = 1024 * KIB

#: Nodes (``Limits.nodes``) that a container counts beside its items: an empty one takes 56 bytes or more.
CONTAINER_NODES: Final = 4

#: Bytes of memory of one node: a number takes 28 to 36 with its pointer; a short text takes 60 and is two nodes on pb7.
NODE_BYTES: Final = 32

#: Limits that stay the same before login: times are not a resource that the peer consumes, and a login needs whole
#: words.
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

#: Limits of which a sixty-fourth is left before login, instead of a sixteenth: they bound how many values are held at a
#: time, and a login has few.
_REDUCED_MORE = frozenset({"memory_bytes", "nodes", "waiting_bytes", "window_bytes"})

_MAY_BE_NONE = frozenset({"calls_begun", "connection_seconds", "stalled_seconds"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Receiver-side bounds of one connection. Sizes in bytes, times in seconds.

    Attributes:
        depth: nested lists in a message. 256 is deeper than real data, and leaves half of Python's recursion limit of
            1000 to the application.
        message_bytes: one message, encoded. 16 MiB: 25 of the largest classic strings. On pb7 four of them may be in
            transit in pieces.
        nodes: items in a message, counted when a container announces them; each takes about 32 bytes of memory. A value
            of one byte is one, on pb7 a longer one is two, a container four (:data:`CONTAINER_NODES`). A million limits
            the worst message to about 32 MB, and to about 50 ms of decoding. Values that take longer to decode are
            limited as well: on pb7 at most a twentieth of the nodes may be extensions, which are tuples, dates,
            copyables, references and all other types that MessagePack does not have; on a classic dialect a tenth may
            be containers, of which a date, a decimal or a copyable counts five.
        list_items: items in one list; the limit of every classic peer.
        string_bytes: one string on a classic dialect; every classic peer refuses one byte more.
        large_string_bytes: one string on pb7, where only the size of the message bounds it.
        method_name_bytes: a method's name; names are written by programmers.
        int_bits: size of an integer: 64 base-128 digits, which every classic peer can read.
        calls_in_flight: unanswered calls, in each direction; further ones wait, see ``window_bytes``. Each side's
            unanswered calls lend the other side as many further slots, so that methods which call each other never
            block each other.
        calls_begun: methods that run at a time for one connection, those in lent slots included; further calls are
            refused with ``Unavailable("slots")``. None, the default, is the larger of 4096 and 4 times
            ``calls_in_flight``: it ends an endless recursion, and a useful one is not so deep.
        waiting_bytes: encoded size of a peer's calls that wait for a slot, at which reading from the peer pauses; and
            of its calls that wait for answers, beyond which they are refused. Each counts as 256 at least. 16 MiB:
            65,536 small calls, or one message of the largest size.
        stalled_seconds: how long a call may be first in a line, or in a queue, without any call beginning or ending
            there; then it ends with an error that names the limit. None lets it wait forever. Five minutes is longer
            than people wait, and than most methods run.
        window_bytes: encoded size of unanswered calls beyond which further calls wait in their caller's memory. 1 MiB
            fills any local network; a receiver holds twice as much. A call counts as 512 KiB at most, so that the small
            calls behind one large argument need not wait for its answer.
        memory_bytes: memory that one connection may use here for calls that it has sent and that have not ended, as
            objects, and for answers that it does not read, as bytes. At this limit its calls of more than 1 KiB are
            refused with ``Unavailable("slots")``, and answers that it does not read are dropped. 128 MiB, eight of the
            largest messages; a client of this library has only a few of them in transit.
        server_memory_bytes: the same for all connections of a server together; at this limit such calls are refused
            with ``Unavailable("busy")``. 1 GiB: eight connections at their own limit. The limits given to ``serve``
            determine it.
        references_received: live references that a peer may make this side hold.
        references_exported: live objects that a peer may make this side keep for it.
        observer_backlog_bytes: unsent bytes at which the connection of a peer with replicas is closed, because these
            are too far behind to be true. Four write buffers, so that a burst of updates alone does not close it.
        write_buffer_high: unsent bytes at which producers have to wait.
        write_buffer_low: unsent bytes at which producers may go on.
        handshake_seconds: from connection to the end of the greeting.
        message_seconds: from a message's first byte to its last, plus a second for every 16 KiB of it.
        ping_seconds: silence after which a pb7 peer is pinged.
        pong_seconds: further silence after which its connection is closed.
        close_seconds: how long a close may take before the transport is aborted, and before methods that still run
            although they were cancelled are abandoned.
        slow_consumer_seconds: how long a peer may leave a full write buffer unread; less, in proportion, when more than
            8 MiB of answers wait behind it.
        logins: failed logins on one connection.
        login_seconds: lifetime of a login's challenge, and how long a peer that has to log in may make no attempt.
            Programs need one second; half a minute is for a program that asks for the password after it has connected.
        strangers_per_address: connections from one IP address (one /64 of IPv6) whose peers are unauthenticated: no
            greeting yet, or no login where one is required. Further ones are closed immediately. A thousand users
            behind one address can log in at the same moment; more silent connections cannot be kept open.
        connection_seconds: age at which a connection takes no new calls and closes as soon as the running ones have
            ended, or a tenth of that age later. None, the default, sets no limit. With a day (86 400) or less, a
            revoked certificate or password ends also the connections that were made with it.
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
                    f"Limits.{field.name}: must be a {'whole ' if whole else ''}number, not {value!r:.100}"
                )
            if not 0 < value < math.inf:
                raise ValueError(f"Limits.{field.name}: must be positive, not {value!r}")
        if self.write_buffer_low > self.write_buffer_high:
            raise ValueError("Limits.write_buffer_low: must not exceed Limits.write_buffer_high")

    @property
    def most_begun(self) -> int:
        """Methods that may run at a time for one connection, see ``calls_begun``."""
        return max(4096, 4 * self.calls_in_flight) if self.calls_begun is None else self.calls_begun

    def before_login(self) -> Limits:
        """Return the limits of an unauthenticated peer: a sixteenth of every quantity, or less.

        They keep the memory of such a peer below 2 MiB.
        """
        return _before_login(self)


@lru_cache(maxsize=16)
def _before_login(limits: Limits) -> Limits:
    """Return the same object for all connections of a server, because a new one takes 30 µs and 250 bytes."""
    reduced = {
        field.name: max(1, getattr(limits, field.name) // (64 if field.name in _REDUCED_MORE else 16))
        for field in fields(limits)
        if field.name not in _NOT_REDUCED and field.name != "calls_begun"
    }
    reduced["calls_begun"] = max(1, limits.most_begun // 16)
    return replace(limits, **reduced)
