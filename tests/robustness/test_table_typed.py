"""The table of bad input once more, against a process whose object has an interface."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .cases import Case, Direction
from .rig import Subject, stage, subject_process
from .rows import each_case


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    """Start one process for all rows: each leaves it unchanged."""
    with subject_process(tmp_path_factory.mktemp("subject"), "typed") as found:
        yield found


@each_case
async def test_what_must_happen_happens(
    subject: Subject, dialect: str, case: Case, direction: Direction
) -> None:
    await stage(subject, case, dialect, direction)
