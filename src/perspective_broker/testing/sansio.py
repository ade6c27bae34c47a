"""Two brokers without an event loop, joined by a link that a test controls byte by byte.

:class:`BrokerPair` is what a test makes. Nothing in it happens by itself: calls are made, then the link is told how
much to carry, time passes when :meth:`BrokerPair.advance` says so, and methods that answer later do so when the
test resolves their :class:`Later`. The same steps always give the same bytes.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

from ..flavors import Exportable, Policy, Registry, Root
from ..limits import Limits
from ..session import (
    Phase,
)
from .ends import Clock, End, SansIOReference
from .leaks import broker_leaks

__all__ = ["BrokerPair", "Link"]


class Link:
    """Carries bytes between two ends: as much as it is told, in pieces of any size, until it is cut.

    Attributes:
        transit: bytes under way to each end.
    """

    def __init__(self, one: End, two: End) -> None:
        self._ends = (one, two)
        self.transit: dict[End, bytearray] = {one: bytearray(), two: bytearray()}
        self._eof: set[End] = set()  # ends to which nothing more will come,
        self._told: set[End] = set()  # and those that know it
        self._is_cut = False

    def other(self, end: End) -> End:
        """Return the end at the other side."""
        return self._ends[end is self._ends[0]]

    def pull(self) -> None:
        """Put on its way what both ends have to say."""
        for end in self._ends:
            to = self.other(end)
            if self._is_cut or to in self._eof:
                end.take()
                continue
            self.transit[to] += end.take()
            if end.said_last or end.cause is not None:
                self.transit[to] += b"".join(end.broker.data_to_send())
                self._eof.add(to)

    def deliver(self, to: End, size: int | None = None) -> int:
        """Hand at most ``size`` bytes over to one end (all when None), as one piece; return how many.

        An end that does not want data, because too much waits in it, gets none.
        """
        self.pull()
        transit = self.transit[to]
        if to.woken:
            to.turn()
        if not to.broker.wants_data:
            return 0
        piece = bytes(transit[:size])
        if piece:
            del transit[:size]
            to.receive(piece)
        if to in self._eof - self._told and not transit and not self._is_cut and to.cause is None:
            # Once, because the end of a connection whose methods still run asks to be looked at again each time.
            self._told.add(to)
            to.broker.receive_eof()
        self.pull()
        return len(piece)

    def run(self, size: int | Callable[[], int] | None = None) -> None:
        """Carry everything, both ways in turn, until nothing moves any more.

        Args:
            size: of the pieces: all there is when None, a number of bytes, or a function that says each one's.
        """
        for _ in count():
            moved = 0
            for end in self._ends:
                moved += self.deliver(end, size() if callable(size) else size)
            if not moved and not any(end.woken for end in self._ends):
                return

    def cut(self, reason: str = "the link was cut") -> None:
        """Lose what is under way and break the connection at both ends."""
        self._is_cut = True
        for end in self._ends:
            self.transit[end].clear()
            end.broker.connection_lost(reason)


class BrokerPair:
    """A server's and a client's broker, a link between them, and one clock.

    >>> from perspective_broker import Root
    >>> class Echo(Root):
    ...     def remote_echo(self, value):
    ...         return value
    >>> pair = BrokerPair(Echo())
    >>> outcome = pair.root.call("echo", 7)
    >>> pair.run()
    >>> outcome.result()
    7

    Used as a context manager it ends with :meth:`assert_no_leaks` when its block went well.

    Args:
        root: what the client reaches.
        limits: of the server; ``client_limits`` of the client, the same when None.
        registry: of both ends, like ``policy``, ``dialects`` and ``unsafe_tracebacks``.
        established: carry the greeting at once, so that calls can be made.
    """

    def __init__(
        self,
        root: Exportable | None = None,
        *,
        limits: Limits | None = None,
        client_limits: Limits | None = None,
        registry: Registry | None = None,
        policy: Policy | None = None,
        dialects: Iterable[str] | None = None,
        unsafe_tracebacks: bool = False,
        established: bool = True,
    ) -> None:
        self.clock: Clock = Clock()
        allowed = None if dialects is None else tuple(dialects)

        def end(server: bool, own: Limits | None) -> End:
            return End(
                self.clock,
                server=server,
                root=(root if root is not None else Root()) if server else None,
                limits=own,
                registry=registry,
                policy=policy,
                dialects=allowed,
                unsafe_tracebacks=unsafe_tracebacks,
            )

        self.server: End = end(True, limits)
        self.client: End = end(False, client_limits or limits)
        self.link: Link = Link(self.server, self.client)
        if established:
            self.run()

    @property
    def root(self) -> SansIOReference:
        """The client's reference to the server's root."""
        return self.client.root

    def run(self, size: int | Callable[[], int] | None = None) -> None:
        """Carry everything, see :meth:`Link.run`."""
        self.link.run(size)

    def call(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        """Call a method of the server's root, carry everything, and return the answer or raise the error."""
        outcome = self.root.call(name, *args, **kwargs)
        self.run()
        return outcome.result()

    def advance(self, seconds: float) -> None:
        """Let time pass; deadlines that it reaches are acted on."""
        self.clock.now += seconds
        for end in (self.server, self.client):
            deadline = end.broker.next_deadline()
            if deadline is not None and deadline <= self.clock.now:
                end.broker.handle_deadline(self.clock.now)

    def assert_no_leaks(self) -> None:
        """Assert that nothing is left: tables back to the root alone, no calls, no bytes, also under way.

        Drop references of your own first. Messages that are still under way are carried before judging.
        """
        gc.collect()
        self.run()
        found = []
        for name, end in (("server", self.server), ("client", self.client)):
            found += [f"{name}: {leak}" for leak in broker_leaks(end.broker)]
            if self.link.transit[end] and end.broker.lifecycle.phase is not Phase.CLOSED:
                found.append(f"{name}: {len(self.link.transit[end])} bytes under way to it")
        assert not found, "; ".join(found)

    def __enter__(self) -> BrokerPair:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.assert_no_leaks()
