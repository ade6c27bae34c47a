"""Accepting: the connections of one server, from their transport until nothing of them runs any more."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Final

from .. import transports
from ..dialects.offer import Web
from ..errors import ConnectionLost, DeadReferenceError, LimitExceeded
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

#: Seconds that a drain waits for greetings that have begun: eight round trips around the world.
_GREETING_SECONDS: Final = 2.0

#: The part of a drain over which connections that move to another process are spread. The rest is for their calls.
_MOVING_PART: Final = 0.8

#: The part of a drain for which a connection that moves is left alone after it came: whoever connects makes a call.
_NEW_PART: Final = 0.5

#: Wait until connections that were accepted have their protocols.
Beginnings = Sequence[Callable[[], Awaitable[None]]]


class Accepting:
    """The connections of one server.

    Args:
        loop: where they live.
        settings: of ``serve``.
        make_roots: makes what a peer reaches by name, given its connection.
        events: receives connections, logins and calls; None if there is no observer.

    Attributes:
        unauthenticated: counts the peers that come from an IP address and have yet to log in or, without logins, to
            greet.
        accepted: how many connections were let in so far.
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
        self._draining = False
        self.events: Events | None = events
        self._closing = False
        self._moving: _Moving | None = None
        self._hosts: dict[Host, float] = {}  # of connections that live, and when they came; in that order
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

    @property
    def is_draining(self) -> bool:
        """Whether it ends, in order or at once."""
        return self._draining or self._closing

    def accept(self, proxied: tuple[str, int] | None = None, *, web: Web | None = None) -> asyncio.Protocol:
        """Return the protocol of a new connection.

        Args:
            proxied: where it comes from, as a trusted proxy says; None without one.
            web: how WebSocket is spoken; None where it is not.
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
            web=web,
        )
        if self.events is not None:
            self.events.listen(host.connection)
        return as_protocol(host.driver)

    def let_in(self, host: Host) -> str | None:
        """Take a connection that was made, or close it.

        Returns:
            Under which address its peer counts as unauthenticated; None when it does not.
        """
        if self._closing:  # it was on its way when the listeners were closed
            host.broker.close("closed", "the server was closed")
            return None
        address = host.connection.source
        if address is not None and not self.unauthenticated.arrive(address):
            host.broker.close("refused", "too many strangers come from there")
            return None
        log.info("connection from %s", host.connection.peer, extra=_extra(host.connection, "opened"))
        self.accepted += 1
        now = self._hosts[host] = self._loop.time()
        if self._draining:  # it is greeted, so that its peer learns why it cannot stay
            host.broker.drain()
        elif self._moving is not None:
            self._loop.call_at(self._moving.turn(now), self._move, host)
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
            if self._moving is not None and not self._hosts:
                self._moving.emptied.set()
            if self.events is not None:
                self.events.closed_one(host.connection)
        self._ending.add(host)

    def forget(self, host: Host) -> None:
        """Take note that nothing of a connection runs any more."""
        self._ending.discard(host)

    def retire(self, host: Host, seconds: float) -> None:
        """End a connection that is as old as it may be, with so many seconds for what runs."""
        self._keep(self._end_in_time(host, seconds))

    def _keep(self, retiring: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(retiring)
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _end_in_time(self, host: Host, seconds: float) -> None:
        await self._drain([host], seconds)
        host.connection.end("aged", "the connection is as old as it may be")

    async def close(self, drain: float, beginnings: Beginnings = (), *, moves: bool = False) -> None:
        """Let no more connections in, and end those that live.

        Args:
            drain: seconds to let calls that run come to their end first.
            beginnings: wait for connections that were accepted and have no protocol yet.
            moves: whether another process serves the peers: then they leave one by one during these seconds, and go on
                calling until their turn. Otherwise all are told at once, and new calls are refused.
        """
        if drain > 0 and not self._closing:
            if moves:
                await self._move_all(drain, beginnings)
            else:
                self._draining = True
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._finish_greetings(min(drain, _GREETING_SECONDS), beginnings))
                    both.create_task(self._drain(list(self._hosts), drain))
        self._closing = True
        hosts = list(self._hosts)
        for host in hosts:
            code = "aged" if moves else "drained" if drain > 0 and host.broker.is_idle else "closed"
            host.connection.end(code, "the server was closed")
        for host in [*hosts, *self._ending]:
            await host.connection.wait_closed()
        for task in list(self._retiring):
            await task
        self._allowance.sum_up()

    async def _finish_greetings(self, seconds: float, beginnings: Beginnings) -> None:
        """Wait until each connection that has come is greeted, because a peer takes an end before that for an error."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for wait in beginnings:
                    await wait()
                for host in list(self._hosts):
                    await host.wait_open()

    async def _move_all(self, drain: float, beginnings: Beginnings) -> None:
        """Have each peer leave in its turn."""
        began = self._loop.time()
        moving = self._moving = _Moving(began, drain)
        for position, (host, came) in enumerate(self._hosts.items()):
            turn = began + _MOVING_PART * drain * position / len(self._hosts)
            self._loop.call_at(max(turn, moving.turn(came)), self._move, host)
        try:
            async with asyncio.timeout_at(moving.until):
                for wait in beginnings:
                    await wait()
                while self._hosts:
                    moving.emptied.clear()
                    await moving.emptied.wait()
        except TimeoutError:
            _log_overdue([host for host in self._hosts if not host.broker.is_idle], drain)

    def _move(self, host: Host) -> None:
        if host in self._hosts:
            self._keep(self._leave(host))

    async def _leave(self, host: Host) -> None:
        """Tell a peer to call elsewhere, and end its connection when its calls have ended.

        Calls that it makes before it has read that are taken: the answer to a ping says that it has.
        """
        assert self._moving is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(self._moving.until):
                if not host.broker.is_classic:  # nothing tells such a peer
                    host.broker.announce_draining()
                    host.driver.wake()
                    with contextlib.suppress(ConnectionLost, DeadReferenceError, LimitExceeded):
                        await host.connection.ping()
                host.broker.drain()
                await host.wait_idle()
                host.connection.end("aged", "another process of the server takes its place")

    async def _drain(self, hosts: Sequence[Host], seconds: float) -> None:
        """Wait until nothing runs, or the time is over."""
        for host in hosts:
            host.broker.drain()
        try:
            async with asyncio.timeout(seconds):
                for host in hosts:
                    await host.wait_idle()
        except TimeoutError:
            _log_overdue(hosts, seconds)


def _log_overdue(hosts: Sequence[Host], seconds: float) -> None:
    busy = sum(host.connection.statistics().calls_in for host in hosts)
    names = sorted({name for host in hosts for name in host.names_of_running()})
    if hosts:
        log.warning(
            "closing after %g s of draining with %d calls still running: %s",
            seconds,
            busy,
            ", ".join(ascii(name[:64]) for name in names[:5]),
        )


class _Moving:
    """Connections that leave one by one, because another process takes the place of this one.

    Args:
        began: when the first leaves.
        drain: seconds until all have left.

    Attributes:
        until: when all have left.
        emptied: no connection lives.
    """

    def __init__(self, began: float, drain: float) -> None:
        self.until: float = began + drain
        self.emptied: asyncio.Event = asyncio.Event()
        self._drain = drain

    def turn(self, came: float) -> float:
        """Return when a connection that came at ``came`` may leave at the soonest."""
        return min(came + _NEW_PART * self._drain, self.until)


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
