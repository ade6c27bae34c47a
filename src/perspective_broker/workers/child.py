"""A worker from inside: it serves on sockets of its parent, and does what the parent tells it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
from collections.abc import Coroutine, Iterable, MutableMapping
from dataclasses import asdict
from typing import Any

from ..aio import RemoteReference, Server
from ..aio.paired import connect_on
from ..aio.server import accept_from, inherit, move_away, reload_certificates, stop_accepting_from
from ..aio.signals import on_signals
from ..cred.login import LoginRoot, share_attempts
from ..errors import BrokerError
from ..flavors import Referenceable
from .attempts import AttemptsAtParent
from .process import ENVIRONMENT

__all__ = ["Child", "child_of_this_process"]

log: logging.Logger = logging.getLogger("perspective_broker")


def child_of_this_process(environment: MutableMapping[str, str] = os.environ) -> Child | None:
    """Return what this process has got from its parent; None if it is no worker."""
    text = environment.pop(ENVIRONMENT, None)  # programs that a worker starts are no workers
    return None if text is None else Child(json.loads(text))


class Child:
    """One worker.

    Args:
        given: by the parent: the number of the slot, and the descriptors of the control connection and of each url.

    Attributes:
        slot: the number of the slot, from 0.
    """

    def __init__(self, given: dict[str, Any]) -> None:
        self.slot: int = given["slot"]
        self._control = _socket(given["control"])
        self._shared: list[list[socket.socket]] = []
        self._slots: list[list[list[socket.socket]]] = []
        for _, shared, slots in given["urls"]:
            self._shared.append([_socket(number) for number in shared])
            self._slots.append([[_socket(number) for number in each] for each in slots])

    def sockets_of(self, slot: int) -> list[list[socket.socket]]:
        """Return duplicates of the sockets of a slot, for each url."""
        return [[one.dup() for one in (slots[slot] if slots else ())] for slots in self._slots]

    async def serve(self, server: Server, roots: Iterable[object], drain: float) -> None:
        """Serve until the parent says so, or is gone.

        Args:
            server: not started yet.
            roots: what it serves.
            drain: seconds for running calls to end.
        """
        parent = await connect_on(self._control, "the parent")
        try:
            await self._serve(server, roots, drain, parent)
        finally:
            await parent.connection.close()
            for one in [*self._shared, *(each for slots in self._slots for each in slots)]:
                for inherited in one:
                    inherited.close()

    async def _serve(
        self, server: Server, roots: Iterable[object], drain: float, parent: RemoteReference
    ) -> None:
        own = self.sockets_of(self.slot)
        shared = [[one.dup() for one in each] for each in self._shared]
        inherit(server, [[*mine, *ours] for mine, ours in zip(own, shared, strict=True)])
        for root in roots:
            if isinstance(root, LoginRoot):
                share_attempts(root, AttemptsAtParent(await parent.call("attempts")))
        await server
        control = _Control(self, server, parent, drain)
        with on_signals({"SIGTERM": control.stop, "SIGINT": control.stop, "SIGHUP": control.remote_reload}):
            parent.connection.on_disconnect(control.orphaned)
            await parent.tell("ready", control)
            try:
                await server.serve_forever()
            finally:
                await control.closed()


class _Control(Referenceable):
    """What the parent reaches in a worker."""

    def __init__(self, child: Child, server: Server, parent: RemoteReference, drain: float) -> None:
        self._child = child
        self._server = server
        self._parent = parent
        self._drain = drain
        self._closing: set[asyncio.Task[None]] = set()
        self._adopted: dict[int, list[list[socket.socket]]] = {}

    def remote_leave(self, drain: float, moves: bool) -> None:
        """End in order; with ``moves`` the clients go to other workers."""
        self._close(move_away(self._server, drain) if moves else self._server.close(drain))

    def remote_stop(self) -> None:
        """End without a drain."""
        self._close(self._server.close())

    def remote_reload(self) -> None:
        """Read the certificates again."""
        reload_certificates(self._server)

    def remote_accept(self, slot: int) -> None:
        """Accept from the socket of a slot that has no worker as well."""
        if slot not in self._adopted and not self._closing:
            self._adopted[slot] = sockets = self._child.sockets_of(slot)
            accept_from(self._server, sockets)

    def remote_give_back(self, slot: int) -> None:
        """Accept from it no more."""
        sockets = self._adopted.pop(slot, None)
        if sockets is not None:
            stop_accepting_from(self._server, sockets)

    def remote_statistics(self) -> dict[str, Any]:
        """Return the statistics of the server."""
        return asdict(self._server.statistics())

    def stop(self) -> None:
        """A signal came for this worker alone: another takes its place. A second one does not wait."""
        if self._closing:
            self.remote_stop()
            return
        log.info("stopping")
        with contextlib.suppress(BrokerError):
            self._parent.tell("leaving")
        self.remote_leave(self._drain, True)

    def orphaned(self, connection: object) -> None:
        """The parent is gone, and with it what would end this process."""
        if not self._closing:
            log.error("the parent of this worker is gone: stopping")
            self.remote_leave(self._drain, False)

    async def closed(self) -> None:
        """Wait until the server is closed."""
        for task in list(self._closing):
            await asyncio.wait([task])

    def _close(self, closing: Coroutine[Any, Any, None]) -> None:
        self._closing.add(asyncio.create_task(closing))


def _socket(number: int) -> socket.socket:
    inherited = socket.socket(fileno=number)
    inherited.set_inheritable(False)
    # Said before it is duplicated, because a duplicate is made to block as its original is, and with it the socket of
    # all processes: another worker would wait in accept() then.
    inherited.setblocking(False)
    return inherited
