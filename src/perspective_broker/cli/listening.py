"""``pb serve`` in one process or with workers: the sockets, the control socket, and what the service manager hears."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

from ..aio import Server, serve
from ..aio.server import inherit
from ..workers import (
    Bound,
    Control,
    Notifier,
    Parent,
    WorkerStatistics,
    bind_all,
    of_one_process,
    passed_sockets,
)
from .status import CommandError, Status, system_text

__all__ = ["cannot_listen", "serve_alone", "serve_by_workers"]


async def serve_alone(
    server: Server,
    listen: Sequence[str],
    drain: float,
    control: str | None,
    starting: contextlib.AbstractContextManager[object],
) -> None:
    """Start a server and serve until it is stopped.

    Args:
        server: not started yet.
        listen: its urls.
        drain: seconds for running calls to end.
        control: where to answer ``pb status``; None nowhere.
        starting: turns what is raised until the server has started into errors of the command.
    """
    notifier = Notifier()
    bound: list[Bound] = []
    try:
        with starting:
            if passed := passed_sockets():
                bound = bind_all(listen, 1, passed)
                inherit(server, [each.sockets_of(0) for each in bound])
            await server
        serving = asyncio.ensure_future(server.serve_until_stopped(drain))
        # From here on signals are handled. The reader of these lines may send one immediately.
        await asyncio.sleep(0)

        async def statistics() -> list[WorkerStatistics]:
            return of_one_process(server)

        async with _controlled(control, statistics):
            _print_urls(server.urls)
            if server.monitor_url is not None:
                print(f"monitor at {server.monitor_url}", flush=True)
            notifier.ready()
            await serving
    finally:
        notifier.close()
        await server.close()
        for each in bound:
            each.close()


async def serve_by_workers(
    target: str,
    listen: Sequence[str],
    workers: int,
    drain: float,
    control: str | None,
    options: Sequence[str],
) -> int:
    """Serve with several processes until a signal ends them; return the exit code.

    Args:
        target: what to serve, MODULE:OBJECT.
        listen: the urls.
        workers: how many processes.
        drain: seconds for running calls to end.
        control: where to answer ``pb status``; None nowhere.
        options: of ``pb serve``, for each of them.

    Raises:
        CommandError: the urls cannot be served by workers, or an address cannot be bound.
    """
    if sys.platform == "win32":
        text = "--workers needs sockets that processes inherit, which Windows lacks: run several servers behind a proxy"
        raise CommandError(Status.USAGE, text)
    if any(url.startswith("memory:") for url in listen):
        raise CommandError(Status.USAGE, "--workers: a memory: url is reached within one process only")
    notifier = Notifier()
    command = [sys.executable, "-m", "perspective_broker.cli", "serve", target]
    command += ["--listen", *listen, "--drain", str(drain), *options]
    try:
        bound = bind_all(listen, workers, passed_sockets())
    except ValueError as error:
        raise CommandError(Status.USAGE, str(error)) from None
    except OSError as error:
        raise cannot_listen(error, listen) from None
    try:
        parent = Parent(command, bound, workers, drain, notifier)
        urls = [url for each in bound for url in each.urls]
        with _bind_errors(control):
            async with _controlled(control, parent.statistics):
                return await parent.run(lambda: _print_urls(urls))
    finally:
        for each in bound:
            each.close()


@contextlib.asynccontextmanager
async def _controlled(
    url: str | None, statistics: Callable[[], Awaitable[list[WorkerStatistics]]]
) -> AsyncIterator[None]:
    """Answer ``pb status`` within the block."""
    if url is None:
        yield
        return
    server = serve(Control(statistics), url)
    mask = os.umask(0o177)  # only this user can connect
    try:
        await server
    finally:
        os.umask(mask)
    try:
        yield
    finally:
        await server.close()


@contextlib.contextmanager
def _bind_errors(control: str | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise cannot_listen(error, [control or ""]) from None


def cannot_listen(error: OSError, listen: Sequence[str]) -> CommandError:
    """Return the error of a command that cannot listen somewhere."""
    where = error.filename or " ".join(listen)
    # The text of asyncio contains the address; that of uvloop does not, and is the system's.
    return CommandError(
        Status.CONNECTION, f"cannot listen on {where}: {error.strerror or system_text(error)}"
    )


def _print_urls(urls: Sequence[str]) -> None:
    for url in urls:
        print(f"listening on {url}", flush=True)
