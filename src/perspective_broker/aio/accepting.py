"""Accepting: the connections of one server, from their transport until nothing of them runs any more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from .. import transports
from ..session import SharedAllowance, SharedMemory
from .accepted import Keeper
from .busypoll import BusyPoll
from .connection import Connection
from .driver import as_protocol
from .events import Events
from .host import Host
from .roots import MakeRoots
from .settings import Settings

__all__ = ["Accepting"]

log: logging.Logger = logging.getLogger("perspective_broker")


class Accepting:
    """The connections of one server.

    Args:
        loop: where they live.
        settings: of ``serve``.
        make_roots: makes what a peer reaches by name, given its connection.
        events: is told of connections, logins and calls; None when nobody listens.

    Attributes:
        unauthenticated: counts the peers that come from an IP address and have yet to log in or, without logins, to
            greet.
        accepted: how many connections were let in so far.
        is_closing: whether no more are.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        settings: Settings,
        make_roots: MakeRoots,
        events: Events | None = None,
    ) -> None:
        self.unauthenticated: transports.UnauthenticatedPeers = transports.UnauthenticatedPeers(
            settings.limits.strangers_per_address
        )
        self.accepted: int = 0
        self._loop = loop
        self._settings = settings
        self._make_roots = make_roots
        self.events: Events | None = events
        self.is_closing: bool = False
        self._hosts: dict[Host, None] = {}  # of connections that live, in the order in which they came
        self._ending: set[Host] = set()  # of those that have ended, and whose methods or callbacks still run
        self._retiring: set[asyncio.Task[None]] = set()
        # Shared by all of them:
        self._poll = None if settings.busy_poll is None else BusyPoll(loop, settings.busy_poll)
        self._allowance = SharedAllowance(loop.time())
        self._memory = SharedMemory(settings.limits.server_memory_bytes)

    @property
    def connections(self) -> list[Connection]:
        """The connections that live now, oldest first."""
        return [host.connection for host in self._hosts]

    def accept(self, proxied: tuple[str, int] | None = None) -> asyncio.Protocol:
        """Return the protocol of a new connection.

        Args:
            proxied: where it comes from, as a trusted proxy says; None without one.
        """
        accepted = _Accepted(self)
        host = accepted.host = Host(
            self._settings,
            "a peer",
            keeper=accepted,
            roots=self._make_roots,
            proxied=proxied,
            poll=self._poll,
            allowance=self._allowance,
            shared_memory=self._memory,
        )
        if self.events is not None:
            self.events.listen(host.connection)
        return as_protocol(host.driver)

    def let_in(self, host: Host) -> str | None:
        """Take a connection that was made, or close it.

        Returns:
            Under which address its peer counts as unauthenticated; None when it does not.
        """
        if self.is_closing:  # it was on its way when the listeners were closed
            host.broker.close("closed", "the server was closed")
            return None
        address = host.connection.source
        if address is not None and not self.unauthenticated.arrive(address):
            host.broker.close("refused", "too many strangers come from there")
            return None
        log.info("connection from %s", host.connection.peer, extra=_extra(host.connection, "opened"))
        self.accepted += 1
        self._hosts[host] = None
        if self.events is not None:
            self.events.opened(host.connection)
        return address

    def end(self, host: Host) -> None:
        """Take note that a connection has ended."""
        if host in self._hosts:
            cause = host.connection.close_cause
            code, reason = ("", "") if cause is None else (cause.code, cause.reason)
            extra = _extra(host.connection, code)
            log.info("connection from %s ended: %s: %s", host.connection.peer, code, reason, extra=extra)
            del self._hosts[host]
            if self.events is not None:
                self.events.closed_one(host.connection)
        self._ending.add(host)

    def forget(self, host: Host) -> None:
        """Take note that nothing of a connection runs any more."""
        self._ending.discard(host)

    def retire(self, host: Host, seconds: float) -> None:
        """End a connection that is as old as it may be, with so many seconds for what runs."""
        task = self._loop.create_task(self._end_in_time(host, seconds))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _end_in_time(self, host: Host, seconds: float) -> None:
        await self._drain([host], seconds)
        host.connection.end("aged", "the connection is as old as it may be")

    async def close(self, drain: float) -> None:
        """Let no more connections in, and end those that live.

        Args:
            drain: seconds to let calls that run come to their end first; new ones are refused meanwhile.
        """
        self.is_closing = True
        hosts = list(self._hosts)
        if drain > 0 and hosts:
            await self._drain(hosts, drain)
        for host in hosts:
            code = "drained" if drain > 0 and host.broker.is_idle else "closed"
            host.connection.end(code, "the server was closed")
        for host in [*hosts, *self._ending]:
            await host.connection.wait_closed()
        for task in list(self._retiring):
            await task
        self._allowance.sum_up()

    async def _drain(self, hosts: Sequence[Host], seconds: float) -> None:
        """Wait until nothing runs, or the time is over."""
        for host in hosts:
            host.broker.drain()
        try:
            async with asyncio.timeout(seconds):
                for host in hosts:
                    await host.wait_idle()
        except TimeoutError:
            busy = sum(host.connection.statistics().calls_in for host in hosts)
            names = sorted({name for host in hosts for name in host.names_of_running()})
            log.warning(
                "closing after %g s of draining with %d calls still running: %s",
                seconds,
                busy,
                ", ".join(ascii(name[:64]) for name in names[:5]),
            )


def _extra(connection: Connection, code: str) -> dict[str, object]:
    """Return what a log record carries about a connection, for those that filter by it."""
    return {"pb_peer": connection.peer, "pb_user": connection.user, "pb_code": code}


class _Accepted(Keeper):
    """One connection of a server."""

    __slots__ = ("_accepting", "_address", "_retirement", "host")

    host: Host

    def __init__(self, accepting: Accepting) -> None:
        self._accepting = accepting
        self._address: str | None = None  # where the peer counts as unauthenticated
        self._retirement: asyncio.TimerHandle | None = None

    def connected(self, connection: Connection) -> None:
        host = self.host
        self._address = self._accepting.let_in(host)
        if connection.close_cause is None:
            host.driver.unauthenticated = self._address is not None
            age = connection.limits.connection_seconds
            if age is not None:
                self._retirement = host.driver.loop.call_later(age, self._accepting.retire, host, age / 10)

    def authenticated(self) -> None:
        address, self._address = self._address, None
        if address is not None:
            self._accepting.unauthenticated.leave(address)

    def logged_in(self, connection: Connection, user: str, method: str) -> None:
        if self._accepting.events is not None:
            self._accepting.events.logged_in(connection, user, method)

    def ended(self) -> None:
        self.authenticated()
        if self._retirement is not None:
            self._retirement.cancel()
        self._accepting.end(self.host)

    def gone(self) -> None:
        self._accepting.forget(self.host)
