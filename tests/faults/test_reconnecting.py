"""The short form of :mod:`.reconnecting`."""

from __future__ import annotations

from pathlib import Path

from .reconnecting import kill_over_and_over


async def test_under_a_killed_server_nothing_runs_twice_and_nothing_is_silent(tmp_path: Path) -> None:
    outcome = await kill_over_and_over(3, tmp_path)
    assert outcome.reconnects >= 3
    assert [outcome.twice, outcome.silent, outcome.ran_although_not, outcome.missing] == [[]] * 4
    assert outcome.ends["answered", True] >= 15
    assert {name for name, _ in outcome.ends} <= {"answered", "ConnectionLost"}
    assert sum(outcome.ends.values()) == outcome.calls
