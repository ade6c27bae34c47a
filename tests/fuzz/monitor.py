"""Any bytes to the monitor are answered in bounded HTTP, and nothing is shown without the token and the right Host."""

from __future__ import annotations

from perspective_broker.monitor.exchange import Answer, Exchange
from perspective_broker.monitor.gate import Gate

__all__ = ["target"]

_SECRET = b"what is shown"


def target(data: bytes) -> None:
    gate = Gate("127.0.0.1", 8788)
    seen: list[str] = []

    def view(path: str, query: str) -> Answer | None:
        seen.append(path)
        return Answer(200, "text/plain", _SECRET)

    whole, pieces = Exchange(gate, view), Exchange(gate, view)
    out = whole.receive(data)
    assert not seen, "shown without the token"
    assert _SECRET not in out
    assert not out or out.startswith(b"HTTP/1.1 4"), "another answer than a refusal"
    for place in range(0, len(data), 997):
        pieces.receive(data[place : place + 997])
    assert not seen
    # With the token, a request goes on to be bounded.
    asked = Exchange(gate, view)
    line = f"GET /?token={gate.token} HTTP/1.1\r\nHost: 127.0.0.1:8788\r\n".encode()
    out = asked.receive(line + data[:4096] + b"\r\n\r\n")
    assert len(out) < 2_000_000
