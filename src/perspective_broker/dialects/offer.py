"""The dialects by name, and how one is made for a broker. Drivers start here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from ..flavors import Policy, Registry
from ..limits import Limits
from ..ports import Dialect, Exporter, Feature, Importer, Receiver
from .classic import NONE, PB, ClassicDialect
from .negotiation import Negotiation
from .pb7 import Pb7Dialect

__all__ = ["DIALECTS", "Web", "check_names", "negotiate", "negotiate_web", "web"]

if TYPE_CHECKING:
    from .capnweb import Origins

_MAKERS: Final[dict[str, Callable[..., Dialect]]] = {
    "pb7": Pb7Dialect,
    "pb": partial(ClassicDialect, PB),
    "none": partial(ClassicDialect, NONE),
}

#: Every dialect by name, best first.
DIALECTS: Final = tuple(_MAKERS)


def check_names(dialects: Iterable[str] | None) -> tuple[str, ...]:
    """Return the names to offer; None stands for all of :data:`DIALECTS`.

    Raises:
        ValueError: a name is not in :data:`DIALECTS`, or there are no names.
    """
    names = DIALECTS if dialects is None else tuple(dialects)
    unknown = [name for name in names if name not in _MAKERS]
    if unknown or not names:
        raise ValueError(
            f"dialects are {', '.join(DIALECTS)}, not {', '.join(map(repr, unknown)) or 'nothing'}"
        )
    return names


def negotiate(
    receiver: Receiver,
    exporter: Exporter,
    importer: Importer,
    *,
    server: bool,
    limits: Limits,
    registry: Registry,
    policy: Policy,
    dialects: Iterable[str] | None = None,
    offers: frozenset[Feature] = frozenset(),
) -> Negotiation:
    """Return the greeting of one connection.

    Args:
        receiver: gets the operations, and the dialect on which both sides agree.
        exporter: turns our objects into ids.
        importer: turns the peer's ids into objects.
        server: whether this side accepted the connection.
        limits: what the peer may send.
        registry: what type tags mean.
        policy: what may be received.
        dialects: names to allow, best first; None for all of :data:`DIALECTS`.
        offers: optional features of the driver, for the dialects that can announce them.

    Raises:
        ValueError: see :func:`check_names`.
    """
    makers = {
        name: partial(
            _MAKERS[name],
            receiver=receiver,
            exporter=exporter,
            importer=importer,
            limits=limits,
            registry=registry,
            policy=policy,
        )
        for name in check_names(dialects)
    }
    if "pb7" in makers:
        makers["pb7"] = partial(makers["pb7"], offers=offers)
    return Negotiation(server=server, dialects=makers, receiver=receiver, limits=limits)


@dataclass(frozen=True, slots=True)
class Web:
    """How one WebSocket url is spoken at.

    Attributes:
        url: for a client.
        path: for a server: of its url.
        origins: for a server: which pages may connect.
    """

    url: str
    path: str
    origins: Origins


def web(url: str, path: str, origins: str | Sequence[str] = (), hosts: Sequence[str] = ()) -> Web:
    """Return how a WebSocket url is spoken at; see ``serve`` for the arguments.

    Raises:
        ImportError: the extra ``web`` is not installed.
        TypeError: the origins are neither a list nor ``"*"``.
        ValueError: one of them is invalid.
    """
    try:
        from .capnweb import Origins
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "websockets":
            raise
        raise ImportError(
            "ws:// and wss:// need the package websockets: pip install 'perspective-broker[web]'",
            name=error.name,
        ) from None
    return Web(url, path, Origins.of(origins, hosts))


def negotiate_web(
    receiver: Receiver,
    exporter: Exporter,
    importer: Importer,
    *,
    server: bool,
    limits: Limits,
    registry: Registry,
    policy: Policy,
    web: Web,
    is_local: bool,
) -> Dialect:
    """Return the HTTP handshake of one connection, behind which the dialect capnweb is spoken.

    Args:
        web: how.
        is_local: whether the peer is of this machine.

    The others are those of :func:`negotiate`.
    """
    from .capnweb import CapnwebDialect, ClientHandshake, ServerHandshake

    make = partial(
        CapnwebDialect,
        receiver=receiver,
        exporter=exporter,
        importer=importer,
        limits=limits,
        registry=registry,
        policy=policy,
    )
    if server:
        return ServerHandshake(receiver, make, path=web.path, origins=web.origins, is_local=is_local)
    return ClientHandshake(receiver, make, url=web.url)
