"""Shared by the tests of pb7: a dialect with a recording receiver, and values encoded and decoded in one step."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

from ormsgpack import packb

import perspective_broker as pb
from perspective_broker import Limits
from perspective_broker.dialects.building import instance
from perspective_broker.dialects.pb7 import Pb7Dialect
from perspective_broker.dialects.pb7.frames import frame_header
from perspective_broker.errors import CallError, DecodeError, ProtocolError, UnknownObject
from perspective_broker.flavors import Reference
from perspective_broker.ports import (
    SENT_BEFORE,
    Exporter,
    Importer,
    InParts,
    Message,
    PromisedAnswer,
    Receiver,
)
from perspective_broker.registry import Policy, Registry

LIMITS = Limits()


class Ref(Reference):
    """A reference whose text describes it, so that tests can compare the text."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{self._luid}>"


class Promised:
    """The answer of an earlier call."""

    def __init__(self, request: int) -> None:
        self.request = request


class Exports(Exporter):
    """An exporter with plain tables, which show the counts."""

    def __init__(self) -> None:
        self.exported: list[Any] = []  # their ids are the positions plus one
        self.counts: dict[int, int] = {}
        self.caches: dict[int, int] = {}

    def export(self, obj: Any, perspective: Any) -> int:
        if obj not in self.exported:
            self.exported.append(obj)
        luid = self.exported.index(obj) + 1
        self.counts[luid] = self.counts.get(luid, 0) + 1
        return luid

    def retract(self, luid: int) -> None:
        self.counts[luid] -= 1

    def adapt(self, value: Any) -> Any:
        if isinstance(value, Promised):
            return PromisedAnswer(value.request)
        return pb.Referenceable() if inspect.isgenerator(value) else value

    def home_id(self, reference: Any) -> int | str:
        luid: int | str = reference._luid
        return luid

    def export_cache(self, obj: Any, perspective: Any) -> tuple[int, Any]:
        luid = id(obj) % 1000
        self.caches[luid] = self.caches.get(luid, 0) + 1
        return luid, SENT_BEFORE if self.caches[luid] > 1 else obj.get_state_to_cache_and_observe_for(
            None, None
        )

    def retract_cache(self, luid: int) -> None:
        self.caches[luid] -= 1

    def home_cache_id(self, replica: Any) -> int | None:
        return getattr(replica, "_pb_luid", None)


class Imports(Importer):
    """An importer with plain tables."""

    def __init__(self) -> None:
        self.passed_over: list[int] = []  # ids of references that were released unread
        self.imported: dict[Any, Any] = {}  # counts of references,
        self.replicas: dict[int, Any] = {}  # and replicas; None when the state cannot be decoded

    def import_reference(self, luid: int, perspective: Any) -> Any:
        return self.imported.setdefault(luid, Ref(None, luid, perspective))

    def import_named(self, name: str) -> Any:
        return self.imported.setdefault(name, Ref(None, name, None))

    def pass_over(self, luid: int, perspective: Any) -> None:
        self.passed_over.append(luid)

    def kept_answer(self, request: int) -> Any:
        return f"answer {request}"

    def local_object(self, luid: Any) -> Any:
        return f"local {luid}"

    def introduce_cache(self, luid: int, cls: type) -> Any:
        if luid in self.replicas:
            raise ProtocolError("bad-id", "a replica's id was used again before it was given up")
        replica = self.replicas[luid] = instance(cls)
        return replica

    def spoil_cache(self, luid: int) -> None:
        self.replicas[luid] = None

    def import_cache(self, luid: int) -> Any:
        if luid not in self.replicas:
            raise UnknownObject("no replica lives under that id")
        if self.replicas[luid] is None:
            raise DecodeError("a replica whose state could not be read")
        return self.replicas[luid]

    def local_cache(self, luid: int) -> Any:
        return f"local cache {luid}"


