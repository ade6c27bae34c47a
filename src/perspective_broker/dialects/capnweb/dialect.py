"""The reading half of the dialect: from messages to calls, answers and releases.

The protocol asks more of a peer than the broker's session does: every answer is kept until it is released, errors are
kept as well, and anything may be mentioned before it is known. So the dialect keeps answers and promises itself, and
gives the broker only what is ready::

    ["push", …] ──▶ Settlement ──▶ are all promises in it settled? ──▶ receiver.on_call_of ──▶ the method
                        ▲                     │ no                                                │
                        │                     └──▶ Waiting ──▶ … ──▶ ready ──▶ next_message()      │
    ["pull", n] ────────┤                                                                         │
    ["release", n] ─────┘ ◀── Answers.succeeded, failed ◀── CapnwebWriter.encode_answer ◀─────────────┘

What is ready does not begin where it becomes so, because that may be in the middle of another message: the receiver is
asked to :meth:`~.ports.Receiver.go_on`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

from ...errors import (
    CallError,
    DecodeError,
    ProtocolError,
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
from .answers import Answers
from .decoding import Decoder, Payload, introduced
from .encoding import to_json
from .failures import error_tree, failure_in
from .ids import Ids
from .line import CLOSED, Line
from .parsing import count_nodes, parsed
from .paths import check_path, follow, target_of
from .settlements import Settlement
from .writer import RAW, CapnwebWriter, release

__all__ = ["CapnwebDialect"]

#: Ids are numbers that JavaScript holds exactly.
_MOST_ID: Final = 2**53

#: Codes with which a peer closes in order. 3000 is the package's own, for both kinds of end.
_ORDERLY: Final = (1000, 1001, 1005, 3000)

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
        self._answers = Answers(exporter, receiver, importer, self._ids, limits)
        writer.outcomes = self._answers
        self._line = line
        self._receiver = receiver
        self._exporter = exporter
        self._importer = importer
        self._registry = registry
        self._policy = policy
        self._last_nested = 0  # of the calls within expressions, which have no id of the peer's
        self._promises: dict[int, Settlement] = NOTHING  # that the peer has introduced and not settled
        self._size = self._weight = 0
        self.use_limits(limits)

    # -- ports.Dialect

    def open(self) -> None:
        """Calls may begin at once: there is no hello."""
        self._receiver.on_ready()

    def use_limits(self, limits: Limits) -> None:
        self._limits = limits
        self._line.use_limit(limits.message_bytes)
        self._answers.use_limits(limits)

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
        waiting = self._answers.take_ready()
        if waiting is not None:
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
        content = parsed(message)
        kind = content[0] if type(content) is list and content else None
        handle = _HANDLERS.get(kind) if type(kind) is str else None
        if handle is None:
            raise ProtocolError("bad-message", "a message is a list that begins with a known word")
        handle(self, content)
        return DELIVERED

    def _weigh(self, message: bytes) -> None:
        """Judge the depth and the number of values of a message before it is read."""
        nodes = count_nodes(message)
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
        self._answers.last_push += 1
        number = self._answers.last_push
        kept = Settlement()
        if is_stream:
            kept.is_stream = kept.is_pulled = True
        else:
            self._answers.keep(number, kept)
            # Nearly always the pull is right behind: then the answer is encoded when the method has returned.
            if self._line.peek() == b'["pull",%d]' % number:
                self._line.take()
                kept.is_pulled = True
        self._evaluate(number, kept, expression)

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
                self._answers.when_settled(
                    payload.dependencies, partial(self._have_value, number, kept, payload), self._size, True
                )
        except CallError as error:
            self._refuse(number, kept, error, introduced(expression))

    def _have_value(self, number: int, kept: Settlement, payload: Payload) -> None:
        """All promises of a pushed value are settled."""
        if (failed := _first_error(payload)) is not None:
            self._answers.settle_error(number, kept, failed)
            return
        try:
            value = self.decode_value(payload, None)
        except CallError as error:
            self._refuse(number, kept, error, ())
            return
        self._answers.settle_here(number, kept, value, None)

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
        self._answers.when_settled(
            needed, partial(self._call, number, kept, subject, path, payload), self._size, True
        )

    def _subject(self, wire: Undecoded) -> Settlement | Target:
        """Return what an id of the peer's imports means: a push of its own, or an object of ours.

        Raises:
            UnknownObject: nothing.
        """
        if type(wire) is not int:
            raise DecodeError("an id is a whole number")
        if wire > 0:
            kept = self._answers.find(wire)
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
        path: Sequence[str | int],
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
            self._answers.settle_error(number, kept, failed)
            return
        try:
            if payload is None:
                self._answers.settle_here(number, kept, follow(value, path, perspective), perspective)
                return
            target, name = target_of(value, path, perspective)
        except Exception as error:
            if payload is not None:
                self._pass_over(introduced(payload.raw))
            self._answers.settle_error(number, kept, to_json(error_tree(from_within(error))))
            return
        self._answers.run(number, kept)
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

    def _refuse(self, number: int, kept: Settlement, error: CallError, unread: Iterable[int]) -> None:
        self._pass_over(unread)
        self._answers.settle_error(number, kept, to_json(error_tree(error)))

    def _pass_over(self, luids: Iterable[int]) -> None:
        """Give back what was introduced in values that nothing here gets."""
        for luid in luids:
            if luid < 0:
                self._importer.pass_over(-luid, None)

    # -- pulls and releases

    def _on_pull(self, message: list[Undecoded]) -> None:
        _check(len(message) == 2)
        self._answers.pull(_id(message[1]))

    def _on_release(self, message: list[Undecoded]) -> None:
        _check(len(message) == 3)
        self._answers.release(_id(message[1]), message[2])

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
            self._answers.when_settled(
                payload.dependencies, partial(self._discard, payload), self._size, False
            )
            return
        request, is_kept = known
        self._answers.when_settled(
            payload.dependencies, partial(self._have_answer, request, payload, is_error), self._size, False
        )
        if not is_kept:
            self._receiver.send(release(wire))

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
        self._answers.when_settled(
            payload.dependencies,
            partial(self._have_promised, promise or Settlement(), payload, is_error),
            self._size,
            False,
        )
        if promise is not None:
            self._receiver.send(release(wire))

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
        self._answers.wake(promise)

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
