"""Where a peer is, as text: ``tcp://host:port``, ``tls://host:port``, ``unix:///path``, ``memory:name``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

__all__ = ["DEFAULT_PORT", "Address", "parse_url"]

#: Perspective Broker's registered port (``pb.portno`` since 2002).
DEFAULT_PORT: Final = 8787

_FORMS: Final = "tcp://HOST:PORT, tls://HOST:PORT, unix:///PATH or memory:NAME"


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed url.

    Attributes:
        scheme: ``"tcp"``, ``"tls"``, ``"unix"`` or ``"memory"``.
        host: of tcp and tls; ``""`` listens everywhere.
        port: of tcp and tls; 0 lets the system choose.
        path: of unix, or the name of memory.
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
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether bytes to this address cannot leave the machine."""
        return (
            self.scheme in ("unix", "memory")
            or self.host in ("localhost", "::1")
            or self.host.startswith("127.")
        )


def parse_url(url: str) -> Address:
    """Return the address that ``url`` names.

    Raises:
        ValueError: it is no url of ours; the text says what one looks like.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "memory" and rest and not rest.startswith("/"):
        return Address("memory", path=rest)
    if scheme == "unix" and rest.startswith("///"):
        return Address("unix", path=rest[2:])
    if scheme in ("tcp", "tls") and rest.startswith("//"):
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ValueError(f"{url!r}: {error}; urls are {_FORMS}") from None
        if not parts.path.strip("/") and not parts.query and parts.username is None:
            return Address(scheme, parts.hostname or "", DEFAULT_PORT if port is None else port)
    raise ValueError(f"{url!r} is not a url of a perspective broker; urls are {_FORMS}")