class End(Receiver):
    """One end: a dialect whose receiver keeps the decoded operations, under the perspective ``"who"``."""

    def __init__(
        self,
        *,
        limits: Limits = LIMITS,
        policy: Policy | None = None,
        registry: Registry | None = None,
        greeted: bool = True,
    ) -> None:
        self.exports = Exports()
        self.imports = Imports()
        self.sent: list[bytes] = []
        self.got: list[tuple[Any, ...]] = []
        self.dialect = Pb7Dialect(
            receiver=self,
            exporter=self.exports,
            importer=self.imports,
            limits=limits,
            registry=registry or Registry(),
            policy=policy or Policy(),
        )
        self.dialect.open()
        if greeted:
            self.feed(self.sent[0])
            self.got.clear()

    def feed(self, *chunks: Message) -> list[tuple[Any, ...]]:
        """Receive chunks, decoding each before the next one arrives; return the operations so far."""
        for chunk in chunks:
            self.dialect.receive_data(whole(chunk))
            while self.dialect.next_message():
                pass
        return self.got

    def message(self, *items: Any) -> list[tuple[Any, ...]]:
        """Receive one well-formed frame."""
        return self.feed(framed(packb(list(items))))

    def send(self, data: Message) -> None:
        assert isinstance(data, bytes)
        self.sent.append(data)

    def _decoded(self, decode: Any, payload: Any) -> Any:
        try:
            return decode(payload, "who")
        except CallError as error:
            return error

    def on_call(
        self,
        request: int,
        target: Any,
        name: str,
        wants_answer: bool,
        arguments: Any,
        keep: bool = False,
        depends_on: Sequence[int] = (),
        seconds: float | None = None,
    ) -> None:
        decoded = self._decoded(self.dialect.decode_arguments, arguments)
        self.got.append(("call", request, target, name, wants_answer, decoded))
        if keep or depends_on:
            self.got.append(("pipelining", keep, list(depends_on)))
        if seconds is not None:
            self.got.append(("seconds", seconds))

    def on_update(self, request: int, luid: int, name: str, wants_answer: bool, arguments: Any) -> None:
        decoded = self._decoded(self.dialect.decode_arguments, arguments)
        self.got.append(("update", request, luid, name, wants_answer, decoded))

    def on_answer(self, request: int, payload: Any) -> None:
        self.got.append(("answer", request, self._decoded(self.dialect.decode_value, payload)))

    def on_error(self, request: int, payload: Any) -> None:
        self.got.append(("error", request, self.dialect.decode_error(payload, "who")))

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("on_") and name not in vars(End):
            return lambda *fields: self.got.append((name.removeprefix("on_"), *fields))
        return super().__getattribute__(name)


def whole(message: Message) -> bytes:
    """Return a message as one bytes object."""
    return b"".join(message.parts) if isinstance(message, InParts) else message


def framed(body: bytes) -> bytes:
    """Return a frame."""
    return frame_header(len(body)) + body


def answer_body(payload: bytes) -> bytes:
    """Return the body of an answer to request 1 with these bytes as its value."""
    return b"\x93\x02\x01" + payload


def across(value: Any, *, sender: End | None = None, receiver: End | None = None) -> Any:
    """Return a value as it arrives; raise it if it is an error."""
    frame = (sender or End()).dialect.writer.encode_answer(1, value, "who")
    receiver = receiver or End()
    receiver.feed(frame)
    _, _, arrived = receiver.got.pop()
    if isinstance(arrived, CallError) and not isinstance(value, BaseException):
        raise arrived
    return arrived


def read(payload: bytes, **options: Any) -> Any:
    """Return the value of an answer with these bytes; raise the error with which it fails."""
    end = End(**options)
    end.feed(framed(answer_body(payload)))
    _, _, arrived = end.got.pop()
    if isinstance(arrived, CallError):
        raise arrived
    return arrived


def chopped(data: bytes, size: int) -> Iterator[bytes]:
    """Yield ``data`` in pieces of ``size``."""
    return (data[at : at + size] for at in range(0, len(data), size))
