"""The keeper of a connection: it connects again, fetches again what came over the old one, and sends what waited.

::

    connect ──▶ fetch the derived objects ──▶ callbacks of on_reconnect ──▶ calls that waited, in order ──▶ settled
       ▲                                             │ raised: tried again here, or the connection is ended
       └───────── the connection ends, or drains ◀───┘

Until it is settled only the code that is called meanwhile, and its tasks, make calls on the new connection; all other
calls wait.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

from ..errors import BrokerError, ConnectionLost, DeadReferenceError, LoginFailed, Unavailable, UsageError
from ..flavors.guard import ordinary
from ..hooks import is_ours, maybe_await, run
from ..interfaces import underlying
from ..ports import Value
from ..session import CloseCause, not_run
from .backoff import Backoff
from .connection import Connection, dont_notify_at_end, notify_at_end
from .held import usable
from .references import RemoteReference
from .waiting_calls import Lasting, WaitingCalls

__all__ = ["Derived", "Keeper"]

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

_RAISED: Final = "a callback for a new connection raised"

#: The preparation of a new connection of which the running code is a part.
_part_of: Final[ContextVar[object]] = ContextVar("_part_of", default=None)

#: Gives an object of a new connection, from the reference that it is derived from.
Resolver: TypeAlias = Callable[[RemoteReference], Awaitable[Value] | Value]


class Derived(Lasting):
    """An object that is fetched again on each connection.

    Args:
        parent: from whose reference it is fetched.
        resolve: fetches it.
        label: what it is, for messages.
    """

    def __init__(self, parent: Lasting, resolve: Resolver, label: str) -> None:
        super().__init__(label, f"no reference to {label}")
        self.parent: Lasting = parent
        self.resolve: Resolver = resolve


@dataclass(frozen=True, slots=True)
class _Callback:
    """A callback for new connections."""

    of: Lasting
    callback: Callable[[RemoteReference], object]
    retry: bool


class Keeper:
    """Keeps one connection after the other, for the root of which objects are derived.

    Args:
        establish: connects and logs in; called once for each connection.
        url: where to, for messages.
        backoff: how long to wait between two attempts.
        timeout: seconds that a call waits for a connection; None for ever.
        others: how many other urls ``establish`` can go to: so often it is called without a pause.

    Attributes:
        root: what ``establish`` gives.
        waiting: the calls that wait.
        loop: where all this lives.
    """

    def __init__(
        self,
        establish: Callable[[], Coroutine[Any, Any, RemoteReference]],
        url: str,
        backoff: Backoff,
        timeout: float | None,
        others: int = 0,
    ) -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.root: Lasting = Lasting(url, f"no connection to {url}")
        self.waiting: WaitingCalls = WaitingCalls(self.loop, timeout)
        self._establish, self._url, self._backoff, self._others = establish, url, backoff, others
        #: The current one, and those before it that have not ended -> the timer that ends one which drains.
        self._connections: dict[Connection, asyncio.TimerHandle | None] = {}
        self._attempt = 0  # how many since a connection last lived for a while
        self._adopted = 0.0  # when the current connection was made
        self._cause: CloseCause | None = None  # why the last one ended
        #: The current connection has ended, or takes no calls any more, or a callback is to be called for it.
        self._news = asyncio.Event()
        self._preparing: object = None  # what runs for a new connection, before calls that waited are sent
        self._calling_back = False  # whether these are callbacks
        self._settled = True  # whether nothing runs for it any more, and what waited was sent
        self._derived: weakref.WeakValueDictionary[int, Derived] = weakref.WeakValueDictionary()
        self._fetching: dict[Derived, asyncio.Task[None]] = {}
        self._on_disconnect: list[tuple[Any, Callable[[Any], object]]] = []
        self._on_reconnect: list[_Callback] = []
        self._first: list[_Callback] = []  # those that are to be called for the current connection, too
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Make the first connection, and keep one from then on. Raises what making it raises."""
        self._adopt(await _first(self._establish))
        self._task = self.loop.create_task(self._keep_connected())

    # -- for the references

    def check_usable(self, target: Lasting) -> None:
        """Raise if ``target`` cannot be used here, or not any more."""
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is not self.loop:
            raise UsageError(
                "a reference is used in the event loop (and the thread and process) that it was made in"
            )
        end = target.end or self.root.end
        if end is not None:
            raise DeadReferenceError(f"this reference has ended ({end})") from end

    def ready(self, target: Lasting) -> RemoteReference | None:
        """Return what a call can be sent to now; None when it has to wait."""
        self.check_usable(target)
        root = self.root.current
        if root is None or root.connection.draining:
            return None
        if not self._settled and (self._preparing is None or _part_of.get() is not self._preparing):
            return None  # callbacks come first, and what waited
        if target.current is None and isinstance(target, Derived):
            self._fetch_soon(target)
        return target.current

    def derive(self, parent: Lasting, resolve: Resolver, label: str) -> Derived:
        """Return an object that is fetched now, if there is a connection, and for each new one."""
        self.check_usable(parent)
        derived = Derived(parent, resolve, label)
        self._derived[id(derived)] = derived
        self.ready(derived)
        return derived

    def end_derived(self, derived: Derived, error: Exception) -> None:
        """Fetch an object no more."""
        if derived.end is None:
            derived.end, derived.current = error, None
            self._derived.pop(id(derived), None)
            self._on_reconnect = [entry for entry in self._on_reconnect if entry.of is not derived]
            self._first = [entry for entry in self._first if entry.of is not derived]
            task = self._fetching.get(derived)
            if task is not None:
                task.cancel()
            self.waiting.fail(error, derived)

    def on_disconnect(self, subject: Any, callback: Callable[[Any], object]) -> None:
        """Call ``callback(subject)`` each time that a connection ends."""
        self._on_disconnect.append((subject, callback))
        for connection in self._connections:
            notify_at_end(connection, subject, callback)

    def dont_notify_on_disconnect(self, subject: Any, callback: Callable[[Any], object]) -> None:
        """Undo one :meth:`on_disconnect`; raises ValueError if it was not asked for."""
        _remove(self._on_disconnect, (subject, callback))
        for connection in self._connections:
            dont_notify_at_end(connection, subject, callback)

    def on_reconnect(
        self, target: Lasting, callback: Callable[[RemoteReference], object], first: bool, retry: bool
    ) -> None:
        """Call ``callback`` with the reference of ``target`` for each new connection."""
        entry = _Callback(target, callback, retry)
        self._on_reconnect.append(entry)
        root = self.root.current
        if first and root is not None and not root.connection.draining:
            self._first.append(entry)
            self._settled = False
            self._news.set()

    def dont_notify_on_reconnect(
        self, target: Lasting, callback: Callable[[RemoteReference], object]
    ) -> None:
        """Undo one :meth:`on_reconnect`; raises ValueError if it was not asked for."""
        for entry in self._on_reconnect:
            if entry.of is target and entry.callback == callback:
                self._on_reconnect.remove(entry)
                if entry in self._first:
                    self._first.remove(entry)
                return
        raise ValueError("that callback was not registered here")

    async def close(self) -> None:
        """End the connection, and connect no more."""
        self._finish(ConnectionLost("closed", "the program closed it"))
        current = asyncio.current_task()
        tasks = (self._task, *self._fetching.values())
        ending = [task for task in tasks if task is not None and task is not current]
        for task in ending:
            task.cancel()
        if ending:
            await asyncio.wait(ending)
        for connection in list(self._connections):
            await connection.close()

    # -- connections

    def _adopt(self, reference: RemoteReference) -> None:
        """Use a new connection from now on."""
        caller = usable(reference)
        connection = caller.connection
        self._forget_derived()
        self._first.clear()
        self.root.current = reference
        self._connections[connection] = None
        for old in list(self._connections)[: -1 - _MOST_DRAINING]:
            old.end("closed", "too many connections of one client drain")
        self._adopted = self.loop.time()
        self._cause = None
        self._news.clear()
        try:
            connection.on_disconnect(self._lost)
        except DeadReferenceError:  # it has ended already
            self._lost(connection)
            return
        caller.when_draining = partial(self._drains, connection)
        for subject, callback in self._on_disconnect:
            notify_at_end(connection, subject, callback)
        if connection.draining:
            self._drains(connection)

    def _drains(self, connection: Connection) -> None:
        """Make another connection, and end this one if the peer does not."""
        self._news.set()
        # Callbacks may wait for an answer that never comes, and all other calls wait for the callbacks.
        seconds = self._backoff.cap if self._preparing is not None else _DRAIN_SECONDS
        self._connections[connection] = self.loop.call_later(
            seconds, connection.end, "closed", "it has drained for too long"
        )

    def _lost(self, connection: Connection) -> None:
        timer = self._connections.pop(connection, None)
        if timer is not None:
            timer.cancel()
        root = self.root
        if root.current is not None and root.current.connection is connection:
            root.current = None
            self._forget_derived()
            self._cause = connection.close_cause
            self._news.set()

    def _forget_derived(self) -> None:
        for task in self._fetching.values():
            task.cancel()
        for derived in self._derived.values():
            derived.current = None

    def _is_at(self, reference: RemoteReference) -> bool:
        """Whether calls can still be made on this connection."""
        return self.root.current is reference and not reference.connection.draining

    async def _keep_connected(self) -> None:
        """See to it that there is a connection, until the end."""
        try:
            while self.root.end is None:
                await self._news.wait()
                self._settled = False
                current, callbacks = self.root.current, self._first
                if current is not None and self._is_at(current):  # only callbacks are to be called
                    self._news.clear()
                    self._first = []
                    await self._prepare(current, callbacks)
                else:
                    await self._prepare(await self._connect_again(), None)
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

    async def _prepare(self, reference: RemoteReference, callbacks: list[_Callback] | None) -> None:
        """Fetch what is derived, run callbacks, and send what waited.

        Args:
            reference: of the root.
            callbacks: which; None for all, of a connection that is new.
        """
        self._preparing = object()
        token = _part_of.set(self._preparing)
        try:
            if callbacks is None:
                await self._fetch_all()
            self._calling_back = True
            succeeded = await self._call_back(reference, callbacks)
        finally:
            self._preparing, self._calling_back = None, False
            _part_of.reset(token)
        if succeeded or not self._is_at(reference):
            await self.waiting.send(partial(self._is_at, reference))
            self._settled = self._is_at(reference) and not self._first
            if self._settled:
                self._fetch_what_failed()
        else:  # the program may lack what the callbacks set up, without noticing
            reference.connection.end("closed", "a callback of on_reconnect raised")

    async def _call_back(self, reference: RemoteReference, callbacks: list[_Callback] | None) -> bool:
        """Run callbacks for a new connection; return whether none of them raised."""
        succeeded = True
        for entry in list(self._on_reconnect) if callbacks is None else callbacks:
            attempt = 0
            while self._is_at(reference) and (current := entry.of.current) is not None:
                if await run(partial(entry.callback, current), _RAISED):
                    break
                if not entry.retry:
                    succeeded = False
                    break
                await self._pause_at(reference, self._backoff.delay(attempt))
                attempt += 1
        return succeeded

    async def _pause_at(self, reference: RemoteReference, seconds: float) -> None:
        """Wait; a connection that ends or drains meanwhile ends the wait."""
        try:
            async with asyncio.timeout(seconds):
                while self._is_at(reference):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            pass
        if self._first or not self._is_at(reference):
            self._news.set()  # it was cleared, and is looked at again

    async def _connect_again(self) -> RemoteReference:
        """Return the reference of a new connection.

        Raises:
            LoginFailed: the peer does not let us in any more.
            ConnectionLost: the old connection ended for good.
        """
        lasted = self.loop.time() - self._adopted >= self._backoff.cap
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
        if self.root.end is None:
            self.root.end = error
            self.waiting.fail(error)

    # -- derived objects

    async def _fetch_all(self) -> None:
        """Fetch all derived objects at once, and wait for them."""
        tasks = [self._fetch_soon(derived) for derived in list(self._derived.values())]
        if tasks:
            await asyncio.wait(tasks)

    def _fetch_what_failed(self) -> None:
        """Fetch those objects for which calls still wait."""
        for derived in list(self._derived.values()):
            if derived.current is None and self.waiting.count(derived):
                self._fetch_soon(derived)

    def _fetch_soon(self, derived: Derived) -> asyncio.Task[None]:
        """Fetch a derived object in a task, if none does."""
        task = self._fetching.get(derived)
        if task is None or task.done() or task.cancelling():
            task = self._fetching[derived] = self.loop.create_task(self._fetch(derived))
            task.add_done_callback(partial(self._fetched, derived))
        return task

    def _fetched(self, derived: Derived, task: asyncio.Task[None]) -> None:
        if self._fetching.get(derived) is task:
            del self._fetching[derived]

    async def _fetch(self, derived: Derived) -> None:
        """Fetch a derived object, and send what waits for it."""
        root = self.root.current
        if root is None:
            return
        try:
            reference = await self._resolve(derived, root)
        except BaseException as error:
            plain = ordinary(error)
            if is_ours(error, asyncio.current_task()) or not isinstance(plain, Exception):
                raise
            log.debug("%s could not be fetched: %s", derived.label, type(error).__name__)
            if self._is_at(root):
                self.waiting.fail(not_run(plain), derived)
            return
        if self._settled or self._calling_back:
            await self.waiting.send_to(derived, reference, partial(self._is_at, root))
        if self.root.current is root and derived.end is None:
            derived.current = reference

    async def _resolve(self, derived: Derived, root: RemoteReference) -> RemoteReference:
        parent = derived.parent
        if parent.current is None and isinstance(parent, Derived):
            await asyncio.wait([self._fetch_soon(parent)])
        if parent.current is None:
            raise DeadReferenceError(f"{derived.label}: what it is derived from could not be fetched")
        reference = underlying(await maybe_await(derived.resolve(parent.current)))
        if not isinstance(reference, RemoteReference) or reference.connection is not root.connection:
            raise TypeError(
                f"{derived.label}: a derived reference is fetched as an object of the peer, by the connection that "
                f"there is now; this is a {type(reference).__name__}"
            )
        return reference


def _remove(callbacks: list[Any], callback: object) -> None:
    try:
        callbacks.remove(callback)
    except ValueError:
        raise ValueError("that callback was not registered here") from None


async def _first(establish: Callable[[], Coroutine[Any, Any, RemoteReference]]) -> RemoteReference:
    """Make a first connection; to a peer that drains once more at once, because another may listen there now."""
    try:
        return await establish()
    except Unavailable as error:
        if error.code != "draining":
            raise
    return await establish()
