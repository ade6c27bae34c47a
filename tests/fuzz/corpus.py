"""The corpus: small inputs for every target, as files, each named by where it comes from.

- ``seed-…``: facts of the wire, made from tests/vectors (messages of real Twisted peers) and docs/wire/pb7-frames.json
  by ``python -m tests.fuzz.corpus``;
- ``grown-…``: inputs that a fuzzer kept because they reached something new, taken by ``python -m tests.fuzz --grow``;
- ``found-…``: inputs that once broke an invariant.

Large inputs are not files; :func:`large_seeds` makes them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, TypeVar

from perspective_broker.dialects.classic.banana import encode
from perspective_broker.dialects.classic.vocabulary import PB
from tests.fuzz.broker import greeting
from tests.fuzz.shapes import CLASSIC, CLASSIC_VALUES, MODERN

__all__ = ["CORPUS", "inputs", "large_seeds", "seeds", "write_large_seeds", "write_seeds"]

_T = TypeVar("_T")

CORPUS: Final = Path(__file__).with_name("corpus")
_TESTS: Final = Path(__file__).parents[1]
_VECTORS: Final = _TESTS / "vectors"
_FRAMES: Final = _TESTS.parent / "docs" / "wire" / "pb7-frames.json"

_PB7_GREETING = bytes.fromhex("0382706237")


def inputs(target: str) -> list[Path]:
    """Return the files of a target's corpus, in a fixed order."""
    return sorted(path for path in (CORPUS / target).iterdir() if path.is_file())


def seeds() -> Iterator[tuple[str, str, bytes]]:
    """Yield target, name and bytes of every seed."""
    for row in json.loads((_VECTORS / "values.json").read_text())["values"]:
        name = _slug(row["name"])
        plain, words = (bytes.fromhex(row["banana"][dialect]) for dialect in ("none", "pb"))
        yield "banana", name, b"\x00\x01" + plain
        if words != plain:
            yield "banana", f"{name}-pb", b"\x02\x01" + words
        yield "jelly", name, b"\x00" + words
        yield "twisted_banana", name, b"\x01" + words
        yield "twisted_jelly", name, b"\x00" + words
    for session, parts in json.loads((_VECTORS / "sessions.json").read_text())["sessions"].items():
        for side, options in (("client", 0), ("server", 1)):
            said = b"".join(bytes.fromhex(data) for sender, data in parts["chunks"] if sender == side)
            yield "broker", f"{_slug(session)}-{side}", bytes([options, 1]) + said
            yield "connection", f"{_slug(session)}-{side}", bytes([options, 1]) + said
            yield "banana", f"{_slug(session)}-{side}", b"\x02\x01" + said
    for session, rows in json.loads((_VECTORS / "sessions-2002.json").read_text())["sessions"].items():
        sides = {"client": b"", "server": b""}
        for row in rows:
            if "hex" in row:
                sides[row["from"]] += bytes.fromhex(row["hex"])
        for side, options in (("client", 2), ("server", 3)):
            yield "connection", f"2002-{_slug(session)}-{side}", bytes([options, 1]) + sides[side]
    facts = json.loads(_FRAMES.read_text())
    for number, value in enumerate(facts["values"]):
        body = b"\x93\x02\x01" + bytes.fromhex(value["bytes"])
        yield "pb7", f"value-{number:02}", b"\x00\x01" + len(body).to_bytes(4, "big") + body
    frames = [row for kind in ("messages", "pipelined") for row in facts[kind]]
    for row in frames:
        yield "pb7", f"frame-{_slug(row['name'])}", b"\x00\x01" + bytes.fromhex(row["frame"])
    session = _PB7_GREETING + b"".join(bytes.fromhex(row["frame"]) for row in frames)
    yield "broker", "pb7-frames", b"\x00\x01" + session
    yield "connection", "pb7-frames", b"\x00\x05" + session
    signature = b"\r\n\r\n\0\r\nQUIT\n"
    tcp4 = bytes([192, 0, 2, 7, 192, 0, 2, 1]) + b"\x12\x34\x22\x53"
    tcp6 = bytes.fromhex("20010db8" + 11 * "00" + "07" + "20010db8" + 11 * "00" + "01") + b"\x12\x34\x22\x53"
    for name, kind, addresses in (
        ("tcp4", b"\x21\x11", tcp4),
        ("tcp6", b"\x21\x21", tcp6),
        ("more", b"\x21\x11", tcp4 + b"\x04\0\x03abc"),
        ("local", b"\x20\0", b""),
        ("unix", b"\x21\x31", bytes(216)),
        ("short", b"\x21\x11", tcp4[:8]),
    ):
        yield "proxies", name, signature + kind + len(addresses).to_bytes(2, "big") + addresses
    for name, lines in (
        ("get", "GET / HTTP/1.1\r\nHost: 127.0.0.1:8788\r\n"),
        ("head", "HEAD /healthz?live HTTP/1.1\r\nHost: localhost:8788\r\nCookie: pb-monitor-8788=x; a\r\n"),
        ("bearer", "GET /metrics HTTP/1.0\r\nAuthorization: Bearer x\r\n"),
        (
            "body",
            "POST / HTTP/1.1\r\nHost: [::1]:8788\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n",
        ),
        ("token", "GET /connections/1?token=x&token=y HTTP/1.1\r\nHost: 10.0.0.1\r\nContent-Length: 3\r\n"),
    ):
        yield "monitor", name, f"{lines}\r\n".encode()
    yield from (("scram", name, data) for name, data in _logins())


