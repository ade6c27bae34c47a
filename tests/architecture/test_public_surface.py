"""The public names and their signatures are those in public-names.txt; importing the package loads no extra."""

import difflib
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from . import surface

SRC = Path(__file__).resolve().parents[2] / "src"

OPTIONAL = ("cryptography", "cyclopts", "rich", "scramp", "sqlalchemy", "twisted", "typer")


def _constants_classes_rest(name: str) -> tuple[int, str]:
    """The order of ruff's RUF022: CONSTANTS, then Classes, then the rest."""
    if name.isupper():
        return 0, name
    return (1 if name[0].isupper() else 2), name


@pytest.mark.parametrize("name", surface.MODULES)
def test_all_is_sorted_and_says_nothing_twice(name: str) -> None:
    names = list(importlib.import_module(name).__all__)
    assert names == sorted(set(names), key=_constants_classes_rest)


@pytest.mark.parametrize("name", surface.MODULES)
def test_every_public_name_resolves(name: str) -> None:
    module = importlib.import_module(name)
    assert [public for public in module.__all__ if not hasattr(module, public)] == []


def test_every_public_name_is_as_it_was_written_down() -> None:
    expected = surface.FILE.read_text(encoding="utf-8")
    difference = difflib.unified_diff(
        expected.splitlines(),
        surface.describe().splitlines(),
        surface.FILE.name,
        "the package",
        n=1,
        lineterm="",
    )
    text = "\n".join(difference)
    assert not text, f"public names have changed; if that is meant, run {surface.UPDATE}\n{text}"


def test_importing_the_package_loads_no_extra() -> None:
    program = (
        "import sys, perspective_broker\n"
        f"print(*sorted({set(OPTIONAL)!r} & {{name.partition('.')[0] for name in sys.modules}}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(SRC)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []
