"""The table as a page: the input, its required and its actual effect. ``python -m tests.robustness.report`` writes it.

The actual effect is the verdict of each case; :mod:`.test_table` fails if the library's behaviour differs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .cases import Case, Row
from .rows import ROWS

__all__ = ["PAGE", "page"]

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "robustness.md"

_HEAD: Final = """\
# Bad input and its effects

This page is generated from the table that the tests run (`tests/robustness/`); do not edit it. A test sends every row
to a server in a process of its own, over a socket, and from a server to a client of this library; `pb` is the classic
dialect, `none` the same without its vocabulary, `pb7` the modern one.

Severities, in the demands of the design: **F** the connection ends with a code, **C** the call fails with a typed
error and the connection lives, **L** the local caller gets an exception and nothing is sent, **I** ignored. With every
row the test checks that

1. each pending call of the connection ends exactly once, with a typed error, and not too early;
2. tables, buffers and tasks of the process have the same sizes as before;
3. another connection is served meanwhile, and no turn of the event loop takes long;
4. the log gets one short line for an event, and few lines for many events (16 at once for one peer, then one a second);
5. no reply is larger than 1 KB or repeats more than 64 characters of the peer's messages.

| # | input | required | actual |
|---|---|---|---|
"""


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _said(cases: tuple[Case, ...]) -> Iterator[str]:
    """Yield each verdict once, with the cases that it is of unless it is of all."""
    verdicts: dict[str, list[str]] = {}
    for case in cases:
        verdicts.setdefault(case.then.said, []).append(case.name)
    for verdict, names in verdicts.items():
        yield verdict if len(verdicts) == 1 else f"{verdict} ({', '.join(dict.fromkeys(names))})"


def _happens(row: Row) -> str:
    told = {dialect: "; ".join(_said(cases)) for dialect, cases in row.cases.items()}
    if len(told) > 1 and len(set(told.values())) == 1:
        parts = [next(iter(told.values()))]
    else:
        parts = [f"**{dialect}**: {text}" for dialect, text in told.items()]
    parts += [f"shown by `{test}`" for test in row.elsewhere]
    if row.note:
        parts.append(f"*{row.note}*")
    return "<br>".join(map(_escaped, parts))


def page() -> str:
    """Return the page."""
    rows = (
        f"| {row.number} | {_escaped(row.title)} | {_escaped(row.expected)} | {_happens(row)} |\n"
        for row in ROWS
    )
    return _HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