def _logins() -> Iterator[tuple[str, bytes]]:
    """Yield the messages of the example in RFC 7677, and some that are almost like them."""
    first = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    yield "first", b"\x00\x00" + first
    yield "bound", b"\x00\x05p=tls-server-end-point" + first[1:]
    yield "talked-down", b"\x00\x01y" + first[1:]
    yield "escaped", b"\x00\x00" + first.replace(b"user", "=3D=2Cﬁ\u00ad".encode())
    yield "extension", b"\x00\x00" + first + b",x=y"
    yield "mandatory", b"\x00\x00" + first.replace(b"n=", b"m=x,n=")
    for kind, name in enumerate(("final", "challenge", "proof"), 1):
        yield f"{name}-untouched", bytes([kind, 0, 0, 0])
        yield f"{name}-changed", bytes([kind, 0, 10, 2]) + b"x="
        yield f"{name}-extended", bytes([kind, 0, 200, 0]) + b",x=y"


#: Parts of a shape, by the beginning of its name: where the number itself matters,
_COUNTS: Final = {"array": (65_535, 65_536, 70_000), "answer": (65_535, 65_536, 70_000), "message": (70_000,)}
#: and of the others.
_COUNT: Final = 2_000


def _sizes(shapes: Mapping[str, Callable[[int], _T]]) -> Iterator[tuple[str, _T]]:
    """Yield a name and the input, for every shape."""
    for name, make in shapes.items():
        for count in _COUNTS.get(name.split()[0], (_COUNT,)):
            yield f"{_slug(name)}-{count}", make(count)


def large_seeds(target: str) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of every large input of a target, one at a time."""
    if target == "pb7":
        for name, said in _sizes(MODERN):
            yield name, b"\x00\x01" + said
    elif target in ("broker", "connection"):
        how = b"\x00\x01" if target == "broker" else b"\x00\x05"
        for dialect, shapes in (("pb7", MODERN), ("pb", CLASSIC)):
            said_first = how + greeting(True, dialect)
            for name, said in _sizes(shapes):
                yield f"{dialect}-{name}", said_first + said
    elif target in ("banana", "twisted_banana"):
        for name, said in _sizes(CLASSIC):
            yield name, (b"\x02\x01" if target == "banana" else b"\x01") + said
    elif target in ("jelly", "twisted_jelly"):
        for name, jelly in _sizes(CLASSIC_VALUES):
            if (
                target == "twisted_jelly" and "share" in name
            ):  # which takes Twisted, and a description, minutes
                continue
            yield name, b"\x00" + encode(jelly, PB)
    elif target == "scram":
        for name, char in (("expanding", "\ufdfa"), ("long", "é")):
            yield name, b"\x00\x00" + f"n,,n={char * 300},r=x".encode()
    else:
        yield "long", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff" + bytes(70_000)


def write_large_seeds(target: str, folder: Path) -> None:
    """Write the large inputs of a target where a fuzzer finds them, instead of those that were there."""
    for old in folder.glob("large-*"):
        old.unlink()
    for name, data in large_seeds(target):
        (folder / f"large-{name}").write_bytes(data)


def write_seeds() -> int:
    """Write the seeds to their files, and return how many there are."""
    number = 0
    for target, name, data in seeds():
        (CORPUS / target).mkdir(parents=True, exist_ok=True)
        (CORPUS / target / f"seed-{name}").write_bytes(data)
        number += 1
    return number


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:50]


if __name__ == "__main__":
    print(f"{write_seeds()} seeds written to {CORPUS}")
