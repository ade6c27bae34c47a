"""Whether a method takes every call that an interface declares: judged by making these calls."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from perspective_broker.interfaces.fitting import fits

DECLARED = [
    "()",
    "(a)",
    "(a, b)",
    "(a, b=0)",
    "(a=0, b=0)",
    "(a, /)",
    "(a, /, b=0)",
    "(*, a)",
    "(a, *, b=0)",
    "(*args)",
    "(a, *args)",
    "(**kwargs)",
    "(a, **kwargs)",
]
METHODS = [
    *DECLARED,
    "(a, b, c)",
    "(a, b=0, c=0)",
    "(b, a)",
    "(a, c=0)",
    "(*, a=0, b=0)",
    "(a=0, *, b=0)",
    "(*args, **kwargs)",
    "(a, *args, **kwargs)",
    "(c, *args, **kwargs)",
    "(a, /, *, b=0)",
    "(*args, a=0, b=0)",
]


def signature(text: str) -> inspect.Signature:
    made: dict[str, Any] = {}
    exec(f"def method{text}: ...", made)
    return inspect.signature(made["method"])


def calls() -> Iterator[tuple[tuple[int, ...], dict[str, int]]]:
    """Yield calls with up to four arguments by position, and every choice of names."""
    for count in range(5):
        for names in itertools.product((False, True), repeat=4):
            yield tuple(range(count)), {name: 0 for name, given in zip("abcx", names, strict=True) if given}


def takes(of: inspect.Signature, args: tuple[int, ...], kwargs: dict[str, int]) -> bool:
    try:
        of.bind(*args, **kwargs)
    except TypeError:
        return False
    return True


@pytest.mark.parametrize("declared", DECLARED)
@pytest.mark.parametrize("method", METHODS)
def test_a_method_fits_if_it_takes_every_call_that_is_declared(method: str, declared: str) -> None:
    mine, wanted = signature(method), signature(declared)
    every = all(takes(mine, *call) for call in calls() if takes(wanted, *call))
    assert fits(mine, wanted) == every
