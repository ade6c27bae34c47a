"""The HTTP request in front of a WebSocket connection, at both sides. It stands where other dialects have a greeting.

A browser lets every page connect to every server, also to one on this machine. So a server lets in what comes from a
page only when it is one of its own, or of an origin that it was told (:class:`Origins`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from websockets.client import ClientProtocol
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from ...errors import ProtocolError
from ...limits import Limits
from ...ports import DELIVERED, NEEDS_DATA, Data, Dialect, Receiver, Writer
from .line import Line
from .writer import RAW

__all__ = ["ClientHandshake", "MakeDialect", "Origins", "ServerHandshake"]

#: Makes the dialect that follows.
MakeDialect = Callable[[Line], Dialect]

_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}

#: Bytes of a request or a response. Browsers send 1 to 2 KiB, with cookies up to 8.
_MOST_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Origins:
    """The pages that may connect, and the names under which a server is reached.

    Attributes:
        allowed: origins such as ``https://example.org``; None allows all.
        hosts: names beyond addresses of this machine that a request of this machine may be for; None for all.
    """

    allowed: frozenset[str] | None = frozenset()
    hosts: frozenset[str] | None = field(default=frozenset())

    @classmethod
    def of(cls, origins: str | Sequence[str], hosts: Sequence[str] = ()) -> Origins:
        """Return the origins of ``serve(..., origins=...)``.

        Raises:
            TypeError: they are not a list of text, nor ``"*"``.
            ValueError: one is not an origin.
        """
        if isinstance(origins, str):
            if origins != "*":
                raise TypeError('origins: must be a list such as ["https://example.org"], or "*" for all')
            return cls(None, None)
        for origin in origins:
            parts = urlsplit(origin)
            if not parts.scheme or not parts.netloc or parts.path or parts.query or parts.fragment:
                raise ValueError(
                    f"origins: must be like https://example.org or http://localhost:8000, not {origin!r}"
                )
        return cls(frozenset(origin.lower() for origin in origins), frozenset(map(str.lower, hosts)))

    def refusal(self, request: Request, is_local: bool) -> str | None:
        """Return why a request is not let in; None when it is.

        Args:
            request: of a WebSocket client.
            is_local: whether it comes from this machine.
        """
        hosts = request.headers.get_all("Host")
        origins = request.headers.get_all("Origin")
        if len(hosts) != 1 or len(origins) > 1:
            return "a request has one Host, and one Origin at most"
        host = hosts[0].lower()
        # A page whose name was made to point at this machine (DNS rebinding) is its own origin: the name tells.
        if is_local and self.hosts is not None and not _is_of_this_machine(host, self.hosts):
            return "Host: this server does not go by that name; add it to hosts="
        if not origins or self.allowed is None:
            return None
        origin = origins[0].lower()
        if origin in self.allowed or _same_host(origin, host):
            return None
        return "Origin: pages of that origin may not connect; add it to origins="


def _is_of_this_machine(host: str, more: frozenset[str]) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name == "localhost" or name.endswith(".localhost") or name in more or host in more:
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True  # an address cannot be made to point elsewhere


def _same_host(origin: str, host: str) -> bool:
    try:
        page, server = urlsplit(origin), urlsplit(f"//{host}")
        default = _DEFAULT_PORTS.get(page.scheme)
        return (
            default is not None
            and bool(page.hostname)
            and (page.hostname == server.hostname and (page.port or default) == (server.port or default))
        )
    except ValueError:
        return False


class _Http(Writer):
    """Writes what a handshake sends, as records like those of the dialect that follows."""

    def __init__(self) -> None:
        super().__init__("", frozenset(), frames=True)

    def frame(self, messages: Sequence[bytes | memoryview]) -> list[bytes | memoryview]:
        return [message[1:] for message in messages]


class _Handshake(Dialect):
    """What both sides have in common.

    Args:
        receiver: gets the dialect that follows.
        make: makes it.
    """

    def __init__(self, receiver: Receiver, make: MakeDialect) -> None:
        super().__init__(_Http())
        self._receiver = receiver
        self._make = make
        self._received = 0
        self._head: bytes | None = b""  # what has come of it; None when it is complete
        self._rest = b""  # what has come behind it

    def use_limits(self, limits: Limits) -> None:
        """Do nothing: a handshake has limits of its own."""

    @property
    def mid_message(self) -> int:
        return self._received

    def receive_data(self, data: Data) -> None:
        if self._head is None:
            self._rest += bytes(data)
            return
        head = self._head + self._count(data)
        head, end, rest = head.partition(b"\r\n\r\n")
        if not end:
            self._head = head
            return
        self._head = None
        self._rest = rest
        self._receive_head(head + end)

    def _receive_head(self, head: bytes) -> None:
        """Take the head of the peer's message, which is complete."""
        raise NotImplementedError

    def _count(self, data: Data) -> bytes:
        self._received += len(data)
        if self._received > _MOST_BYTES:
            raise ProtocolError(
                "bad-handshake", f"the head of the HTTP message is larger than {_MOST_BYTES} bytes"
            )
        return bytes(data)


class ServerHandshake(_Handshake):
    """Reads the request of a client, and answers it.

    Args:
        receiver: gets the dialect that follows.
        make: makes it.
        path: of the url that is served.
        origins: which pages may connect.
        is_local: whether the client is of this machine.
    """

    def __init__(
        self, receiver: Receiver, make: MakeDialect, *, path: str, origins: Origins, is_local: bool
    ) -> None:
        super().__init__(receiver, make)
        self._path = path or "/"
        self._origins = origins
        self._is_local = is_local
        self._protocol = ServerProtocol()

    def open(self) -> None:
        """Wait: the client begins."""

    def _receive_head(self, head: bytes) -> None:
        self._protocol.receive_data(head)

    def next_message(self) -> int:
        if self._head is not None:
            return NEEDS_DATA
        protocol = self._protocol
        events = protocol.events_received()
        request = events[0] if events else None
        if not isinstance(request, Request):
            raise self._refused(400, "Bad Request", "this is not a request of HTTP/1.1 that can be read here")
        if (problem := self._problem(request)) is not None:
            raise self._refused(*problem)
        response = protocol.accept(request)
        if response.status_code != 101:
            self._receiver.send(RAW + response.serialize())
            raise ProtocolError("bad-handshake", "the request is not one for a WebSocket")
        response.headers["Server"] = "perspective-broker"
        self._receiver.send(RAW + response.serialize())
        protocol = ServerProtocol(state=OPEN)  # without the request, which takes five kilobytes
        self._receiver.on_dialect(self._make(Line(protocol)), self._rest)
        return DELIVERED

    def _problem(self, request: Request) -> tuple[int, str, str] | None:
        if request.path.partition("?")[0] != self._path:
            return 404, "Not Found", "nothing is served under this path"
        refusal = self._origins.refusal(request, self._is_local)
        return None if refusal is None else (403, "Forbidden", refusal)

    def _refused(self, status: int, phrase: str, text: str) -> ProtocolError:
        body = f"{text}\n".encode()
        head = (
            f"HTTP/1.1 {status} {phrase}\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self._receiver.send(RAW + head.encode() + body)
        return ProtocolError("bad-handshake", text)


class ClientHandshake(_Handshake):
    """Sends the request, and reads the server's response.

    Args:
        receiver: gets the dialect that follows.
        make: makes it.
        url: of the server.
    """

    def __init__(self, receiver: Receiver, make: MakeDialect, *, url: str) -> None:
        super().__init__(receiver, make)
        self._protocol = ClientProtocol(parse_uri(url))
        self._status = 0

    def open(self) -> None:
        request = self._protocol.connect()
        self._protocol.send_request(request)
        self._receiver.send(RAW + b"".join(self._protocol.data_to_send()))

    def _receive_head(self, head: bytes) -> None:
        status = head[9:12]
        self._status = int(status) if head.startswith(b"HTTP/") and status.isdigit() else 0
        self._protocol.receive_data(head)

    def next_message(self) -> int:
        if self._head is not None:
            return NEEDS_DATA
        protocol = self._protocol
        if protocol.state is not OPEN:
            told = f" (status {self._status})" if self._status else ""
            raise ProtocolError("bad-handshake", f"the server does not open a WebSocket{told}")
        protocol.events_received()
        self._receiver.on_dialect(self._make(Line(protocol)), self._rest)
        return DELIVERED
