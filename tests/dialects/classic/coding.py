"""Shared by the tests of the classic dialect: values and bytes in one step, without a connection."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from perspective_broker import Limits
from perspective_broker.dialects.classic import NONE, PB
from perspective_broker.dialects.classic.banana import NEED_MORE, Decoder
from perspective_broker.dialects.classic.jelly import Jellier
from perspective_broker.dialects.classic.unjelly import Unjellier, readers_for
from perspective_broker.ports import NullExporter, NullImporter
from perspective_broker.registry import Policy, Registry

LIMITS = Limits()
SPELLINGS = {"pb": PB, "none": NONE}


def read(chunks: bytes | Iterable[bytes], limits: Limits = LIMITS, *, words: bool = True) -> list[Any]:
    """Return every value in the bytes, decoding each chunk before the next one arrives."""
    decoder = Decoder(limits, words)
    values = []
    for chunk in [chunks] if isinstance(chunks, bytes) else chunks:
        decoder.receive_data(chunk)
        while (value := decoder.next()) is not NEED_MORE:
            values.append(value)
    assert decoder.mid_message == 0, "the bytes end in the middle of a value"
    return values


def to_bytes(
    value: Any, *, dialect: str = "pb", exporter: Any = None, perspective: Any = None, limits: Limits = LIMITS
) -> bytes:
    """Return a value's jelly in banana."""
    return Jellier(SPELLINGS[dialect], exporter or NullExporter(), perspective, limits).jelly(value)


def to_lists(value: Any, **options: Any) -> Any:
    """Return a value's jelly as lists."""
    [jelly] = read(to_bytes(value, **options))
    return jelly


def from_lists(
    jelly: Any, *, registry: Registry | None = None, policy: Policy | None = None, importer: Any = None
) -> Any:
    """Return the value that a jelly represents."""
    policy = policy or Policy()
    return Unjellier(
        importer or NullImporter(), None, readers_for(policy), registry or Registry(), policy
    ).unjelly(jelly)


def across(value: Any, *, dialect: str = "pb", **options: Any) -> Any:
    """Return the value that arrives."""
    return from_lists(to_lists(value, dialect=dialect), **options)
