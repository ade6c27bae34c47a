"""The four tables of one connection: what each side holds of the other's objects."""

from __future__ import annotations

from ..limits import Limits
from .caches import Observers, Replicas
from .host import Host
from .releases import Releases
from .tables import Exports, Imports

__all__ = ["ConnectionTables"]


class ConnectionTables:
    """See the module.

    Args:
        session: the broker; replicas carry it as the mark of their connection.
        host: makes references and observers.
        limits: bound them.
        releases: are notified of references and replicas that are gone.
        takes_receivers: see :class:`.Exports`.

    Attributes:
        exports: our objects that the peer holds references to.
        imports: references here to the peer's objects.
        observers: our objects that the peer keeps replicas of.
        replicas: replicas here of the peer's objects.
    """

    def __init__(
        self, session: object, host: Host, limits: Limits, releases: Releases, takes_receivers: bool
    ) -> None:
        self.exports: Exports = Exports(limits, takes_receivers)
        self.imports: Imports = Imports(limits, host, releases)
        self.observers: Observers = Observers(limits, host)
        self.replicas: Replicas = Replicas(limits, session, releases)

    def use_limits(self, limits: Limits) -> None:
        """Go by other limits from now on."""
        self.exports.use_limits(limits)
        self.imports.use_limits(limits)
        self.observers.use_limits(limits)
        self.replicas.use_limits(limits)
