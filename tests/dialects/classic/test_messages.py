"""The messages of the classic dialects: their operations, and the errors of malformed ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker import BadArguments, Limits, ProtocolError, RemoteError, SerializationError
from perspective_broker.dialects.classic import ClassicDialect
from perspective_broker.dialects.classic.banana import encode
from perspective_broker.dialects.classic.messages import MAX_COMPLAINTS
from perspective_broker.ports import Message, NullExporter, NullImporter, Receiver
from perspective_broker.registry import Policy, Registry
from perspective_broker.testing import BrokerPair
from tests.dialects.classic.coding import LIMITS, SPELLINGS, read


class Operations(Receiver):
    """Records the operations that a dialect delivers."""

    def __init__(self) -> None:
        self.got: list[tuple[Any, ...]] = []
        self.said: list[bytes] = []

    def on_ready(self) -> None:
        self.got.append(("ready",))

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
        self.got.append(("call", request, target, name, wants_answer, arguments))

    def on_update(self, request: int, luid: int, name: str, wants_answer: bool, arguments: Any) -> None:
        self.got.append(("update", request, luid, name, wants_answer, arguments))

    def on_answer(self, request: int, payload: Any) -> None:
        self.got.append(("answer", request, payload))

    def on_error(self, request: int, payload: Any) -> None:
        self.got.append(("error", request, payload))

    def on_release(self, luid: Any, count: int) -> None:
        self.got.append(("release", luid, count))

    def on_decache(self, luid: int, count: int) -> None:
        self.got.append(("decache", luid, count))

    def on_uncache(self, luid: int) -> None:
        self.got.append(("uncache", luid))

    def on_complaint(self, text: str) -> None:
        self.got.append(("complaint",))

    def send(self, data: Message) -> None:
        assert isinstance(data, bytes)
        self.said.append(data)


class Line:
    """One dialect and its operations, with expressions instead of bytes."""

    def __init__(
        self, dialect: str = "pb", *, limits: Limits = LIMITS, broker: Any = None, ready: bool = True
    ) -> None:
        self.operations = Operations()
        self.spelling = SPELLINGS[dialect]
        exporter = NullExporter() if broker is None else broker.exporter
        importer = NullImporter() if broker is None else broker.importer
        self.dialect = ClassicDialect(
            self.spelling, self.operations, exporter, importer, limits, Registry(), Policy()
        )
        self.dialect.open()
        if ready:
            self.hear([b"version", 6])
            self.operations.got.clear()
            self.operations.said.clear()

    def hear(self, *expressions: Any) -> list[tuple[Any, ...]]:
        """Receive expressions and return their operations."""
        self.dialect.receive_data(b"".join(encode(each, self.spelling) for each in expressions))
        while self.dialect.next_message():
            pass
        return self.operations.got

    def expressions(self, data: Message) -> list[Any]:
        assert isinstance(data, bytes)
        return read(data, words=self.spelling.has_words)


ARGS = [[b"tuple", 1], [b"dictionary"]]

OPERATIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "a call": ([b"message", 1, b"root", b"echo", 1, *ARGS], ("call", 1, "root", "echo", True, tuple(ARGS))),
    "a call to an id, no answer": ([b"message", 7, 5, b"echo", 0, *ARGS], ("call", 7, 5, "echo", False, tuple(ARGS))),
    "digits are a name": ([b"message", 1, b"1", b"x", 1, *ARGS], ("call", 1, "1", "x", True, tuple(ARGS))),
    "a dunder is a name": ([b"message", 1, 0, b"__init__", 1, *ARGS], ("call", 1, 0, "__init__", True, tuple(ARGS))),
    "an update": ([b"cachemessage", 1, 5, b"moved", 1, *ARGS], ("update", 1, 5, "moved", True, tuple(ARGS))),
    "an answer": ([b"answer", 1, [b"None"]], ("answer", 1, [b"None"])),
    "an error": ([b"error", 1, b"unauthorized"], ("error", 1, b"unauthorized")),
    "decref": ([b"decref", 5], ("release", 5, 1)),
    "decache": ([b"decache", 5], ("decache", 5, 1)),
    "uncache": ([b"uncache", 5], ("uncache", 5)),
    "a complaint": ([b"didNotUnderstand", b"what\nnow"], ("complaint",)),
}  # fmt: skip


@pytest.mark.parametrize("dialect", SPELLINGS)
@pytest.mark.parametrize(("message", "operation"), OPERATIONS.values(), ids=OPERATIONS)
def test_operations(message: Any, operation: tuple[Any, ...], dialect: str) -> None:
    assert Line(dialect).hear(message) == [operation]


def test_it_says_its_version_first_and_is_ready_after_the_peer_s() -> None:
    for dialect in SPELLINGS:
        line = Line(dialect, ready=False)
        assert line.expressions(b"".join(line.operations.said)) == [[b"version", 6]]
        assert line.hear([b"version", 6]) == [("ready",)]
        assert line.dialect.name == dialect


LONG = b"x" * 600_000

FATAL: dict[str, tuple[Any, str]] = {
    "an int": (7, "bad-message"),
    "a string": (b"pb", "bad-message"),
    "a float": (1.5, "bad-message"),
    "an empty list": ([], "bad-message"),
    "a second offer": ([[b"pb", b"none"]], "bad-message"),
    "a command that is an int": ([7, 1], "bad-message"),
    "a command that is a list": ([[b"message"], 1], "bad-message"),
    "a command that is no text": ([b"\xff", 1], "bad-message"),
    "a second version": ([b"version", 6], "bad-version"),
    "too few fields": ([b"message", 1, b"root", b"x", 1, [b"tuple"]], "bad-message"),
    "too many fields": ([b"answer", 1, 2, 3], "bad-message"),
    "no fields": ([b"decref"], "bad-message"),
    "a complaint with too many": ([b"didNotUnderstand", b"x", b"y"], "bad-message"),
    "a request id that is a list": ([b"message", [1], b"root", b"x", 1, *ARGS], "bad-id"),
    "a request id that is text": ([b"message", LONG[:100_000], b"root", b"x", 1, *ARGS], "bad-id"),
    "a request id that is a float": ([b"message", 1.0, b"root", b"x", 1, *ARGS], "bad-id"),
    "a request id below zero": ([b"message", -1, b"root", b"x", 1, *ARGS], "bad-id"),
    "a request id of 65 bits": ([b"message", 2**64, b"root", b"x", 1, *ARGS], "bad-id"),
    "an answer's id that is text": ([b"answer", b"1", 1], "bad-id"),
    "an error's id that is a list": ([b"error", [], 1], "bad-id"),
    "an object id that is a list": ([b"message", 1, [1], b"x", 1, *ARGS], "bad-id"),
    "an object id that is a float": ([b"message", 1, 1.0, b"x", 1, *ARGS], "bad-id"),
    "an object id below zero": ([b"message", 1, -1, b"x", 1, *ARGS], "bad-id"),
    "a long object name": ([b"message", 1, LONG, b"x", 1, *ARGS], "bad-id"),
    "decref of a list": ([b"decref", [1]], "bad-id"),
    "decref of a float": ([b"decref", 1.0], "bad-id"),
    "a replica's id that is text": ([b"cachemessage", 1, b"1", b"x", 1, *ARGS], "bad-id"),
    "decache of text": ([b"decache", b"1"], "bad-id"),
    "uncache below zero": ([b"uncache", -1], "bad-id"),
    "a method's name that is an int": ([b"message", 1, b"root", 5, 1, *ARGS], "bad-message"),
    "a method's name that is a list": ([b"message", 1, b"root", [b"unicode", b"x"], 1, *ARGS], "bad-message"),
    "a method's name that is no text": ([b"message", 1, b"root", b"\xff", 1, *ARGS], "bad-message"),
    "a method's name of 257 bytes": ([b"message", 1, b"root", b"x" * 257, 1, *ARGS], "limit-name"),
    "a method's name of 600 kB": ([b"message", 1, b"root", LONG, 1, *ARGS], "limit-name"),
    "a wish that is 2": ([b"message", 1, b"root", b"x", 2, *ARGS], "bad-message"),
    "a wish that is text": ([b"message", 1, b"root", b"x", b"1", *ARGS], "bad-message"),
    "a wish that is a float": ([b"message", 1, b"root", b"x", 1.0, *ARGS], "bad-message"),
    "a wish that is a list": ([b"cachemessage", 1, 1, b"x", [], *ARGS], "bad-message"),
}  # fmt: skip


@pytest.mark.parametrize("dialect", SPELLINGS)
@pytest.mark.parametrize(("message", "code"), FATAL.values(), ids=FATAL)
def test_malformed_messages_are_fatal(message: Any, code: str, dialect: str) -> None:
    line = Line(dialect)
    with pytest.raises(ProtocolError) as refusal:
        line.hear(message)
    assert refusal.value.code == code
    assert len(refusal.value.reason) < 100
    assert line.operations.got == []
    assert line.operations.said == []


BEFORE_VERSION: dict[str, Any] = {
    "another version": [b"version", 7],
    "a version that is a list": [b"version", [6]],
    "a version that is text": [b"version", b"6"],
    "a version that is a float": [b"version", 6.0],
    "a call before it": [b"message", 1, b"root", b"x", 1, *ARGS],
    "a release before it": [b"decref", 1],
    "a complaint before it": [b"didNotUnderstand", b"version"],
}


@pytest.mark.parametrize("message", BEFORE_VERSION.values(), ids=BEFORE_VERSION)
def test_the_version_comes_first_and_is_six(message: Any) -> None:
    with pytest.raises(ProtocolError) as refusal:
        Line(ready=False).hear(message)
    assert refusal.value.code == "bad-version"


def test_an_unknown_command_is_answered_and_the_connection_kept() -> None:
    line = Line()
    line.hear([b"__class__"], [b"hello", 1, 2, [3]], ["é".encode() * 40], [b"answer", 1, 2])
    assert line.expressions(b"".join(line.operations.said)) == [
        [b"didNotUnderstand", b"__class__"],
        [b"didNotUnderstand", b"hello"],
        [b"didNotUnderstand", b"?" * 32],
    ]
    assert line.operations.got == [("answer", 1, 2)]


def test_unknown_commands_without_end_are_not_answered() -> None:
    line = Line()
    with pytest.raises(ProtocolError, match="bad-message"):
        line.hear(*([b"what"] for _ in range(MAX_COMPLAINTS + 1)))
    assert len(line.operations.said) == MAX_COMPLAINTS


def test_limits_can_be_changed_for_what_comes() -> None:
    line = Line(limits=replace(LIMITS, string_bytes=16))
    line.dialect.use_limits(LIMITS)
    line.hear([b"answer", 1, b"x" * 100])
    assert line.dialect.last_size == len(encode([b"answer", 1, b"x" * 100], line.spelling))
    line.dialect.receive_data(b"\x03")
    assert line.dialect.mid_message == 1


# -- arguments, values, errors


@pytest.mark.parametrize(
    "args", [b"tuple", 5, [b"list", 1], [b"dictionary"], [b"None"], [b"unicode", b"x"]], ids=repr
)
def test_arguments_that_are_no_tuple(args: Any) -> None:
    with pytest.raises(BadArguments, match=r"^positional arguments come as a tuple$"):
        Line().dialect.decode_arguments((args, [b"dictionary"]), None)


@pytest.mark.parametrize(
    ("kwargs", "why"),
    [
        (5, "keyword arguments come as a dictionary"),
        ([b"list"], "keyword arguments come as a dictionary"),
        ([b"None"], "keyword arguments come as a dictionary"),
        ([b"dictionary", [5, 1]], "keywords are text"),
        ([b"dictionary", [b"a", 1], [5, 1]], "keywords are text"),
        ([b"dictionary", [b"\xff", 1]], "keywords are text"),
        ([b"dictionary", [[b"tuple"], 1]], "keywords are text"),
        ([b"dictionary", [b"self", 1]], "no keyword is called self"),
        ([b"dictionary", [[b"unicode", b"self"], 1]], "no keyword is called self"),
    ],
    ids=repr,
)
def test_keywords_that_are_none(kwargs: Any, why: str) -> None:
    with pytest.raises(BadArguments, match=f"^{why}$"):
        Line().dialect.decode_arguments(([b"tuple"], kwargs), None)


def test_keywords_are_text_or_what_python_2_calls_text() -> None:
    kwargs = [b"dictionary", [b"a", 1], [[b"unicode", "é".encode()], 2], ["ö".encode(), 3]]
    assert Line().dialect.decode_arguments(([b"tuple", 0], kwargs), None) == ((0,), {"a": 1, "é": 2, "ö": 3})
    assert Line().dialect.decode_arguments(([b"tuple"], [b"dictionary"]), None) == ((), {})


@pytest.mark.parametrize(
    "payload",
    [
        5,
        1.5,
        [b"None"],
        b"",
        [b"list"],
        [b"unknown", 1],
        [],
        [b"twisted.spread.pb.CopyableFailure", 5],
        [[1]],
    ],
    ids=repr,
)
def test_errors_in_no_form(payload: Any) -> None:
    error = Line().dialect.decode_error(payload, None)
    assert isinstance(error, RemoteError)
    assert error.type == "malformed"


def test_an_error_that_is_a_string() -> None:
    error = Line().dialect.decode_error(b"unauthorized", None)
    assert isinstance(error, RemoteError)
    assert error.value == "unauthorized"
    assert error.check(pb.Error) or error.check("twisted.spread.pb.Error")


# -- sending


@pytest.mark.parametrize("dialect", SPELLINGS)
def test_calls_are_written_as_they_are_read(dialect: str) -> None:
    line = Line(dialect)
    message = line.dialect.writer.encode_call(3, "root", "add", True, (1, "a"), {"b": [2]}, None)
    assert line.expressions(message) == [
        [b"message", 3, b"root", b"add", 1, [b"tuple", 1, [b"unicode", b"a"]],
         [b"dictionary", [[b"unicode", b"b"], [b"list", 2]]]]
    ]  # fmt: skip
    message = line.dialect.writer.encode_call(4, 9, "ping", False, (), {}, None)
    assert line.expressions(message) == [[b"message", 4, 9, b"ping", 0, [b"tuple"], [b"dictionary"]]]
    message = line.dialect.writer.encode_update(4, 9, "moved", False, (), {}, None)
    assert line.expressions(message) == [[b"cachemessage", 4, 9, b"moved", 0, [b"tuple"], [b"dictionary"]]]
    for data, expressions in (
        (line.dialect.writer.encode_answer(3, None, None), [[b"answer", 3, [b"None"]]]),
        (line.dialect.writer.encode_releases({5: 3, 6: 1}), [*[[b"decref", 5]] * 3, [b"decref", 6]]),
        (line.dialect.writer.encode_decache(5, 2), [[b"decache", 5]] * 2),
        (line.dialect.writer.encode_uncache(5), [[b"uncache", 5]]),
    ):
        assert line.expressions(data) == expressions


def encode_call(dialect: ClassicDialect, *args: Any, **kwargs: Any) -> Any:
    return dialect.writer.encode_call(1, "root", "x", True, args, kwargs, None)


@pytest.mark.parametrize(
    ("encode", "path"),
    [
        (lambda dialect, bad: encode_call(dialect, {"jobs": [0, 1, bad]}), 'args[0]["jobs"][2]'),
        (lambda dialect, bad: encode_call(dialect, options={"é": (bad,)}), 'kwargs["options"]["\\xe9"][0]'),
        (lambda dialect, bad: dialect.writer.encode_answer(1, [[bad]], None), "answer[0][0]"),
    ],
    ids=["arguments", "keywords", "answer"],
)
def test_what_cannot_cross_is_named_by_its_place(encode: Callable[..., Any], path: str) -> None:
    with pytest.raises(SerializationError) as refusal:
        encode(Line().dialect, object())
    assert refusal.value.path == path


class Report(pb.Copyable, Exception):
    def __init__(self, **state: Any) -> None:
        self.state = state

    def get_state_to_copy(self) -> Any:
        return self.state


class Faulty(pb.Copyable):
    def get_state_to_copy(self) -> Any:
        raise RuntimeError("no state today")


SENDERS: dict[str, Callable[[ClassicDialect, Any], Any]] = {
    "a call": lambda dialect, value: encode_call(dialect, pb.Referenceable(), value),
    "keywords": lambda dialect, value: encode_call(
        dialect, pb.Referenceable(), key=[pb.Referenceable(), value]
    ),
    "an update": lambda dialect, value: dialect.writer.encode_update(
        1, 1, "x", True, (pb.Referenceable(), value), {}, None
    ),
    "an answer": lambda dialect, value: dialect.writer.encode_answer(1, [pb.Referenceable(), value], None),
    "an error": lambda dialect, value: dialect.writer.encode_error(
        1, Report(thing=pb.Referenceable(), value=value), False, None
    ),
}


@pytest.mark.parametrize(
    "value",
    [object(), Faulty(), [b"x" * 500] * 10, ["x"] * 60, [[[[[[[[1]]]]]]]]],
    ids=["object", "faulty", "large", "many", "deep"],
)
@pytest.mark.parametrize("send", SENDERS.values(), ids=SENDERS)
def test_a_message_that_cannot_be_sent_leaves_nothing_exported(
    send: Callable[[ClassicDialect, Any], Any], value: Any
) -> None:
    pair = BrokerPair(dialects=["pb"])
    limits = replace(LIMITS, message_bytes=4000, nodes=150, depth=9)
    line = Line(limits=limits, broker=pair.client.broker)
    with pytest.raises((SerializationError, RuntimeError)):
        send(line.dialect, value)
    assert len(pair.client.broker.tables.exports) == 0
    pair.link.cut()


def test_whatever_is_sent_is_let_in_by_a_peer_with_the_same_limits() -> None:
    """Growing values: each one either arrives or is refused by its sender."""
    limits = Limits(nodes=200, depth=12, message_bytes=1500)
    line, peer = Line(limits=limits), Line(limits=limits)
    shared: list[Any] = [[] for _ in range(60)]

    def nested(levels: int) -> Any:
        value: Any = "x"
        for _ in range(levels):
            value = [value]
        return value

    families: dict[str, Callable[[int], Any]] = {
        "shared": lambda n: [item for item in shared[:n] for _ in "ab"],
        "nested": nested,
        "nested and shared": lambda n: [value := nested(n), value],
        "nested dictionaries": lambda n: {"a": nested(n), "b": {"c": nested(n)}},
        "wide": lambda n: ["x"] * n,
        "booleans": lambda n: [True] * n,
        "keys": lambda n: {f"key{i}": i for i in range(n)},
        "numbers": lambda n: dict.fromkeys(range(n)),
        "large": lambda n: b"x" * 40 * n,
        "an exception below": lambda n: [nested(n), RuntimeError("x")],
    }
    for name, family in families.items():
        refused = 0
        for size in range(70):
            value = family(size)
            try:
                data = encode_call(line.dialect, value)
            except SerializationError:
                refused += 1
                continue
            peer.dialect.receive_data(data)
            assert peer.dialect.next_message(), name
        assert 0 < refused < 70, name


def test_an_exception_deep_down_is_counted_with_its_own_levels() -> None:
    limits = Limits(depth=12)
    line, peer = Line(limits=limits), Line(limits=limits)
    value: Any = RuntimeError("x")
    sent = 0
    for _ in range(12):
        try:
            data = encode_call(line.dialect, value)
        except SerializationError:
            break
        peer.dialect.receive_data(data)
        assert peer.dialect.next_message()
        value, sent = [value], sent + 1
    assert 0 < sent < 12


def test_names_that_a_peer_would_refuse_are_refused_here() -> None:
    dialect = Line().dialect
    for name in ("x" * 257, "\ud800"):
        with pytest.raises(SerializationError):
            dialect.writer.encode_call(1, "root", name, True, (), {}, None)
    assert dialect.writer.encode_call(1, "root", "x" * 256, True, (), {}, None)


def test_what_is_sent_is_counted_once_for_each_mention() -> None:
    pair = BrokerPair(dialects=["pb"])
    broker = pair.client.broker
    line = Line(broker=broker)
    one, two = pb.Referenceable(), pb.Referenceable()
    [message] = line.expressions(encode_call(line.dialect, one, two, one, key=two))
    assert message[5] == [b"tuple", [b"remote", 1], [b"remote", 2], [b"remote", 1]]
    assert message[6] == [b"dictionary", [[b"unicode", b"key"], [b"remote", 2]]]
    for luid in (1, 2, 1, 2):
        assert broker.tables.exports.release(luid, 1)
    assert len(broker.tables.exports) == 0
    pair.link.cut()
