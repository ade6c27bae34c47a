"""connect: from a url to an object that a program of threads calls."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, Literal, TypedDict, TypeVar, Unpack, overload

from .. import aio
from ..aio import Backoff, Connection, ReconnectingReference, RemoteReference
from ..aio.client import Connecting
from ..cred.login import Anonymous
from ..errors import DeadlineExceeded, DeadReferenceError
from ..flavors import Policy, Registry
from ..interfaces import giver
from ..limits import Limits
from ..ports import Value
from ..transports import ClientTLS
from .links import default_timeout
from .remotes import Remote, RemoteAlways, Shown
from .running import Running, loop_stood_still
from .threads import EventLoopThread

__all__ = ["Connected", "connect"]

_I = TypeVar("_I")
_R = TypeVar("_R")


class ConnectOptions(TypedDict, total=False):
    """The options of :func:`perspective_broker.connect` that mean the same here."""

    object: str
    username: str | Anonymous | None
    password: str | None
    service: str | None
    perspective: str | None
    client: Value
    legacy_login: bool
    min_iterations: int
    limits: Limits | None
    policy: Policy | None
    registry: Registry | None
    dialects: Sequence[str] | None
    tls: ssl.SSLContext | ClientTLS | None
    busy_poll: float | None
    forward: bool


@overload
def connect(
    url: str | Sequence[str],
    interface: None = None,
    *,
    timeout: float | None = ...,
    thread: EventLoopThread | None = ...,
    reconnect: Literal[False] = ...,
    **options: Unpack[ConnectOptions],
) -> Connected[Remote]: ...


@overload
def connect(
    url: str | Sequence[str],
    interface: None = None,
    *,
    timeout: float | None = ...,
    thread: EventLoopThread | None = ...,
    reconnect: Literal[True] | Backoff,
    **options: Unpack[ConnectOptions],
) -> Connected[RemoteAlways]: ...


@overload
def connect(
    url: str | Sequence[str],
    interface: Callable[..., _I],
    *,
    timeout: float | None = ...,
    thread: EventLoopThread | None = ...,
    reconnect: bool | Backoff = ...,
    **options: Unpack[ConnectOptions],
) -> Connected[_I]: ...


def connect(
    url: str | Sequence[str],
    interface: Callable[..., Any] | None = None,
    *,
    timeout: float | None = 30,
    thread: EventLoopThread | None = None,
    reconnect: bool | Backoff = False,
    **options: Unpack[ConnectOptions],
) -> Connected[Any]:
    """Connect to a peer, and wait until that is done.

    ``with connect(url) as root:`` closes the connection at the end of the block. ``root = connect(url)`` leaves it open
    until ``root.close()``, or the end of the process.

    Args:
        url: where the peer listens.
        interface: by which the object is called: ``wait(lobby.join("x"))``. None for ``root.join("x")``, which waits.
        timeout: seconds for connecting, and then for each call; a :func:`deadline` takes its place. None for no end.
        thread: where the connection lives; None for the event loop thread that the process shares.
        reconnect: connect again when the connection is lost, like the other
        options: of :func:`perspective_broker.connect`.

    Raises:
        Exception: as :func:`perspective_broker.connect`.
        UsageError: this is the thread of the event loop, which would wait for itself.
    """
    give = None if interface is None else giver(interface)
    running = (thread or EventLoopThread.shared()).running()
    try:
        connected: Connected[Any] = running.run(
            _connect(running, url, give, timeout, reconnect, options), name="connect"
        )
    except TimeoutError as error:
        if isinstance(error, DeadlineExceeded) or not (hint := loop_stood_still()):
            raise
        raise TimeoutError(f"{error}{hint}") from None
    return connected


async def _connect(
    running: Running,
    url: str | Sequence[str],
    give: Callable[[Value], Any] | None,
    timeout: float | None,
    reconnect: bool | Backoff,
    options: ConnectOptions,
) -> Connected[Any]:
    default_timeout.set(timeout)  # of this connection, and those that reconnect= makes
    connecting: Connecting[Any] = aio.connect(url, timeout=timeout, reconnect=reconnect, **options)  # type: ignore[arg-type] # either form
    reference: RemoteReference | ReconnectingReference = await connecting
    root: Remote | RemoteAlways
    if isinstance(reference, ReconnectingReference):
        root, close = RemoteAlways(reference, running, timeout), reference.close
        return Connected(root if give is None else give(root), running, close)
    assert isinstance(reference, Remote)
    connection = reference.connection  # the reference may be released before it is closed
    connected: Connected[Any] = Connected(
        reference if give is None else give(reference), running, connection.close
    )
    with suppress(DeadReferenceError):  # it has ended already
        connection.on_disconnect(connected.ended)
    return connected


class Connected(Shown, Generic[_R]):
    """A connection, and the object at its other end; made by :func:`connect`.

    Its methods are those of the object: ``connect(url).greet("x")``. As an argument it is the object.

    Attributes:
        root: the object.
    """

    def __init__(self, root: _R, running: Running, close: Callable[[], Awaitable[None]]) -> None:
        self.root: _R = root
        self._running = running
        self._close = close
        running.keep(self, close)

    def close(self) -> None:
        """End the connection in order, and wait until it is gone. May be called twice.

        Raises:
            UsageError: this is the thread of the event loop, or a forked child.
        """
        self._running.forget(self)
        if self._running.problem is None:
            self._running.run(_await(self._close), name="close")

    def ended(self, connection: Connection) -> None:
        """The connection has ended, whichever side has ended it (called in the event loop)."""
        self._running.forget(self)

    def __enter__(self) -> _R:
        return self.root

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def shown(self) -> Value:
        return self.root

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "root":
            raise AttributeError(name)
        return getattr(self.root, name)

    def __iter__(self) -> Any:
        return iter(self.root)  # type: ignore[call-overload]

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *dir(self.root)})

    def __repr__(self) -> str:
        return f"<connected to {self.root!r}>"


async def _await(close: Callable[[], Awaitable[None]]) -> None:
    await close()
