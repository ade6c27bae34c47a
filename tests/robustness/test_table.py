"""The table of bad input, row by row, over both dialects, against a process over sockets, and its own client too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .cases import Case, Direction
from .report import PAGE, page
from .rig import ROOT, Subject, stage, subject_process
from .rows import ROWS, each_case


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    """Start one process for all rows: each leaves it unchanged."""
    with subject_process(tmp_path_factory.mktemp("subject")) as found:
        yield found


@each_case
async def test_what_must_happen_happens(
    subject: Subject, dialect: str, case: Case, direction: Direction
) -> None:
    await stage(subject, case, dialect, direction)


def test_every_row_is_there_and_shown_or_says_why_not() -> None:
    assert [row.number for row in ROWS] == list(range(1, 93))
    for row in ROWS:
        assert row.cases or row.elsewhere or row.note, row.number


def test_what_is_shown_elsewhere_is_there() -> None:
    for row in ROWS:
        for test in row.elsewhere:
            file, _, name = test.partition("::")
            assert f"def {name}(" in (ROOT / file).read_text(), test


def test_the_page_is_made_from_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.robustness.report"
