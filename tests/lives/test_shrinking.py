"""A life is made smaller as long as it breaks the same law."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.lives.history import Finding
from tests.lives.life import Life, Report
from tests.lives.shrinking import differences, shrink

BIG = Life(1, "pb", "cut", slots=(1, 2), window=(1, 200), buffer=(200, 200), steps=(40, 20), three=True)


def test_what_the_law_does_not_need_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(life: Life) -> Report:
        breaks = life.calls >= 7 and life.steps[1] >= 3 and life.slots[0] == 1
        return Report((Finding("order" if breaks else "wedge", ""),), (), 0)

    monkeypatch.setattr(Life, "run", run)
    assert shrink(BIG, "order") == Life(1, "pb", "quiet", slots=(1, 1024), steps=(0, 3), calls=7)


def test_differences_are_what_makes_the_life_of_the_seed_another() -> None:
    life = Life.draw(7)
    assert differences(life) == []
    assert differences(replace(life, ending="?", steps=(1, 2))) == ["ending=?", "steps=(1, 2)"]
