"""Random lives of real drivers, some of each kind; ``python -m tests.lives`` lives more of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from tests.lives.course import ENDINGS
from tests.lives.life import DIALECTS, Life

SEEDS: Final = (0,)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_laws_hold(seed: int) -> None:
    life = Life.draw(seed)
    report = life.run()
    assert not report.findings, f"python -m tests.lives --replay {seed}"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_same_seed_is_the_same_life(dialect: str) -> None:
    life = replace(Life.draw(4711), dialect=dialect)
    first, again = life.run(), life.run()
    assert first.calls > 10
    assert first.events == again.events
    assert replace(life, seed=4712).run().events != first.events


def test_lives_are_of_every_kind() -> None:
    lives = [Life.draw(seed) for seed in SEEDS]
    assert {(life.dialect, life.ending) for life in lives} == {
        (dialect, ending) for dialect in DIALECTS for ending in ENDINGS
    }
