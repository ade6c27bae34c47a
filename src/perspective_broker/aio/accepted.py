"""Accepted connections: what a server keeps of each, and what logins may do with it.

A program sees a :class:`Connection`; a root that has logins gets the same object, whose other methods are for logins.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..limits import Limits
from ..ports import Feature
from .connection import Connection, driver_of
from .driver import Driver

__all__ = ["AcceptedConnection", "Keeper", "speak_as_in_2002", "use_limits"]


class Keeper:
    """Is told of the life of an accepted connection. This one keeps nothing."""

    __slots__ = ()

    def connected(self, connection: Connection) -> None:
        """There is a transport, and the peer has an address. The connection may be closed at once."""

    def authenticated(self) -> None:
        """The peer has logged in or, without logins, has greeted."""

    def logged_in(self, connection: Connection, user: str, method: str) -> None:
        """The peer has logged in."""

    def ended(self) -> None:
        """The connection has ended."""

    def gone(self) -> None:
        """Nothing of the connection runs any more."""


class AcceptedConnection(Connection):
    """A connection as logins see it: :class:`perspective_broker.cred.perspective.LoginConnection`.

    Attributes:
        awaits_login: whether the peer has to log in before it counts as authenticated.
        has_logged_in: whether it has.
    """

    __slots__ = ("_keeper", "awaits_login", "has_logged_in")

    def __init__(self, driver: Driver, peer: str, keeper: Keeper) -> None:
        super().__init__(driver, peer)
        self._keeper = keeper
        self.awaits_login: bool = False
        self.has_logged_in: bool = False

    def __dir__(self) -> Iterable[str]:
        """Show what users call; the rest is for logins."""
        return dir(Connection)

    def expect_login(self) -> None:
        """Treat the peer as unauthenticated until :meth:`welcome`, under :meth:`Limits.before_login`."""
        self.awaits_login = True
        use_limits(self, self.limits.before_login())

    def welcome(self) -> None:
        """The peer has logged in."""
        self.has_logged_in = True
        use_limits(self, self.limits)
        self.authenticated()

    def logged_in(self, user: str, method: str) -> None:
        """The peer has proved that it is a user, by a method such as ``"SCRAM"``."""
        self.user = user
        driver_of(self).broker.reports.user = user
        self._keeper.logged_in(self, user, method)

    def authenticated(self) -> None:
        """Count the peer as authenticated: it has logged in or, without logins, has greeted."""
        driver_of(self).unauthenticated = False
        self._keeper.authenticated()

    def speak_as_in_2002(self) -> None:
        """Send nothing from now on that a program of 2002 cannot read: plain strings for text, no booleans."""
        speak_as_in_2002(self)

    def end_at_once(self, code: str, reason: str) -> None:
        """End the connection now, with a farewell, because another replaces it.

        Messages of the peer that were not acted on are dropped, and so are our own calls that wait to be sent.
        """
        driver_of(self).broker.close(code, reason)


def use_limits(connection: Connection, limits: Limits) -> None:
    """Judge the peer of a connection by other limits from now on.

    Raises:
        TypeError: they are not a :class:`Limits`.
    """
    if not isinstance(limits, Limits):
        raise TypeError(f"use_limits takes a pb.Limits, not {limits!r:.100}")
    driver_of(connection).broker.use_limits(limits)


def speak_as_in_2002(connection: Connection) -> None:
    """Send nothing from now on that a program of 2002 cannot read, see :class:`AcceptedConnection`."""
    writer = driver_of(connection).broker.dialect.writer
    if writer.has(Feature.OF_2002):
        writer.speak_as_in_2002()
