"""Hypothesis strategies for values that cross. The only module here that imports hypothesis.

>>> from hypothesis import given
>>> from perspective_broker.testing.strategies import classic_values, same_value
>>> @given(classic_values())
... def test_echo(value): ...
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Decimal
from ipaddress import ip_interface, ip_network
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from ..dialects.arrays import array_of
from ..flavors.values import Value

__all__ = ["arrays", "chunks", "classic_keys", "classic_values", "modern_atoms", "same_value", "texts"]

#: Bits of a classic integer: 64 base-128 digits.
_CLASSIC_BITS = 448


def texts(max_size: int = 20) -> SearchStrategy[str]:
    """Text that can cross: anything but lone surrogates."""
    return st.text(st.characters(exclude_categories=["Cs"]), max_size=max_size)


def _atoms(integer_bits: int) -> SearchStrategy[Any]:
    edge = (1 << integer_bits) - 1
    decimals = st.builds(
        # A zero has no sign, because a classic decimal is made of an integer.
        lambda sign, digits, exponent: Decimal((sign if any(digits) else 0, digits, exponent)),
        st.integers(0, 1),
        st.lists(st.integers(0, 9), min_size=1, max_size=30).map(tuple),
        st.integers(-100, 100),
    )
    return st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-edge, edge),
        st.sampled_from([0, -1, 127, 128, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**63, edge, -edge]),
        st.floats(allow_nan=False),
        texts(),
        st.binary(max_size=20),
        # Words of the vocabulary have an encoding of their own.
        st.sampled_from(["list", "None", "remote", b"dictionary", b"dereference", b""]),
        decimals,
        # The classic dialects cannot express the second of two equal hours.
        st.datetimes().map(lambda when: when.replace(fold=0)),
        st.dates(),
        st.times().map(lambda when: when.replace(fold=0)),
        st.timedeltas(),
    )


def classic_keys() -> SearchStrategy[Any]:
    """Values that the classic dialects allow as keys of a dictionary and items of a set."""
    atoms = _atoms(64)
    return st.one_of(atoms, st.tuples(atoms, atoms), st.frozensets(atoms, max_size=3))


def classic_values(max_leaves: int = 20) -> SearchStrategy[Any]:
    """Values that the classic dialect carries, nested, without references and without sharing.

    The value that arrives equals the one that was sent, with the same types throughout; see :func:`same_value`.

    Args:
        max_leaves: atoms in one value.
    """
    keys = classic_keys()
    return st.recursive(
        _atoms(_CLASSIC_BITS),
        lambda inner: st.one_of(
            st.lists(inner, max_size=5),
            st.lists(inner, max_size=5).map(tuple),
            st.dictionaries(keys, inner, max_size=5),
            st.sets(keys, max_size=5),
            st.frozensets(keys, max_size=5),
        ),
        max_leaves=max_leaves,
    )


def modern_atoms() -> SearchStrategy[Any]:
    """Values that cross on pb7 alone: fractions, ranges, addresses, and pure paths."""
    number = st.integers(-(2**62), 2**62)
    address = st.ip_addresses()
    names = texts(8).filter(lambda text: "\0" not in text)
    return st.one_of(
        st.fractions(),
        st.builds(range, number, number, number.filter(bool)),
        address,
        st.builds(lambda ip, bits: ip_interface((ip, bits)), address, st.integers(0, 32)),
        st.builds(lambda ip, bits: ip_network((ip, bits), strict=False), address, st.integers(0, 32)),
        st.lists(names, max_size=3).map(lambda parts: PurePosixPath(*parts)),
        st.lists(names, max_size=3).map(lambda parts: PureWindowsPath(*parts)),
    )


def arrays() -> SearchStrategy[Any]:
    """Arrays of every kind that crosses, as numpy makes them; :class:`perspective_broker.Array` without numpy."""
    sizes = {
        "|b1": 1,
        "|u1": 1,
        "<i2": 2,
        ">i4": 4,
        "<f8": 8,
        "<c16": 16,
        "<M8[ns]": 8,
        "<m8": 8,
        "|S3": 3,
        "<U2": 8,
    }

    def made(dtype: str, shape: list[int], seed: bytes) -> Value:
        size = math.prod(shape) * sizes[dtype]
        data = (seed * (size // len(seed) + 1))[:size]
        if dtype == "|b1" or dtype == "<U2":
            data = bytes(byte & 1 if at % 4 == 0 or dtype == "|b1" else 0 for at, byte in enumerate(data))
        return array_of(dtype, tuple(shape), memoryview(data))

    shapes = st.lists(st.integers(0, 4), max_size=3)
    return st.builds(made, st.sampled_from(list(sizes)), shapes, st.binary(min_size=1, max_size=9))


def chunks(data: bytes) -> SearchStrategy[list[bytes]]:
    """``data`` cut at any positions; ``b"".join`` of the chunks is ``data``."""
    cuts = st.lists(st.integers(0, len(data)), max_size=20).map(sorted)
    return cuts.map(
        lambda places: [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]
    )


def same_value(one: Value, other: Value) -> bool:
    """Return whether two values are equal and of the same types all the way down.

    ``1``, ``1.0`` and ``True`` differ, so do ``0.0`` and ``-0.0``; not-a-number is the same as itself.
    """
    if type(one) is not type(other):
        return False
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same_value, one, other))
    if isinstance(one, dict):
        return same_value(_sorted(one.items()), _sorted(other.items()))
    if isinstance(one, (set, frozenset)):
        return same_value(_sorted(one), _sorted(other))
    if isinstance(one, float):
        return one.hex() == float(other).hex()
    if isinstance(one, Decimal):
        return one.as_tuple() == Decimal(other).as_tuple()
    return bool(one == other)


def _sorted(items: Iterable[Value]) -> list[Value]:
    """Return unordered items in an order that depends on their values alone."""
    return sorted(items, key=_order)


def _order(value: object) -> str:
    if isinstance(value, (set, frozenset)):
        return f"{type(value).__name__}{sorted(map(_order, value))}"
    if isinstance(value, dict):
        return f"dict{sorted(map(_order, value.items()))}"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__}{list(map(_order, value))}"
    return f"{type(value).__name__}{value!r}"
