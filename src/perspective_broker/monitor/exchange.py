"""One browser's requests and their answers: bytes in, bytes out. GET and HEAD only, everything bounded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import h11

from .gate import Gate

__all__ = ["MOST_BYTES", "Answer", "Exchange"]

#: Bytes of a request, which has no body: its line and its headers.
MOST_BYTES: Final = 8192
_STEP: Final = 1024
#: Requests of one connection.
_MOST_REQUESTS: Final = 1000

_HEADERS: Final = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
)

_NO_CONTENT: Final = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one request."""

    status: int
    kind: str
    body: bytes
    policy: str = _NO_CONTENT


class Exchange:
    """Answers the requests of one connection.

    Args:
        gate: judges them.
        view: makes the answer for a path and its query; None where there is no such path.

    Attributes:
        is_over: whether the connection is to be closed, when what was returned is sent.
    """

    def __init__(self, gate: Gate, view: Callable[[str, str], Answer | None]) -> None:
        self._gate = gate
        self._view = view
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_BYTES)
        self._requests = 0
        self.is_over: bool = False

    def receive(self, data: bytes) -> bytes:
        """Take bytes of the browser, and return those of the answers."""
        out: list[bytes] = []
        # In steps, because the library bounds only a request that is not complete.
        for place in range(0, len(data), _STEP):
            if self.is_over:
                break
            self._receive(data[place : place + _STEP], out)
        return b"".join(out)

    def _receive(self, data: bytes, out: list[bytes]) -> None:
        try:
            self._http.receive_data(data)
            while not self.is_over:
                event = self._http.next_event()
                if isinstance(event, h11.Request):
                    self._answer(event, out)
                elif isinstance(event, h11.ConnectionClosed):
                    self.is_over = True
                elif not isinstance(event, h11.EndOfMessage):
                    break
        except h11.ProtocolError as error:
            self.is_over = True
            if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                self._send(_plain(error.error_status_hint, "this is not a request"), out, True, False)

    def _answer(self, request: h11.Request, out: list[bytes]) -> None:
        self._requests += 1
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
        head = request.method == b"HEAD"
        path, _, query = request.target.decode("latin-1").partition("?")
        cookie = False
        has_body = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
        if request.method not in (b"GET", b"HEAD") or has_body:
            answer = _plain(405, "GET and HEAD only, without a body")
        elif not self._gate.knows_host(headers.get("host", "")):
            answer = _plain(421, "the Host of the request is not this server's")
        elif not self._gate.admits(query, headers.get("cookie", ""), headers.get("authorization", "")):
            answer = _plain(401, "the token is missing: use the url that the server has printed, or the header\n"
                                 "Authorization: Bearer TOKEN")  # fmt: skip
        else:
            answer = self._view(path, query) or _plain(404, "there is nothing here")
            cookie = path == "/"
        last = has_body or self._requests >= _MOST_REQUESTS
        self._send(answer, out, last, head, cookie)
        if last or self._http.our_state is h11.MUST_CLOSE:
            self.is_over = True
        else:
            event = self._http.next_event()
            if isinstance(event, h11.EndOfMessage) and self._http.our_state is h11.DONE:
                self._http.start_next_cycle()
            else:
                self.is_over = True

    def _send(self, answer: Answer, out: list[bytes], last: bool, head: bool, cookie: bool = False) -> None:
        headers = [
            ("Content-Type", answer.kind),
            ("Content-Length", str(len(answer.body))),
            ("Content-Security-Policy", answer.policy),
            *_HEADERS,
        ]
        if answer.status == 401:
            headers.append(("WWW-Authenticate", "Bearer"))
        if answer.status == 405:
            headers.append(("Allow", "GET, HEAD"))
        if cookie and self._gate.token:
            text = f"{self._gate.cookie}={self._gate.token}; HttpOnly; SameSite=Strict; Path=/"
            headers.append(("Set-Cookie", text))
        if last:
            headers.append(("Connection", "close"))
        http = self._http
        out.append(http.send(h11.Response(status_code=answer.status, headers=headers)) or b"")
        if not head:
            out.append(http.send(h11.Data(data=answer.body)) or b"")
        out.append(http.send(h11.EndOfMessage()) or b"")


def _plain(status: int, text: str) -> Answer:
    return Answer(status, "text/plain; charset=utf-8", f"{text}\n".encode())
