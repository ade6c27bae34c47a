"""The cost of hostile bytes: processor time and memory for each shape of input and dialect, before and after login.

    python -m bench.hostile [--dialects pb,pb7] [--shapes NAME,...] [--mib 1] [--nodes 1000000]

No sockets: a broker without an event loop gets the bytes in pieces of 256 KiB, as an event loop reads them, and
handles them in slices of 2 ms, as a driver does. If a message may have fewer values than a MiB holds (before login, or
with ``--nodes``), it is sent as several messages, because otherwise it would be refused unread. The goal: 50 ms of
processor time per MiB, no turn longer than 50 ms, no more than 20 bytes of memory for a byte of input. The cost of
refused input is the cost until the refusal.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import logging
import time
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from ormsgpack import Ext, packb

import perspective_broker as pb
from perspective_broker.aio.turns import SLICE_SECONDS
from perspective_broker.dialects.classic.banana import encode, encode_list_head
from perspective_broker.dialects.classic.vocabulary import NONE, PB, base128
from perspective_broker.dialects.pb7 import codes
from perspective_broker.dialects.pb7.frames import frame_header
from perspective_broker.testing import Clock, End

__all__ = [
    "GOAL_BYTES",
    "GOAL_MS",
    "MIB",
    "MOST_NODES",
    "SHAPES",
    "Classic",
    "Figures",
    "Modern",
    "Root",
    "measure",
    "spelled",
]

MIB: Final = 1024 * 1024
#: Milliseconds of processor time per MiB, and of one turn.
GOAL_MS: Final = 50.0
#: Bytes of memory per byte of input.
GOAL_BYTES: Final = 20.0

#: Values of a message if a MiB is sent as one message.
MOST_NODES: Final = pb.Limits().nodes

#: Bytes that are passed at once, and the messages between two looks at the clock, as in the driver.
PIECE: Final = 256 * 1024
_MESSAGES_PER_LOOK: Final = 4


class Figures(NamedTuple):
    """The cost of one shape.

    Attributes:
        size: bytes that were passed before the end.
        ms: of processor time per MiB of them.
        turn: milliseconds of the longest turn.
        memory: bytes at the peak, per byte of input.
        verdict: the code with which the connection ended; ``kept`` if it did not.
    """

    size: int
    ms: float
    turn: float
    memory: float
    verdict: str


class Root(pb.Root):
    """The object that is called."""

    def remote_take(self, *things: Any, **named: Any) -> None:
        """Accept any argument, and drop it."""


class Classic:
    """The spelling of the classic dialect."""

    hello = encode(b"pb", NONE) + encode([b"version", 6], PB)

    @staticmethod
    def call(arguments: int, spelled: bytes, method: bytes = b"take") -> bytes:
        """Return a one-way call whose arguments are encoded already."""
        head = [encode(part, PB) for part in (b"message", 1, b"root", method, 0)]
        return b"".join(
            (
                encode_list_head(7),
                *head,
                encode_list_head(1 + arguments),
                b"\x0b\x87",
                spelled,
                b"\x01\x80\x05\x87",
            )
        )

    @classmethod
    def filled(cls, size: int, unit: bytes, before: bytes = b"", most: int = 640 * 1024 - 1) -> bytes:
        """Return calls, of at most 640 Ki items each, with ``unit`` in a list as often as needed."""
        count = min(max(1, size // len(unit)), most)
        one = cls.call(1, encode_list_head(count + 1) + (before or b"\x08\x87") + unit * count)
        return one * max(1, size // len(one))


class Modern:
    """The spelling of pb7."""

    hello = encode(b"pb7", NONE) + frame_header(4) + packb([codes.HELLO, codes.VERSION, {}])

    @staticmethod
    def call(spelled: bytes, method: str = "take") -> bytes:
        """Return a one-way call; ``spelled`` is its array of arguments."""
        head = b"".join(map(packb, (codes.CALL, 1, "root", method, 0)))
        body = b"\x96" + head + spelled
        return frame_header(len(body)) + body

    @classmethod
    def filled(cls, size: int, unit: bytes, per: int = 1) -> bytes:
        """Return a call with an array that holds ``unit`` as often as needed; a unit is ``per`` values."""
        count = max(1, size // len(unit)) * per
        return cls.call(b"\x91" + _array(count) + unit * (count // per))


def _array(count: int) -> bytes:
    """Return the announcement of an array of more than 15 items."""
    return b"\xdc" + count.to_bytes(2, "big") if count < 0x10000 else b"\xdd" + count.to_bytes(4, "big")


def _ext(code: int, payload: bytes) -> bytes:
    return bytes(packb(Ext(code, payload)))


def _tuples(levels: int) -> bytes:
    value = _ext(codes.TUPLE, b"\x90")
    for _ in range(levels - 1):
        value = _ext(codes.TUPLE, b"\x91" + value)
    return value


def _keys(size: int) -> list[bytes]:
    return [b"%x" % number for number in range(size // 8)]


def _classic_keys(size: int) -> bytes:
    pairs = [b"\x02\x80" + encode(key, NONE) + b"\x01\x81" for key in _keys(size)]
    return Classic.call(1, encode_list_head(len(pairs) + 1) + b"\x05\x87" + b"".join(pairs))


def _classic_dag(size: int) -> bytes:
    parts = []
    for number in range(size // 24):
        mention = encode([b"dereference", number - 1], PB) if number else b"\x01\x81"
        parts.append(b"\x03\x80\x04\x87" + encode(number, PB) + b"\x03\x80\x08\x87" + mention * 2)
    return Classic.call(1, encode_list_head(len(parts) + 1) + b"\x08\x87" + b"".join(parts))


def _modern_dag(size: int) -> bytes:
    def node(number: int) -> bytes:
        return _ext(codes.NODE, number.to_bytes(max(1, (number.bit_length() + 7) // 8), "big"))

    rows = [b"\x92\x00\x01"]
    for number in range(size // 10):
        rows.append(b"\x93\x00" + node(number) * 2)
    payload = _array(len(rows) + 1) + node(len(rows) - 1) + b"".join(rows)
    return Modern.call(b"\x91" + _ext(codes.GRAPH, payload))


#: Parts of the tuple that is shared by keys.
_SHARED: Final = 1000


def _classic_shared_keys(size: int) -> bytes:
    """Return a dictionary whose keys share one long tuple: each is short on the wire, and long when hashed."""
    shared = encode([b"tuple", *range(_SHARED)], PB)
    pairs = []
    for number in range(size // 20):
        mention = (
            b"\x03\x80\x04\x87" + encode(1, PB) + shared if not number else encode([b"dereference", 1], PB)
        )
        pairs.append(b"\x02\x80\x03\x80\x0b\x87" + mention + encode(number, PB) + encode(0, PB))
    return Classic.call(1, encode_list_head(len(pairs) + 1) + b"\x05\x87" + b"".join(pairs))


def _modern_shared_keys(size: int) -> bytes:
    def node(number: int) -> bytes:
        return _ext(codes.NODE, number.to_bytes(max(1, (number.bit_length() + 7) // 8), "big"))

    keys = size // 16
    rows = [_array(keys + 1) + b"\x03" + b"".join(map(node, range(2, keys + 2)))]
    rows.append(_array(_SHARED + 1) + b"\x02" + b"".join(map(packb, range(_SHARED))))
    rows += [b"\x93\x02" + node(1) + packb(number) for number in range(keys)]
    return Modern.call(b"\x91" + _ext(codes.GRAPH, _array(len(rows) + 1) + node(0) + b"".join(rows)))


def _text(size: int, method: str) -> bytes:
    one = Modern.call(b"\x90", method)
    return one * (size // len(one))


Shape = Callable[[int], bytes]

#: By dialect and name: a function from a size to about so many bytes of that shape.
SHAPES: Final[dict[str, dict[str, Shape]]] = {
    "pb": {
        "tiny ints": lambda size: Classic.filled(size, b"\x07\x81"),
        "empty lists": lambda size: Classic.filled(size, b"\x00\x80"),
        "ints in lists": lambda size: Classic.filled(size, b"\x02\x80\x08\x87\x07\x81", most=200_000),
        "nones": lambda size: Classic.filled(size, b"\x01\x80\x01\x87"),
        "lists in lists": lambda size: Classic.filled(
            size, b"\x02\x80\x08\x87" * 200 + b"\x07\x81", most=2000
        ),
        "deep nesting": lambda size: b"\x01\x80" * (size // 2),
        "many keys": _classic_keys,
        "keys that share": _classic_shared_keys,
        "reference DAG": _classic_dag,
        "short strings": lambda size: Classic.filled(size, b"\x01\x82a"),
        "empty strings": lambda size: Classic.filled(size, b"\x00\x82"),
        "short texts": lambda size: Classic.filled(size, b"\x02\x80\x07\x82unicode\x01\x82a"),
        "bad UTF-8": lambda size: Classic.filled(size, b"\x02\x80\x07\x82unicode\x01\x82\xff"),
        "vocabulary words": lambda size: Classic.filled(size, b"\x07\x87"),
        "decimals": lambda size: Classic.filled(size, encode([b"decimal", 15, -1], PB), most=200_000),
        "dates": lambda size: Classic.filled(size, encode([b"datetime", b"2020 1 1 0 0 0 0"], PB)),
        "large ints": lambda size: Classic.filled(size, base128((1 << 447) - 1) + b"\x85"),
        "floats": lambda size: Classic.filled(size, encode(1.5, PB)),
        "copyables": lambda size: Classic.filled(size, encode([b"unheard", [b"dictionary"]], PB)),
        "references": lambda size: Classic.filled(size, encode([b"remote", 5], PB), most=200_000),
        "small messages": lambda size: encode([b"uncache", 5], PB) * (size // 5),
        "small calls": lambda size: Classic.call(0, b"") * (size // len(Classic.call(0, b""))),
        "calls of no method": lambda size: (
            Classic.call(0, b"", b"no") * (size // len(Classic.call(0, b"", b"no")))
        ),
        "one large string": lambda size: Classic.call(1, encode(bytes(min(size, 600 * 1024)), NONE)),
    },
    "pb7": {
        "tiny ints": lambda size: Modern.filled(size, b"\x07"),
        "empty arrays": lambda size: Modern.filled(size, b"\x90"),
        "ints of two bytes": lambda size: Modern.filled(size, b"\xcc\xff"),
        "arrays in arrays": lambda size: Modern.filled(size, b"\x91" * 200 + b"\x07"),
        "deep nesting": lambda size: Modern.call(b"\x91" * size + b"\x90"),
        "deep nesting with values": lambda size: Modern.call(b"\x92\x00" * (size // 2) + b"\x90"),
        "many keys": lambda size: Modern.call(bytes(packb([{key.decode(): 1 for key in _keys(size)}]))),
        "keys that share": _modern_shared_keys,
        "reference DAG": _modern_dag,
        "short texts": lambda size: Modern.filled(size, b"\xa1a"),
        "empty texts": lambda size: Modern.filled(size, b"\xa0"),
        "bad UTF-8": lambda size: Modern.filled(size, b"\xa1\xff"),
        "bad UTF-8 at the end": lambda size: Modern.call(
            b"\x92" + _array(size // 2) + b"\xa1a" * (size // 2) + b"\xa1\xff"
        ),
        "a long spelling at the end": lambda size: Modern.call(
            b"\x92" + _array(size // 2) + b"\xcc\xff" * (size // 2) + b"\xcc\x05"
        ),
        "decimals": lambda size: Modern.filled(size, _ext(codes.DECIMAL, b"1.5")),
        "dates": lambda size: Modern.filled(size, _ext(codes.DATE, bytes(packb([2020, 1, 1])))),
        "large ints": lambda size: Modern.filled(size, _ext(codes.INTEGER, (1 << 70).to_bytes(9, "big"))),
        "floats": lambda size: Modern.filled(size, bytes(packb(1.5))),
        "empty tuples": lambda size: Modern.filled(size, _ext(codes.TUPLE, b"\x90")),
        "extensions in extensions": lambda size: Modern.filled(size, _tuples(100)),
        "copyables": lambda size: Modern.filled(size, _ext(codes.COPY, bytes(packb("unheard") + packb({})))),
        "references": lambda size: Modern.filled(size, _ext(codes.REMOTE, b"\x05")),
        "small messages": lambda size: (frame_header(3) + bytes(packb([codes.UNCACHE, 5]))) * (size // 7),
        "small calls": lambda size: _text(size, "take"),
        "calls of no method": lambda size: _text(size, "no"),
        "one large text": lambda size: Modern.call(bytes(packb(["a" * size]))),
    },
}


def _end(dialect: str, limits: pb.Limits) -> End:
    end = End(Clock(), server=True, root=Root(), limits=limits)
    end.receive(Classic.hello if dialect == "pb" else Modern.hello)
    end.take()
    return end


def _feed(end: End, data: bytes) -> tuple[int, float, float]:
    """Pass the bytes; return their number, and the seconds of all turns and of the longest turn."""
    total = longest = 0.0
    for at in range(0, len(data), PIECE):
        piece = data[at : at + PIECE]
        more = True
        began = time.process_time()
        end.broker.receive_data(piece, end.clock.now)
        while more and end.cause is None:
            while more and end.cause is None:
                more = end.broker.process(_MESSAGES_PER_LOOK, end.clock.now)
                if time.process_time() - began > SLICE_SECONDS:
                    break
            end.take()
            now = time.process_time()
            total += now - began
            longest = max(longest, now - began)
            began = now
        if end.cause is not None:
            return at + len(piece), total, longest
    return len(data), total, longest


def spelled(shape: Shape, size: int, nodes: int) -> bytes:
    """Return about ``size`` bytes of a shape, in as many messages as needed if each may have so many values."""
    messages = 1 if nodes >= MOST_NODES else 1 + MOST_NODES * 5 // 4 // nodes
    return shape(size // messages) * messages


def measure(dialect: str, shape: Shape, size: int, limits: pb.Limits) -> Figures:
    """Measure one shape: first its time, then its memory."""
    data = spelled(shape, size, limits.nodes)
    end = _end(dialect, limits)
    gc.collect()
    taken, total, longest = _feed(end, data)
    verdict = end.code or "kept"
    del end
    gc.collect()
    tracemalloc.start()
    end = _end(dialect, limits)
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    _feed(end, data)
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    return Figures(taken, total * 1000 / taken * MIB, longest * 1000, peak / max(taken, 64 * 1024), verdict)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.hostile", description=__doc__.partition("\n")[0])
    parser.add_argument("--dialects", default="pb,pb7", help="default: %(default)s")
    parser.add_argument("--shapes", default="", help="names, with commas between them; all when left out")
    parser.add_argument("--mib", type=float, default=1.0, help="of each shape (default: %(default)s)")
    parser.add_argument(
        "--nodes", type=int, default=MOST_NODES, help="Limits.nodes after login (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    logging.disable()
    size = int(options.mib * MIB)
    wanted = set(filter(None, options.shapes.split(",")))
    print(f"{'':6}{'':28}{'after login':^44}   {'before login':^44}")
    columns = f"{'ms/MiB':>8} {'turn ms':>8} {'bytes/B':>8} {'':<17}"
    print(f"{'':6}{'':28}{columns}   {columns}")
    limits = pb.Limits(nodes=options.nodes)
    over = 0
    for dialect, (name, shape) in itertools.chain.from_iterable(
        ((dialect, item) for item in SHAPES[dialect].items()) for dialect in options.dialects.split(",")
    ):
        if wanted and name not in wanted:
            continue
        cells = []
        for judged in (limits, limits.before_login()):
            found = measure(dialect, shape, size, judged)
            wrong = found.ms > GOAL_MS or found.turn > GOAL_MS or found.memory > GOAL_BYTES
            over += wrong
            mark = "!" if wrong else " "
            cells.append(f"{found.ms:8.1f} {found.turn:8.1f} {found.memory:8.1f} {mark}{found.verdict:<16}")
        print(f"{dialect:6}{name:28}{'   '.join(cells)}", flush=True)
    print(f"\n{over} cells above {GOAL_MS:g} ms, or {GOAL_BYTES:g} bytes of memory a byte")


if __name__ == "__main__":
    main()
