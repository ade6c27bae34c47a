"""Urls of peers: ``tcp://HOST:PORT``, ``ws://HOST:PORT/PATH``, ``unix:///PATH``, ``memory:NAME``; with TLS tls, wss."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

__all__ = ["DEFAULT_PORT", "Address", "bound_urls", "parse_url"]

#: Perspective Broker's registered port (``pb.portno`` since 2002).
DEFAULT_PORT: Final = 8787

_FORMS: Final = (
    "tcp://HOST:PORT, tls://HOST:PORT, ws://HOST:PORT, wss://HOST:PORT, unix:///PATH or memory:NAME"
)

_PORTS: Final = {"tcp": DEFAULT_PORT, "tls": DEFAULT_PORT, "ws": 80, "wss": 443}


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed url.

    Attributes:
        scheme: ``"tcp"``, ``"tls"``, ``"ws"``, ``"wss"``, ``"unix"`` or ``"memory"``.
        host: for tcp, tls, ws and wss; ``""`` listens on all interfaces.
        port: likewise; 0 lets the system choose.
        path: the path for unix, ws and wss, the name for memory.
    """

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.scheme == "memory":
            return f"memory:{self.path}"
        if self.scheme == "unix":
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"

    @property
    def is_encrypted(self) -> bool:
        """Whether TLS is spoken there."""
        return self.scheme in ("tls", "wss")

    @property
    def is_web(self) -> bool:
        """Whether WebSocket is spoken there."""
        return self.scheme in ("ws", "wss")

    @property
    def is_local(self) -> bool:
        """Whether bytes to this address cannot leave the machine."""
        if self.scheme in ("unix", "memory") or self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:  # a name
            return False


def parse_url(url: str) -> Address:
    """Return the address of ``url``.

    Raises:
        TypeError: it is not text.
        ValueError: it is not a url of a perspective broker; the text contains the valid forms.
    """
    if not isinstance(url, str):
        raise TypeError(f"url: must be a str, one of {_FORMS}; not {url!r:.100}")
    scheme, _, rest = url.partition(":")
    if scheme == "memory" and rest and not rest.startswith("/"):
        return Address("memory", path=rest)
    if scheme == "unix" and rest.startswith("///") and "\0" not in rest:
        return Address("unix", path=rest[2:])
    # urlsplit removes line ends and tabs, wherever they are.
    if scheme in _PORTS and rest.startswith("//") and rest.isprintable() and " " not in rest:
        try:
            parts = urlsplit(url)
            port = parts.port
            (parts.hostname or "").encode("idna")  # as the resolver does
        except UnicodeError:
            raise ValueError(f"{url!r}: the host is not a name; urls are {_FORMS}") from None
        except ValueError as error:
            raise ValueError(f"{url!r}: {error}; urls are {_FORMS}") from None
        path = parts.path.removesuffix("/") if len(parts.path) < 2 else parts.path
        if (
            (not path or (scheme in ("ws", "wss") and path.isascii()))
            and not (parts.query or parts.fragment)
            and parts.username is None
        ):
            return Address(scheme, parts.hostname or "", _PORTS[scheme] if port is None else port, path)
    raise ValueError(f"{url!r} is not a url of a perspective broker; urls are {_FORMS}")


def bound_urls(address: Address, sockets: Iterable[socket.socket]) -> list[str]:
    """Return the urls of the sockets that were bound for ``address``, with the ports that the system chose."""
    if address.scheme == "unix":
        return [str(address)]
    names = [bound.getsockname() for bound in sockets]
    # A host name stays, because certificates are for names; a wildcard becomes its address.
    return [str(Address(address.scheme, address.host or name[0], name[1], address.path)) for name in names]
