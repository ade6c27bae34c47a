"""The reading half of the dialect: from messages to calls, answers and releases.

The protocol asks more of a peer than the broker's session does: every answer is kept until it is released, errors are
kept as well, and anything may be mentioned before it is known. So the dialect keeps answers and promises itself, and
gives the broker only what is ready::

    ["push", …] ──▶ Settlement ──▶ are all promises in it settled? ──▶ receiver.on_call_of ──▶ the method
                        ▲                     │ no                                                │
                        │                     └──▶ Waiting ──▶ … ──▶ ready ──▶ next_message()      │
    ["pull", n] ────────┤                                                                         │
    ["release", n] ─────┘ ◀── succeeded(), failed() ◀── CapnwebWriter.encode_answer ◀─────────────┘

What is ready does not begin where it becomes so, because that may be in the middle of another message: the receiver is
asked to :meth:`~.ports.Receiver.go_on`.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from ...errors import (
    BadArguments,
    CallError,
    DecodeError,
    ProtocolError,
    SerializationError,
    Unavailable,
    UnknownObject,
)
from ...flavors import Policy, Registry, Target, from_within
from ...limits import NODE_BYTES, Limits
from ...ports import (
    DELIVERED,
    NEEDS_DATA,
    Data,
    Dialect,
    Exporter,
    Importer,
    Perspective,
    Receiver,
    Undecoded,
    Value,
)
from ...queues import NOTHING, own
from .decoding import Decoder, Payload, introduced
from .encoding import to_json
from .failures import error_tree, failure_in
from .ids import Ids
from .line import CLOSED, Line
from .paths import check_path, follow, target_of
from .settlements import KEPT_BYTES, Settlement, Waiting, kept_copy
from .writer import RAW, CapnwebWriter

__all__ = ["CapnwebDialect"]

#: Ids are numbers that JavaScript holds exactly.
_MOST_ID: Final = 2**53

#: Codes with which a peer closes in order. 3000 is the package's own, for both kinds of end.
_ORDERLY: Final = (1000, 1001, 1005, 3000)

#: A string of JSON. It matches whatever follows a quotation mark, so that no byte is looked at twice.
_STRINGS: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_LARGE: Final = 1024


class CapnwebDialect(Dialect):
    """One connection that speaks Cap'n Web.

    Args:
        line: its frames.
        receiver: gets the operations.
        exporter: turns our objects into ids of the session.
        importer: turns those into objects, and makes references.
        limits: what the peer may send.
        registry: of exceptions.
        policy: what may be received.
    """

    writer: CapnwebWriter

    def __init__(
        self,
        line: Line,
        *,
        receiver: Receiver,
        exporter: Exporter,
        importer: Importer,
        limits: Limits,
        registry: Registry,
        policy: Policy,
    ) -> None:
        self._ids = Ids()
        writer = CapnwebWriter(line, self._ids, exporter)
        super().__init__(writer)
        writer.outcomes = self
        self._line = line
        self._receiver = receiver
        self._exporter = exporter
        self._importer = importer
        self._registry = registry
        self._policy = policy
        self._last_push = 0  # of the peer
        self._last_nested = 0  # of the calls within expressions, which have no id of the peer's
        self._kept: dict[int, Settlement] = {}  # the peer's pushes that it has not released
        self._running: dict[int, Settlement] = {}  # those, and nested calls, that the broker knows
        self._promises: dict[int, Settlement] = NOTHING  # that the peer has introduced and not settled
        self._ready: deque[Waiting] = deque()
        self._kept_bytes = 0
        self._waiting_bytes = 0
        self._size = self._weight = 0
        self.use_limits(limits)

    # -- ports.Dialect

    def open(self) -> None:
        """Calls may begin at once: there is no hello."""
        self._receiver.on_ready()

    def use_limits(self, limits: Limits) -> None:
        self._limits = limits
        self._line.use_limit(limits.message_bytes)

    def receive_data(self, data: Data) -> None:
        line = self._line
        line.receive(data)
        if line.to_send:
            to_send, line.to_send = line.to_send, []
            self._receiver.send(RAW + b"".join(to_send))

    @property
    def mid_message(self) -> int:
        return self._line.unread

    @property
    def last_size(self) -> int:
        return self._size

    @property
    def last_weight(self) -> int:
        return self._weight

    def next_message(self) -> int:
        if self._ready:
            waiting = self._ready.popleft()
            self._waiting_bytes -= waiting.size
            self._size = self._weight = waiting.size
            waiting.act()
            return DELIVERED
        message = self._line.take()
        if message is None:
            return NEEDS_DATA
        if message is CLOSED:
            self._on_close()
            return DELIVERED
        self._size = self._weight = len(message)
        if len(message) > _LARGE:
            self._weigh(message)
        content = _parsed(message)
        kind = content[0] if type(content) is list and content else None
        handle = _HANDLERS.get(kind) if type(kind) is str else None
        if handle is None:
            raise ProtocolError("bad-message", "a message is a list that begins with a known word")
        handle(self, content)
        return DELIVERED

    def _weigh(self, message: bytes) -> None:
        """Judge the depth and the number of values of a message before it is read."""
        bare = _STRINGS.sub(b"", message)
        nodes = bare.count(b",") + 4 * (bare.count(b"[") + bare.count(b"{")) + 1
        if nodes > self._limits.nodes:
            raise ProtocolError("limit-nodes", "a message has more values than Limits.nodes allows")
        self._weight = max(len(message), nodes * NODE_BYTES)

    def decode_arguments(
        self, arguments: Undecoded, perspective: Perspective
    ) -> tuple[list[Value], dict[str, Value]]:
        return self._decoder(arguments, perspective).decode(), {}

    def decode_value(self, payload: Undecoded, perspective: Perspective) -> Value:
        return self._decoder(payload, perspective).decode()

    def decode_error(self, payload: Undecoded, perspective: Perspective) -> Exception:
        return failure_in(payload.raw).as_exception(self._registry, self._policy)

    def _decoder(self, payload: Payload, perspective: Perspective) -> Decoder:
        return Decoder(
            payload,
            self._importer,
            self._registry,
            self._policy,
            follow,
            perspective,
            max(self._limits.int_bits, 64),
        )

    # -- pushes

    def _on_push(self, message: list[Undecoded]) -> None:
        _check(len(message) == 2)
        self._push(message[1], is_stream=False)

    def _on_stream(self, message: list[Undecoded]) -> None:
        _check(len(message) == 2)
        self._push(message[1], is_stream=True)

    def _on_pipe(self, message: list[Undecoded]) -> None:
        _check(len(message) == 1)
        self._push(["pipe"], is_stream=False)

    def _push(self, expression: Undecoded, is_stream: bool) -> None:
        self._last_push += 1
        number = self._last_push
        kept = Settlement()
        if is_stream:
            kept.is_stream = kept.is_pulled = True
        else:
            self._keep(number, kept)
            # Nearly always the pull is right behind: then the answer is encoded when the method has returned.
            if self._line.peek() == b'["pull",%d]' % number:
                self._line.take()
                kept.is_pulled = True
        self._evaluate(number, kept, expression)

    def _keep(self, number: int, kept: Settlement) -> None:
        kept.weight = KEPT_BYTES
        self._kept_bytes += KEPT_BYTES
        self._kept[number] = kept
        if self._kept_bytes > 4 * self._limits.message_bytes:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        """Forget answers that were never asked for, the oldest first: many programs never release what they drop."""
        for number, kept in list(self._kept.items()):
            if kept.is_settled and not kept.is_pulled and kept.waiting is None:
                self._drop(number, kept)
                if self._kept_bytes <= 3 * self._limits.message_bytes:
                    return
        if self._kept_bytes > 4 * self._limits.message_bytes:
            raise ProtocolError(
                "limit-kept", "the answers that are kept are larger than 4 times Limits.message_bytes"
            )

    def _drop(self, number: int, kept: Settlement) -> None:
        del self._kept[number]
        kept.is_released = True
        self._kept_bytes -= kept.weight

    def _evaluate(self, number: int, kept: Settlement, expression: Undecoded) -> None:
        """Find the value of a push, or of a call within another expression."""
        try:
            code = expression[0] if type(expression) is list and expression else None
            if code in ("pipeline", "import") and len(expression) in (3, 4):
                self._reach(number, kept, expression)
            elif code == "pipe" or code == "remap":
                raise DecodeError("streams and maps are not supported")
            else:
                payload = self._hold(expression, bare=False)
                self._when_settled(
                    payload.dependencies, partial(self._have_value, number, kept, payload), number, kept
                )
        except CallError as error:
            self._refuse(number, kept, error, introduced(expression))

    def _have_value(self, number: int, kept: Settlement, payload: Payload) -> None:
        """All promises of a pushed value are settled."""
        if (failed := _first_error(payload)) is not None:
            self._settle_error(number, kept, failed)
            return
        try:
            value = self.decode_value(payload, None)
        except CallError as error:
            self._refuse(number, kept, error, ())
            return
        self._settle_here(number, kept, value, None)

    def _reach(self, number: int, kept: Settlement, expression: list[Undecoded]) -> None:
        """Begin a call, or read a property.

        Raises:
            CallError: it cannot begin.
        """
        subject = self._subject(expression[1])
        path = check_path(expression[2], self._limits.method_name_bytes)
        payload = None
        needed = [subject] if isinstance(subject, Settlement) else []
        if len(expression) == 4:
            if type(expression[3]) is not list:
                raise DecodeError("arguments are a list")
            payload = self._hold(expression[3], bare=True)
            needed += payload.dependencies
        self._when_settled(needed, partial(self._call, number, kept, subject, path, payload), number, kept)

    def _subject(self, wire: Undecoded) -> Settlement | Target:
        """Return what an id of the peer's imports means: a push of its own, or an object of ours.

        Raises:
            UnknownObject: nothing.
        """
        if type(wire) is not int:
            raise DecodeError("an id is a whole number")
        if wire > 0:
            kept = self._kept.get(wire)
            if kept is None:
                raise UnknownObject("that answer was released, or never asked for")
            return kept
        target = self._importer.local_target("root" if wire == 0 else self._ids.exported(wire))
        assert isinstance(target, Target)
        return target

    def _call(
        self,
        number: int,
        kept: Settlement,
        subject: Settlement | Target,
        path: list[str | int],
        payload: Payload | None,
    ) -> None:
        """Everything is there that a call, or a read, depends on."""
        value: Value = subject
        perspective: Perspective = None
        failed: bytes | None = None
        if isinstance(subject, Settlement):
            value, perspective, failed = subject.value, subject.perspective, subject.error
        else:
            perspective = subject.perspective
        if failed is None and payload is not None:
            failed = _first_error(payload)
        if failed is not None:
            if payload is not None:
                self._pass_over(introduced(payload.raw))
            self._settle_error(number, kept, failed)
            return
        try:
            if payload is None:
                self._settle_here(number, kept, follow(value, path, perspective), perspective)
                return
            target, name = target_of(value, path, perspective)
        except Exception as error:
            if payload is not None:
                self._pass_over(introduced(payload.raw))
            self._settle_error(number, kept, to_json(error_tree(from_within(error))))
            return
        kept.is_running = True
        self._running[number] = kept
        self._receiver.on_call_of(number, target, name, payload)

    # -- what expressions mention

    def _hold(self, raw: Undecoded, bare: bool) -> Payload:
        """Look up what the ids in an expression mean now, and hold it."""
        payload = Payload(raw, bare)
        todo: list[Undecoded] = list(raw) if bare else [raw]
        todo.reverse()
        while todo:
            node = todo.pop()
            if type(node) is dict:
                todo.extend(reversed(node.values()))
            elif type(node) is list and node:
                try:
                    if self._mentions(node, payload):
                        continue
                except CallError as error:
                    payload.error = payload.error or error
                    continue
                todo.extend(item for item in reversed(node) if type(item) in (list, dict))
        return payload

    def _mentions(self, node: list[Undecoded], payload: Payload) -> bool:
        """Note what an expression mentions; return whether there is nothing further to look at in it."""
        code = node[0]
        if code == "promise":
            if len(node) != 2 or type(node[1]) is not int or node[1] >= 0 or node[1] in self._promises:
                raise DecodeError("a promise has a negative id that is new")
            if len(self._promises) >= self._limits.references_received:
                raise ProtocolError("limit-references", "too many promises (Limits.references_received)")
            self._promises = own(self._promises)
            payload.held[id(node)] = self._promises[node[1]] = Settlement()
            return True
        if code != "import" and code != "pipeline":
            return False
        if not 2 <= len(node) <= 4:
            raise DecodeError("an expression has a wrong length")
        if len(node) > 2:
            check_path(node[2], self._limits.method_name_bytes)
        if len(node) == 4:
            self._last_nested -= 1
            nested = payload.held[id(node)] = Settlement()
            self._evaluate(self._last_nested, nested, node)
            return True
        subject = self._subject(node[1])
        payload.held[id(node)] = subject.obj if isinstance(subject, Target) and len(node) == 2 else subject
        return True

    def _when_settled(
        self, needed: list[Settlement], act: Callable[[], None], number: int, kept: Settlement | None
    ) -> None:
        """Act now, or when all of ``needed`` are settled.

        Raises:
            Unavailable: too much waits already.
        """
        missing = [one for one in needed if not one.is_settled]
        if not missing:
            act()
            return
        size = max(self._size, 256)
        if self._waiting_bytes + size > self._limits.waiting_bytes and kept is not None:
            raise Unavailable("too many calls wait for promises (Limits.waiting_bytes)", code="slots")
        self._waiting_bytes += size
        waiting = Waiting(act, size)
        waiting.missing = len(missing)
        for one in missing:
            if one.waiting is None:
                one.waiting = []
            one.waiting.append(waiting)

    # -- outcomes of pushes

    def is_wanted(self, request: int) -> bool:
        """Whether the peer wants to be sent the outcome of a push now."""
        kept = self._running.get(request)
        return kept is not None and kept.is_pulled and not kept.is_released

    def succeeded(self, request: int, value: Value, perspective: Perspective) -> None:
        """A method has returned."""
        kept = self._running.pop(request, None)
        if kept is not None:
            kept.is_running = False
            self._settle(request, kept, value, perspective)

    def failed(self, request: int, error: bytes) -> None:
        """A method has raised, or was not called."""
        kept = self._running.pop(request, None)
        if kept is not None:
            kept.is_running = False
            self._settle(request, kept, None, None, error)

    def _settle(
        self,
        number: int,
        kept: Settlement,
        value: Value,
        perspective: Perspective,
        error: bytes | None = None,
    ) -> None:
        if not (kept.is_stream or (kept.is_released and kept.waiting is None)):
            weight = len(error or b"") + KEPT_BYTES
            if error is None:
                value, weight = kept_copy(value)
            kept.value, kept.perspective, kept.error = value, perspective, error
            if number in self._kept:
                self._kept_bytes += weight - kept.weight
                kept.weight = weight
        kept.is_settled = True
        if kept.waiting is not None:
            self._wake(kept)

    def _wake(self, kept: Settlement) -> None:
        waiting, kept.waiting = kept.waiting or (), None
        for one in waiting:
            one.missing -= 1
            if not one.missing:
                self._ready.append(one)
        if self._ready:
            self._receiver.go_on()

    def _settle_here(self, number: int, kept: Settlement, value: Value, perspective: Perspective) -> None:
        """Settle a push for which no method was called."""
        self._settle(number, kept, value, perspective)
        if kept.is_pulled and not kept.is_released:
            self._send_value(number, kept)

    def _settle_error(self, number: int, kept: Settlement, error: bytes) -> None:
        self._settle(number, kept, None, None, error)
        if kept.is_pulled and not kept.is_released:
            self._receiver.send(self.writer.reject(number, error))

    def _refuse(self, number: int, kept: Settlement, error: CallError, unread: object) -> None:
        self._pass_over(unread)
        self._settle_error(number, kept, to_json(error_tree(error)))

    def _pass_over(self, luids: object) -> None:
        """Give back what was introduced in values that nothing here gets."""
        for luid in luids:  # type: ignore[attr-defined]
            if luid < 0 and luid not in self._promises:
                self._importer.pass_over(-luid, None)

    def _send_value(self, number: int, kept: Settlement) -> None:
        """Send a value that is known; hooks of the program may run."""

        def make() -> bytes:
            try:
                return self.writer.resolve(number, kept.value, kept.perspective)
            except SerializationError as error:
                return self.writer.reject(number, to_json(error_tree(from_within(error))))
            except Exception as error:
                return self.writer.reject(number, to_json(error_tree(error)))

        self._receiver.send_made(make)

    # -- pulls and releases

    def _on_pull(self, message: list[Undecoded]) -> None:
        _check(len(message) == 2)
        number = _id(message[1])
        if number == 0:
            root = Settlement()
            root.value = self._importer.local_object("root")
            self._send_value(0, root)
            return
        kept = self._kept.get(number)
        if kept is None:
            if 0 < number <= self._last_push:  # it was forgotten here (_forget_oldest)
                self._receiver.send(self.writer.reject(number, to_json(error_tree(_forgotten()))))
                return
            raise ProtocolError("bad-id", "a pull of what was never pushed, or was released")
        if kept.is_pulled:
            return
        kept.is_pulled = True
        if not kept.is_settled:
            return
        if kept.error is not None:
            self._receiver.send(self.writer.reject(number, kept.error))
        else:
            self._send_value(number, kept)

    def _on_release(self, message: list[Undecoded]) -> None:
        _check(len(message) == 3)
        wire, count = _id(message[1]), message[2]
        if type(count) is not int or count < 1:
            raise ProtocolError("refcount", "a release has a count of at least one")
        if wire < 0:
            luid = self._ids.exports.pop(wire, None)
            if luid is None or count != 1:  # each sending has an id of its own
                raise ProtocolError("refcount", "an object was released more often than it was sent")
            self._receiver.on_release(luid, 1)
            return
        if wire == 0:
            return  # the main object is there as long as the connection
        kept = self._kept.get(wire)
        if kept is None or count != 1:
            if 0 < wire <= self._last_push and count == 1:
                return  # it was forgotten here
            raise ProtocolError("refcount", "an answer was released that is not kept")
        self._drop(wire, kept)
        # Somebody waited for it, and does not any more. What was never pulled is "do it, I need no answer".
        if kept.is_running and kept.is_pulled and kept.waiting is None:
            self._receiver.on_cancel(wire)

    # -- answers to our calls, and promises of the peer

    def _on_resolve(self, message: list[Undecoded]) -> None:
        self._on_outcome(message, is_error=False)

    def _on_reject(self, message: list[Undecoded]) -> None:
        self._on_outcome(message, is_error=True)

    def _on_outcome(self, message: list[Undecoded], is_error: bool) -> None:
        _check(len(message) == 3)
        wire, expression = _id(message[1]), message[2]
        payload = self._hold(expression, bare=False)
        if wire < 0:
            self._settle_promise(wire, payload, is_error)
            return
        known = self._ids.answered(wire)
        if known is None:  # it was given up: what is in it is given back
            self._when_settled(payload.dependencies, partial(self._discard, payload), 0, None)
            return
        request, is_kept = known
        self._when_settled(
            payload.dependencies, partial(self._have_answer, request, payload, is_error), 0, None
        )
        if not is_kept:
            self._receiver.send(self.writer.release(wire))

    def _have_answer(self, request: int, payload: Payload, is_error: bool) -> None:
        failed = None if is_error else _first_error(payload)
        if failed is not None:  # a promise in it was broken
            self._pass_over(introduced(payload.raw))
            payload, is_error = Payload(json.loads(failed), False), True
        if is_error:
            self._receiver.on_error(request, payload)
        else:
            self._receiver.on_answer(request, payload)

    def _discard(self, payload: Payload) -> None:
        try:
            self.decode_value(payload, None)
        except CallError:
            pass

    def _settle_promise(self, wire: int, payload: Payload, is_error: bool) -> None:
        promise = self._promises.pop(wire, None)
        self._when_settled(
            payload.dependencies,
            partial(self._have_promised, promise or Settlement(), payload, is_error),
            0,
            None,
        )
        if promise is not None:
            self._receiver.send(self.writer.release(wire))

    def _have_promised(self, promise: Settlement, payload: Payload, is_error: bool) -> None:
        if is_error:
            promise.error = to_json(payload.raw)
        elif (failed := _first_error(payload)) is not None:
            self._pass_over(introduced(payload.raw))
            promise.error = failed
        else:
            try:
                promise.value = self.decode_value(payload, None)
            except CallError as error:
                promise.error = to_json(error_tree(error))
        promise.is_settled = True
        self._wake(promise)

    # -- the end

    def _on_abort(self, message: list[Undecoded]) -> None:
        failure = failure_in(message[1] if len(message) == 2 else None)
        self._receiver.on_farewell("aborted", failure.value)

    def _on_close(self) -> None:
        code, reason = self._line.closed_with or (1006, "")
        name = "closed" if code in _ORDERLY else f"closed-{code}"
        self._receiver.on_farewell(name, reason or f"WebSocket code {code}")


_HANDLERS: Final[dict[str, Callable[[CapnwebDialect, list[Undecoded]], None]]] = {
    "push": CapnwebDialect._on_push,
    "pull": CapnwebDialect._on_pull,
    "resolve": CapnwebDialect._on_resolve,
    "reject": CapnwebDialect._on_reject,
    "release": CapnwebDialect._on_release,
    "stream": CapnwebDialect._on_stream,
    "pipe": CapnwebDialect._on_pipe,
    "abort": CapnwebDialect._on_abort,
}


def _parsed(message: bytes) -> Undecoded:
    """Return the content of a message.

    Raises:
        ProtocolError: it is not JSON, or nested too deep.
    """
    if message.count(b"[") + message.count(b"{") > _DEPTH:
        _check_depth(message)
    try:
        return msgspec.json.decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        if b"\\u" not in message:
            raise ProtocolError("bad-message", "a message is not JSON") from None
    # A lone surrogate, which JavaScript writes, costs its call alone.
    try:
        return json.loads(message, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise ProtocolError("bad-message", "a message is not JSON") from None


def _no_constant(name: str) -> None:
    raise ValueError(name)


#: Brackets within each other. A list is two of them.
_DEPTH: Final = 256
_BRACKETS: Final = re.compile(rb"[\[\]{}]")


def _check_depth(message: bytes) -> None:
    depth = 0
    for found in _BRACKETS.finditer(_STRINGS.sub(b"", message)):
        depth += 1 if found[0] in b"[{" else -1
        if depth > _DEPTH:
            raise ProtocolError("limit-depth", f"a message has more than {_DEPTH} brackets within each other")


def _check(is_right: bool) -> None:
    if not is_right:
        raise ProtocolError("bad-message", "a message has a wrong number of parts")


def _id(number: Undecoded) -> int:
    if type(number) is not int or not -_MOST_ID < number < _MOST_ID:
        raise ProtocolError("bad-message", "an id is a whole number")
    return number


def _first_error(payload: Payload) -> bytes | None:
    """Return the error of a promise on which values depend; None when all were kept."""
    for one in payload.dependencies:
        if one.error is not None:
            return one.error
    return None


def _forgotten() -> CallError:
    return BadArguments("the answer was not asked for in time, and is not kept any more")
