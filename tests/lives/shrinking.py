"""Make a life smaller that breaks a law, as long as it breaks that law."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

from tests.lives.life import Life

__all__ = ["differences", "shrink"]


def shrink(life: Life, law: str) -> Life:
    """Return a life of the same seed with fewer calls, fewer limits and fewer ends that breaks ``law`` as well."""
    while True:
        for smaller in _smaller(life):
            if any(finding.law == law for finding in smaller.run().findings):
                life = smaller
                break
        else:
            return life


def _smaller(life: Life) -> Iterator[Life]:
    """Give lives that are smaller in one thing, those that are much smaller first."""
    plain = Life(life.seed)
    changes: list[dict[str, Any]] = [
        {"three": False, "forwards": False},
        {"forwards": False},
        {"ending": plain.ending},
    ]
    changes += [{"calls": calls} for calls in (*_fractions(life.calls), life.calls - 1) if calls > 0]
    for place in (0, 1):
        steps = life.steps[place]
        changes += [
            {"steps": _put(life.steps, place, fewer)}
            for fewer in (*_fractions(steps), steps - 1)
            if fewer >= 0
        ]
        for name in ("slots", "window", "buffer"):
            changes.append({name: _put(getattr(life, name), place, getattr(plain, name)[place])})
    for change in changes:
        smaller = replace(life, **change)
        if smaller != life:
            yield smaller


def _fractions(number: int) -> tuple[int, ...]:
    return number // 4, number // 2, number * 3 // 4


def _put(pair: tuple[int, int], place: int, number: int) -> tuple[int, int]:
    return (number, pair[1]) if place == 0 else (pair[0], number)


def differences(life: Life) -> list[str]:
    """Return in what a life is another than the one of its seed, as ``--but`` takes it."""
    drawn = Life.draw(life.seed)
    return [
        f"{field.name}={getattr(life, field.name)}"
        for field in fields(life)
        if getattr(life, field.name) != getattr(drawn, field.name)
    ]
