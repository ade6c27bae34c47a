"""serve: an object, offered in the background."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TypedDict, Unpack

from .. import aio
from ..aio import ServerStatistics
from ..calls import CallObserver
from ..flavors import Policy, Reference, Registry
from ..limits import Limits
from ..ports import Value
from ..transports import ServerTLS
from .links import default_timeout
from .remotes import Shown
from .running import Running
from .threads import EventLoopThread

__all__ = ["Server", "serve"]


class ServeOptions(TypedDict, total=False):
    """The options of :func:`perspective_broker.serve`."""

    limits: Limits | None
    policy: Policy | None
    registry: Registry | None
    dialects: Sequence[str] | None
    tls: ssl.SSLContext | ServerTLS | None
    unsafe_tracebacks: bool
    busy_poll: float | None
    forward: bool
    trusted_proxies: Sequence[str]
    describe: bool
    statistics: bool
    call_observer: CallObserver | None
    monitor: str | None
    origins: str | Sequence[str]
    hosts: Sequence[str]


def serve(
    root: Value | Mapping[str, Value],
    *urls: str,
    timeout: float | None = 30,
    thread: EventLoopThread | None = None,
    **options: Unpack[ServeOptions],
) -> Server:
    """Offer an object, or several by name, in the background, from now on.

    ``with serve(root, "tcp://127.0.0.1:8787") as server:`` ends with the block; ``server = serve(...)`` with
    ``server.close()`` or the process. Plain methods run in threads: those of one connection one after another, unless
    one waits for an answer.

    Args:
        root: what a peer reaches first, or a mapping of names to such objects.
        urls: where to listen; at least one.
        timeout: seconds for each call that a method makes of a client's object; a :func:`deadline` takes its place.
            None for no end.
        thread: where the server lives; None for the event loop thread that the process shares.
        options: of :func:`perspective_broker.serve`.

    Raises:
        Exception: as :func:`perspective_broker.serve`.
        UsageError: this is the thread of the event loop, which would wait for itself.
    """
    for served in root.values() if isinstance(root, Mapping) else [root]:
        if isinstance(served, (Shown, Reference)):
            raise TypeError(f"a {type(served).__name__} cannot be served: it is an object of a peer")
    running = (thread or EventLoopThread.shared()).running()
    return running.run(_serve(running, root, urls, timeout, options), name="serve")


async def _serve(
    running: Running,
    root: Value | Mapping[str, Value],
    urls: Sequence[str],
    timeout: float | None,
    options: ServeOptions,
) -> Server:
    default_timeout.set(timeout)
    return Server(await aio.serve(root, *urls, **options), running)


class Server:
    """A server in the background; made by :func:`serve`."""

    def __init__(self, server: aio.Server, running: Running) -> None:
        self._server = server
        self._running = running
        running.keep(self, server.close)

    @property
    def urls(self) -> list[str]:
        """The urls that are listened on, with the ports that were bound."""
        return self._server.urls

    def statistics(self) -> ServerStatistics:
        """Return the server's state now."""
        return self._running.run(_statistics(self._server))

    def wait(self) -> None:
        """Wait until the server is closed. Ctrl-C ends the wait."""
        self._running.run(self._server.serve_forever())

    def close(self, drain: float = 0) -> None:
        """Stop listening and end every connection. May be called twice.

        Args:
            drain: seconds to let calls that run come to their end first; new ones are refused meanwhile.
        """
        self._running.forget(self)
        if self._running.problem is None:
            self._running.run(self._server.close(drain), name="close")

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<serving at {', '.join(self.urls) or 'no url'}>"


async def _statistics(server: aio.Server) -> ServerStatistics:
    return server.statistics()
