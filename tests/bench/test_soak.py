"""The soak in small: what it asserts at the end holds after seconds as after hours. And its arithmetic."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest

from bench.soak.run import soak
from bench.soak.samples import slope_per_hour

#: That loops were late, which may be the machine's fault.
LATE = re.compile(r"left at the end, log: \[('the event loop stood still[^']*'(, )?)+\]")


@pytest.mark.seconds(600)
async def test_a_short_soak_leaves_nothing() -> None:
    with tempfile.TemporaryDirectory(prefix="pb-soak-") as directory:
        result = await soak(5, Path(directory), between_samples=1.0, between_kills=2.0)
    assert [problem for problem in result.problems if not LATE.fullmatch(problem)] == []
    assert result.killed >= 1
    assert result.done["visits"] > 0
    assert max(sample["connections"] for sample in result.samples) > 0


async def test_a_soak_says_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """With patience for nothing, every visit fails, and is reported."""
    monkeypatch.setenv("PB_SOAK_PATIENCE", "0")
    with tempfile.TemporaryDirectory(prefix="pb-soak-") as directory:
        result = await soak(1, Path(directory), between_samples=0.5)
    problems = [problem for problem in result.problems if not LATE.fullmatch(problem)]
    assert problems
    assert all("TimeoutError" in problem for problem in problems)


def test_the_slope_is_that_of_the_second_half() -> None:
    samples = [{"at": at, "rss": 1000 * at if at < 50 else 50_000 + 2 * at} for at in range(100)]
    assert slope_per_hour(samples, "rss") == pytest.approx(7200)
    with pytest.raises(ValueError, match="four"):
        slope_per_hour(samples[:3], "rss")
