"""The paths of the monitor: JSON, Prometheus' text and the page, each made from the server as it is now."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol
from urllib.parse import parse_qs

from ..calls import BOUNDS, MethodStatistics
from .exchange import Answer
from .page import PAGE, POLICY

__all__ = ["Views", "Watched"]

#: Connections, or calls, in one answer.
_MOST: Final = 500
#: Objects that are looked at for one list of connections; beyond them only their number is shown.
_MOST_OBJECTS: Final = 20_000
#: Characters of a text that may be a peer's.
_MOST_TEXT: Final = 256


class Watched(Protocol):
    """A server, as the monitor sees it."""

    @property
    def connections(self) -> Sequence[Any]: ...

    @property
    def is_draining(self) -> bool: ...

    def statistics(self) -> Any: ...

    def methods(self) -> list[MethodStatistics]: ...

    @property
    def events(self) -> Any: ...


class Views:
    """The answers about one server."""

    def __init__(self, server: Watched) -> None:
        self._server = server
        self._began = time.time()
        self._paths = {
            "/healthz": self._health,
            "/metrics": self._metrics,
            "/connections": self._connections,
            "/calls": self._calls,
            "/methods": self._methods,
            "/": self._page,
        }

    def view(self, path: str, query: str) -> Answer | None:
        """Return the answer for a path; None where there is none."""
        make = self._paths.get(path)
        if make is not None:
            return make(parse_qs(query, keep_blank_values=True, max_num_fields=None))
        number = path.removeprefix("/connections/")
        if number != path and number.isascii() and number.isdigit() and len(number) < 20:
            return self._connection(int(number))
        return None

    def _page(self, query: Mapping[str, list[str]]) -> Answer:
        return Answer(200, "text/html; charset=utf-8", PAGE, POLICY)

    def _health(self, query: Mapping[str, list[str]]) -> Answer:
        draining = self._server.is_draining and "live" not in query
        state = self._server.statistics()
        found = {
            "status": "draining" if self._server.is_draining else "serving",
            "connections": state.connections,
            "strangers": state.strangers,
            "accepted": state.accepted,
            "refused": state.refused,
            "lag": round(state.lag, 4),
            "worst_lag": round(state.worst_lag, 4),
            "since": self._began,
        }
        return _json(found, 503 if draining else 200)

    def _connections(self, query: Mapping[str, list[str]]) -> Answer:
        if "closed" in query:
            closed = [
                {
                    "peer": _text(one.peer),
                    "user": _text(one.user),
                    "since": one.since,
                    "ended": one.ended,
                    "code": _text(one.code),
                    "reason": _text(one.reason),
                }
                for one in reversed(self._server.events.closed)
            ]
            return _json({"closed": closed})
        live = list(self._server.connections)
        users = query.get("user")
        if users:
            live = [one for one in live if one.user == users[0]]
        budget = [_MOST_OBJECTS]
        rows = [_row(one, budget) for one in live[:_MOST]]
        sort = query.get("sort", [""])[0]
        if rows and sort in rows[0]:
            rows.sort(key=lambda row: (isinstance(row[sort], str), row[sort] or 0), reverse=True)
        return _json({"total": len(live), "connections": rows})

    def _connection(self, number: int) -> Answer | None:
        for one in self._server.connections:
            if id(one) == number:
                running = [_call(one, call) for call in one.running()[:_MOST]]
                return _json({**_row(one, [_MOST_OBJECTS]), "running": running})
        return None

    def _calls(self, query: Mapping[str, list[str]]) -> Answer:
        calls = [_call(one, call) for one in self._server.connections for call in one.running()]
        calls.sort(key=lambda call: -(call["seconds"] or 0.0))
        return _json({"total": len(calls), "calls": calls[:_MOST]})

    def _methods(self, query: Mapping[str, list[str]]) -> Answer:
        rows = [
            {
                "method": _text(one.method),
                "count": one.count,
                "errors": one.errors,
                "mean": one.mean,
                "worst": one.worst,
                "buckets": one.buckets,
            }
            for one in self._server.methods()
        ]
        return _json({"bounds": BOUNDS, "refused": self._server.events.methods.refused, "methods": rows})

    def _metrics(self, query: Mapping[str, list[str]]) -> Answer:
        state, events = self._server.statistics(), self._server.events
        live = [one.statistics() for one in self._server.connections]
        lines: list[str] = []

        def add(name: str, kind: str, text: str, *samples: tuple[str, float]) -> None:
            lines.append(f"# HELP pb_{name} {text}\n# TYPE pb_{name} {kind}")
            lines.extend(f"pb_{name}{labels} {value:.10g}" for labels, value in samples)

        add("connections", "gauge", "Connections that live.", ("", state.connections))
        add("strangers", "gauge", "Those whose peers are not authenticated.", ("", state.strangers))
        add("connections_accepted_total", "counter", "Connections let in.", ("", state.accepted))
        add("connections_refused_total", "counter", "Connections closed at once.", ("", state.refused))
        closed = [(_labels(code=code), number) for code, number in events.closed_by.items()]
        add("connections_closed_total", "counter", "Connections that ended, by code.", *closed)
        logins = [(_labels(method=method), number) for method, number in events.logins.items()]
        add("logins_total", "counter", "Logins that succeeded, by method.", *logins)
        add("loop_lag_seconds", "gauge", "By how much the event loop was late.", ("", state.lag))
        received = events.bytes_received + sum(one.bytes_received for one in live)
        add("received_bytes_total", "counter", "Bytes from peers.", ("", received))
        sent = events.bytes_sent + sum(one.bytes_sent for one in live)
        add("sent_bytes_total", "counter", "Bytes to peers.", ("", sent))
        add("objects_exported", "gauge", "Objects that peers hold.", ("", sum(one.exported for one in live)))
        add("calls_running", "gauge", "Methods that run.", ("", sum(one.calls_in for one in live)))
        add("calls_waiting", "gauge", "Calls that wait.", ("", sum(one.calls_waiting for one in live)))
        add("calls_refused_total", "counter", "Calls that never began.", ("", events.methods.refused))
        methods = self._server.methods()
        errors = [(_labels(method=one.method), one.errors) for one in methods]
        add("call_errors_total", "counter", "Calls that ended with an exception.", *errors)
        times: list[tuple[str, float]] = []
        for one in methods:
            below = 0
            for bound, number in zip((*BOUNDS, "+Inf"), one.buckets, strict=True):
                below += number
                times.append(("_bucket" + _labels(method=one.method, le=str(bound)), below))
            times.append(("_sum" + _labels(method=one.method), one.total))
            times.append(("_count" + _labels(method=one.method), one.count))
        add("call_duration_seconds", "histogram", "How long calls took.", *times)
        return Answer(200, "text/plain; version=0.0.4; charset=utf-8", ("\n".join(lines) + "\n").encode())


def _row(connection: Any, budget: list[int]) -> dict[str, Any]:
    state = connection.statistics()
    objects: dict[str, int] | None = None
    if state.exported <= budget[0]:
        budget[0] -= state.exported
        objects = {_text(name) or "": number for name, number in connection.exported().items()}
    return {
        "id": str(id(connection)),
        "peer": _text(connection.peer),
        "user": _text(connection.user),
        "dialect": state.dialect,
        "tls": connection.tls_version,
        "age": max(0.0, time.time() - connection.since),
        "phase": state.phase,
        "received": state.bytes_received,
        "sent": state.bytes_sent,
        "buffered": state.bytes_buffered,
        "calls_in": state.calls_in,
        "calls_out": state.calls_out,
        "waiting": state.calls_waiting,
        "exported": state.exported,
        "imported": state.imported,
        "objects": objects,
    }


def _call(connection: Any, call: Any) -> dict[str, Any]:
    return {
        "method": _text(call.method),
        "peer": _text(connection.peer),
        "user": _text(connection.user),
        "seconds": call.seconds,
        "deadline": call.deadline,
    }


def _text(text: str | None) -> str | None:
    """Return a text that may be a peer's, bounded and without control characters."""
    if text is None:
        return None
    text = text[:_MOST_TEXT]
    return text if text.isprintable() else ascii(text)[1:-1]


def _labels(**labels: str) -> str:
    """Return labels as Prometheus reads them."""
    pairs = []
    for name, value in labels.items():
        text = (_text(value) or "").replace("\\", "\\\\").replace('"', '\\"')
        pairs.append(f'{name}="{text}"')
    return "{" + ",".join(pairs) + "}"


def _json(found: Mapping[str, Any], status: int = 200) -> Answer:
    # In ASCII: nothing of a peer can end anything around it, wherever it is pasted.
    body = json.dumps(found, allow_nan=False).replace("<", "\\u003c")
    return Answer(status, "application/json", body.encode("ascii"))
