"""The short form of ``python -m bench.kills``: a server that is killed under a client that goes on calling."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from bench.kills import kill_again_and_again


async def test_every_call_ends_and_none_runs_twice(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    course = await kill_again_and_again(3, 50, tmp_path / "calls")
    assert course.wrong() == []
    assert course.made == len(course.ends)
    assert course.made > 20
    assert "silent: 0, wrong: 0" in course.summary()
