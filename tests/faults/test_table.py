"""docs/faults.md is generated from the table, and the table names tests that exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.table import PAGE, ROWS, Row, page

TESTS = Path(__file__).parents[1]


def test_the_page_is_what_the_table_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "stale: run python -m tests.faults.table"


def test_every_row_is_there_once_and_in_order() -> None:
    assert [row.number for row in ROWS] == [n for n in range(1, 28) if n not in (16, 17, 21)]


@pytest.mark.parametrize("row", [row for row in ROWS if row.tests], ids=lambda row: str(row.number))
def test_what_shows_a_row_exists(row: Row) -> None:
    for test in row.tests:
        path, _, function = test.partition("::")
        text = (TESTS / path).read_text(encoding="utf-8")
        assert f"def {function or 'test_'}" in text, test
