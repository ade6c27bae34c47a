"""A reference that outlives its connection: it connects again, logs in again, and lets new calls wait meanwhile.

Calls are never repeated. A call that was sent and not answered when the connection was lost fails as
``ConnectionLost``, because it is unknown whether its method ran; one that was not sent waits for the next connection,
and fails with the code ``not-sent`` when none comes in time. How connections are made is in :mod:`.client`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from ..errors import BrokerError, ConnectionLost, DeadReferenceError, LoginFailed, Unavailable, UsageError
from ..flavors.guard import ordinary
from ..flavors.handle import Name
from ..hooks import is_ours, run
from ..interfaces import Callee, Form
from ..ports import Value
from ..session import CloseCause
from .calls import Promise
from .connection import Connection, dont_notify_at_end, notify_at_end
from .held import usable
from .pending import Note, begin_waiting, fail_waiting, wait_for_connection
from .references import RemoteMethod, RemoteReference
from .streams import StreamReader

__all__ = ["Backoff", "ReconnectingReference", "keep_connected"]

log: logging.Logger = logging.getLogger("perspective_broker")

#: Codes after which a connection is not made again: the one that replaced it would be replaced in turn, for ever.
_FINAL: Final = frozenset({"replaced"})

#: Codes after which it is made again at once: the server is there, and its connections are not all of one age. This
#: holds for a connection that has lived for a while; one that ends right after it was made is like any other.
_AT_ONCE: Final = frozenset({"aged"})

#: So often in a row it is made at once although it has not lived for a while: while the processes of a server are
#: replaced one after the other, a client may come to one that is replaced next.
_MOST_AT_ONCE: Final = 3

#: Connections that drain and are kept until the peer ends them. A peer may drain each of them, and end none.
_MOST_DRAINING: Final = 2

#: Seconds for which each of them is kept. A server whose connections live for a day gives what runs a tenth of that.
_DRAIN_SECONDS: Final = 3 * 3600.0


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


@dataclass(frozen=True, slots=True)
class _Call:
    """A call that waits for a connection."""

    name: str
    args: tuple[Value, ...]
    kwargs: dict[str, Value]
    wants_answer: bool
    timer: asyncio.TimerHandle | None


class ReconnectingReference(Name, Callee):
    """The peer's root, or the perspective or avatar of a login, on whatever connection there is at the moment.

    Made by ``pb.connect(..., reconnect=True)``. It is called like a :class:`RemoteReference`; among the arguments of a
    call it crosses as the reference that it is at that moment. References that were got through it belong to the
    connection they came by, and end with it.

    It ends by :meth:`close`, when a login is refused, and when the same user has logged in elsewhere and replaced
    it (a service with ``second_login="replace"``; pb7 only). Every later use raises ``DeadReferenceError``.

    Args:
        establish: connects and logs in; called once for each connection.
        url: where to, for messages.
        backoff: how long to wait between two attempts.
        timeout: seconds that a call waits for a connection; None for ever.
        others: how many other urls ``establish`` can go to: so often it is called without a pause.
    """

    def __init__(
        self,
        establish: Callable[[], Coroutine[Any, Any, RemoteReference]],
        url: str,
        backoff: Backoff,
        timeout: float | None,
        others: int = 0,
    ) -> None:
        self._others = others
        self._loop = asyncio.get_running_loop()
        self._establish, self._url, self._backoff, self._timeout = establish, url, backoff, timeout
        self._current: RemoteReference | None = None
        #: The current one, and those before it that have not ended -> the timer that ends one which drains.
        self._connections: dict[Connection, asyncio.TimerHandle | None] = {}
        self._attempt = 0  # how many since a connection last lived for a while
        self._adopted = 0.0  # when the current connection was made
        self._cause: CloseCause | None = None  # why the last one ended
        self._news = asyncio.Event()  # the current connection has ended, or takes no calls any more
        self._calling_back = False  # whether callbacks for a new connection run
        self._settled = True  # whether they have ended, and what waited was sent
        self._waiting: dict[Promise[Value], _Call] = {}  # in the order in which they were made
        self._on_disconnect: list[Callable[[ReconnectingReference], object]] = []
        self._on_reconnect: list[Callable[[RemoteReference], object]] = []
        self._end: Exception | None = None
        self._task: asyncio.Task[None] | None = None

    # -- what a reference has

    def call(self, name: str, /, *args: Value, **kwargs: Value) -> Promise[Value]:
        """Call the object's method ``name``, now or as soon as there is a connection.

        The arguments of a call that waits are read when it is sent. The promise fails with ``ConnectionLost``, of the
        code ``not-sent`` when no connection came in time.

        Raises:
            DeadReferenceError: the reference has ended. (At once.)
            UsageError: from another thread or event loop than its own. (At once.)
        """
        ready = self._ready()
        return ready.call(name, *args, **kwargs) if ready else self._wait(name, args, kwargs, True)

    def tell(self, name: str, /, *args: Value, **kwargs: Value) -> Awaitable[None]:
        """Call the object's method ``name`` and ask for no answer, now or as soon as there is a connection.

        Returns:
            An awaitable that waits until it was sent and the connection can take more. It raises ConnectionLost when no
            connection came in time.

        Raises:
            DeadReferenceError: the reference has ended.
            SerializationError: the arguments cannot cross; nothing was sent.
            LimitExceeded: the write buffer is full and no task waits for it to drain.
            UsageError: from another thread or event loop than its own.
        """
        ready = self._ready()
        return ready.tell(name, *args, **kwargs) if ready else self._wait(name, args, kwargs, False)

    def method(self, name: str) -> RemoteMethod:
        """Return the method ``name`` of the object, to be called like a function."""
        return RemoteMethod(self, name)

    def on_disconnect(self, callback: Callable[[ReconnectingReference], object]) -> None:
        """Call ``callback(reference)`` each time that a connection ends, from now on; it may be ``async``.

        Raises:
            DeadReferenceError: the reference has ended.
        """
        self._check_usable()
        self._on_disconnect.append(callback)
        for connection in self._connections:
            notify_at_end(connection, self, callback)

    def dont_notify_on_disconnect(self, callback: Callable[[ReconnectingReference], object]) -> None:
        """Undo one :meth:`on_disconnect`.

        Raises:
            ValueError: it was not asked for.
        """
        _remove(self._on_disconnect, callback)
        for connection in self._connections:
            dont_notify_at_end(connection, self, callback)

    def on_reconnect(self, callback: Callable[[RemoteReference], object]) -> None:
        """Call ``callback(current)`` each time that there is a new connection, from the second one on.

        Here a program subscribes again, and fetches again what it had got by the old connection. ``current`` is the
        new connection's own reference. Callbacks run in the order in which they were asked for, ``async`` ones one
        after the other, and calls that waited are sent when all have ended: they find everything as the callbacks left
        it. When one raises it is logged, the others run, and then the connection is ended and made again after a while.

        Raises:
            DeadReferenceError: the reference has ended.
        """
        self._check_usable()
        self._on_reconnect.append(callback)

    def dont_notify_on_reconnect(self, callback: Callable[[RemoteReference], object]) -> None:
        """Undo one :meth:`on_reconnect`.

        Raises:
            ValueError: it was not asked for.
        """
        _remove(self._on_reconnect, callback)

    @property
    def connected(self) -> bool:
        """Whether there is a connection at the moment."""
        return self._current is not None

    @property
    def waiting(self) -> int:
        """How many calls wait for a connection."""
        return len(self._waiting)

    @property
    def current(self) -> RemoteReference:
        """The reference of the connection that there is at the moment; it ends with that.

        Raises:
            DeadReferenceError: there is none.
        """
        if self._current is None:
            raise DeadReferenceError(f"there is no connection to {self._url} at the moment")
        return self._current

    @property
    def connection(self) -> Connection:
        """The connection that there is at the moment.

        Raises:
            DeadReferenceError: there is none.
        """
        return self.current.connection

    async def close(self) -> None:
        """End the connection, and connect no more. May be called twice.

        Calls without an answer, and those that wait, fail with ConnectionLost.
        """
        self._finish(ConnectionLost("closed", "the program closed it"))
        task = self._task
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            await asyncio.wait([task])
        for connection in list(self._connections):
            await connection.close()

    def _check_usable(self) -> None:
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is not self._loop:
            raise UsageError(
                "a reference is used in the event loop (and the thread and process) that it was made in"
            )
        if self._end is not None:
            raise DeadReferenceError(f"this reference has ended ({self._end})") from self._end

    # -- calls that wait

    def _ready(self) -> RemoteReference | None:
        """Return what a call can be sent to now; None when it has to wait."""
        self._check_usable()
        current = self._current
        if current is None or current.connection.draining:
            return None
        if not self._settled and asyncio.current_task() is not self._task:
            return None  # callbacks come first, and what waited
        return current

    # -- calls by an interface

    def _pb_call(self, form: Form, args: tuple[Value, ...], kwargs: dict[str, Value]) -> Promise[Value]:
        ready = self._ready()
        return (
            ready._pb_call(form, args, kwargs) if ready else self._wait(form.name, args, kwargs, True, form)
        )

    def _pb_tell(self, form: Form, args: tuple[Value, ...], kwargs: dict[str, Value]) -> Awaitable[None]:
        return self.tell(form.name, *args, **kwargs)

    def _pb_read(self, form: Form, args: tuple[Value, ...], kwargs: dict[str, Value]) -> StreamReader:
        return StreamReader(self._pb_call(form, args, kwargs), form)

    # -- calls that wait

    def _wait(
        self,
        name: str,
        args: tuple[Value, ...],
        kwargs: dict[str, Value],
        wants_answer: bool,
        form: Form | None = None,
    ) -> Promise[Value]:
        promise: Promise[Value] = wait_for_connection(Promise(loop=self._loop), name, form)
        timer = None if self._timeout is None else self._loop.call_later(self._timeout, self._expire, promise)
        self._waiting[promise] = _Call(name, args, kwargs, wants_answer, timer)
        promise.add_done_callback(Note(self._forget))
        return promise

    def _expire(self, promise: Promise[Value]) -> None:
        fail_waiting(
            promise, ConnectionLost("not-sent", f"no connection to {self._url} within {self._timeout:g} s")
        )

    def _forget(self, promise: Value) -> None:
        """A call that waited was sent, or is over."""
        call = self._waiting.pop(promise, None)
        if call is not None and call.timer is not None:
            call.timer.cancel()

    async def _send_waiting(self, reference: RemoteReference) -> None:
        """Send the calls that waited, in order, at the pace of the connection."""
        caller = usable(reference)
        while self._waiting and self._is_at(reference):
            promise = next(iter(self._waiting))
            call = self._waiting[promise]
            self._forget(promise)
            if promise.done():
                continue
            try:
                if call.wants_answer:
                    begin_waiting(promise, caller, reference, call.name, call.args, call.kwargs)
                    continue
                reference.tell(call.name, *call.args, **call.kwargs)
            except Exception as error:
                log.debug("a one-way call could not be sent: %s", type(error).__name__)
                fail_waiting(promise, error)
            else:
                if not promise.done():
                    promise.set_result(None)
                await caller.buffer.drain

    # -- connections

    def _adopt(self, reference: RemoteReference) -> None:
        """Use a new connection from now on."""
        caller = usable(reference)
        connection = caller.connection
        self._current = reference
        self._connections[connection] = None
        for old in list(self._connections)[: -1 - _MOST_DRAINING]:
            old.end("closed", "too many connections of one client drain")
        self._adopted = self._loop.time()
        self._cause = None
        self._news.clear()
        try:
            connection.on_disconnect(self._lost)
        except DeadReferenceError:  # it has ended already
            self._lost(connection)
            return
        caller.when_draining = partial(self._drains, connection)
        for callback in self._on_disconnect:
            notify_at_end(connection, self, callback)
        if connection.draining:
            self._drains(connection)

    def _drains(self, connection: Connection) -> None:
        """Make another connection, and end this one if the peer does not."""
        self._news.set()
        # Callbacks may wait for an answer that never comes, and all other calls wait for the callbacks.
        seconds = self._backoff.cap if self._calling_back else _DRAIN_SECONDS
        self._connections[connection] = self._loop.call_later(
            seconds, connection.end, "closed", "it has drained for too long"
        )

    def _lost(self, connection: Connection) -> None:
        timer = self._connections.pop(connection, None)
        if timer is not None:
            timer.cancel()
        if self._current is not None and self._current.connection is connection:
            self._current = None
            self._cause = connection.close_cause
            self._news.set()

    def _is_at(self, reference: RemoteReference) -> bool:
        """Whether calls can still be made on this connection."""
        return self._current is reference and not reference.connection.draining

    async def _keep_connected(self) -> None:
        """See to it that there is a connection, until the end."""
        try:
            while self._end is None:
                await self._news.wait()
                self._settled = False
                reference = await self._connect_again()
                if await self._call_back(reference) or not self._is_at(reference):
                    await self._send_waiting(reference)
                    self._settled = self._is_at(reference)
                else:  # what they fetch anew may be missing, without a sign of it
                    reference.connection.end("closed", "a callback of on_reconnect raised")
        except LoginFailed as error:
            log.error("the connection to %s is not made again: %s", self._url, error)
            self._finish(error)
        except ConnectionLost as error:
            self._finish(error)
        except BaseException as error:
            plain = ordinary(error)
            if is_ours(error, self._task) or not isinstance(plain, Exception):
                raise
            log.error("the connection to %s is not made again", self._url, exc_info=plain)
            self._finish(plain)

    async def _call_back(self, reference: RemoteReference) -> bool:
        """Run the callbacks for a new connection; return whether none of them raised."""
        succeeded = True
        self._calling_back = True
        for callback in list(self._on_reconnect):
            if not self._is_at(reference):
                break
            if not await run(partial(callback, reference), "a callback for a new connection raised"):
                succeeded = False
        self._calling_back = False
        return succeeded

    async def _connect_again(self) -> RemoteReference:
        """Return the reference of a new connection.

        Raises:
            LoginFailed: the peer does not let us in any more.
            ConnectionLost: the old connection ended for good.
        """
        lasted = self._loop.time() - self._adopted >= self._backoff.cap
        if lasted:
            self._attempt = 0
        first = True
        while True:
            seconds = (
                0.0 if self._attempt < self._others else self._backoff.delay(self._attempt - self._others)
            )
            await self._pause(seconds, at_once=first and (lasted or self._attempt < _MOST_AT_ONCE))
            self._attempt += 1
            try:
                reference = await self._establish()
            except LoginFailed:
                raise
            except (OSError, BrokerError) as error:
                log.log(
                    logging.WARNING if first else logging.INFO, "no connection to %s: %s", self._url, error
                )
                first = False
            else:
                log.info("connected to %s again", self._url)
                self._adopt(reference)
                return reference

    async def _pause(self, seconds: float, *, at_once: bool) -> None:
        """Wait until it is time for an attempt to connect.

        Args:
            seconds: how long.
            at_once: whether the end of the last connection may make it shorter.

        Raises:
            ConnectionLost: no connection is wanted any more.
        """
        try:
            async with asyncio.timeout(seconds):
                while True:
                    cause = self._cause
                    if cause is not None and cause.code in _FINAL:
                        raise ConnectionLost(cause.code, cause.reason)
                    if cause is not None and cause.code in _AT_ONCE and at_once:
                        return
                    # The old connection may take no calls and still live; its end may bring another cause.
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            pass

    def _finish(self, error: Exception) -> None:
        """Connect no more, because of ``error``."""
        if self._end is None:
            self._end = error
            for promise in list(self._waiting):
                fail_waiting(promise, error)

    def __repr__(self) -> str:
        state = "ended" if self._end is not None else "connected" if self.connected else "not connected"
        return f"<ReconnectingReference to {self._url}, {state}>"


async def keep_connected(reference: ReconnectingReference) -> ReconnectingReference:
    """Make the first connection of a new reference, and keep one from then on. Raises what making it raises."""
    try:
        first = await reference._establish()
    except Unavailable as error:
        if error.code != "draining":
            raise
        first = await reference._establish()  # at once: who listens there now takes its place
    reference._adopt(first)
    reference._task = reference._loop.create_task(reference._keep_connected())
    return reference


def _remove(callbacks: list[Any], callback: object) -> None:
    try:
        callbacks.remove(callback)
    except ValueError:
        raise ValueError("that callback was not registered here") from None
