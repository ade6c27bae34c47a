"""docs/do/deploy-and-operate.md names every limit with its default, and quotes lines that the log can have."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from pathlib import Path

import pytest

from perspective_broker import Limits

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "do" / "deploy-and-operate.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table whose first heading is ``heading``."""
    _, _, table = PAGE.partition(f"| {heading} |")
    lines = table.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip().strip("`") for cell in line.strip("|").split(" | ")] for line in lines]


def test_every_limit_is_there_with_its_default() -> None:
    assert [(row[0], row[1]) for row in rows("field")] == [
        (field.name, str(field.default)) for field in fields(Limits)
    ]


def said() -> list[str]:
    """Return every text in the package that is a literal."""
    found = []
    for path in (ROOT / "src" / "perspective_broker").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


SAID = said()


@pytest.mark.parametrize("line", [row[0] for row in rows("line")])
def test_a_line_that_is_quoted_can_be_in_the_log(line: str) -> None:
    quoted = re.compile(re.escape(line).replace("…", r"%[^ :]*"))
    assert any(quoted.fullmatch(text) for text in SAID)


@pytest.mark.parametrize("code", [row[0] for row in rows("code")])
def test_a_code_that_is_quoted_exists(code: str) -> None:
    assert code in SAID
