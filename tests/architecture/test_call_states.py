"""The page on the life of a call shows the table of its states."""

from __future__ import annotations

from .call_states import PAGE, listing, page_with


def test_the_page_shows_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == page_with(listing()), (
        "run: python -m tests.architecture.call_states --write"
    )
