"""The public names and their signatures are those in public-names.txt; importing the package loads no extra."""

import difflib
import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import perspective_broker as pb

from . import surface

SRC = Path(__file__).resolve().parents[2] / "src"

#: Names of ``pb`` itself. One that few programs need goes into a public module instead. (60 until
#: there were interfaces, whose five names every program with types needs; values and descriptions come next to them.)
MOST_NAMES = 72

#: The modules that are names of ``pb``.
SHOWN_MODULES = ["annotations", "build", "registry", "streams"]

OPTIONAL = ("cryptography", "cyclopts", "rich", "sqlalchemy", "twisted", "typer")


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


def test_the_package_has_few_names() -> None:
    assert len(pb.__all__) <= MOST_NAMES


def test_the_only_modules_among_its_names_are_the_public_ones() -> None:
    assert [name for name in pb.__all__ if inspect.ismodule(getattr(pb, name))] == SHOWN_MODULES
    assert {f"perspective_broker.{name}" for name in SHOWN_MODULES} <= set(surface.MODULES)


@pytest.mark.parametrize(
    "name", ["perspective_broker", *(f"perspective_broker.{it}" for it in SHOWN_MODULES)]
)
def test_completion_shows_the_public_names_and_nothing_else(name: str) -> None:
    module = importlib.import_module(name)
    # What pytest adds to the modules of its plugins' packages begins with @.
    shown = [name for name in dir(module) if not (name.startswith(("__", "@")))]
    assert shown == sorted(module.__all__)


@pytest.mark.parametrize("name", SHOWN_MODULES)
def test_a_public_module_says_what_it_is_for_and_has_no_name_of_the_package(name: str) -> None:
    module = importlib.import_module(f"perspective_broker.{name}")
    assert module.__doc__
    assert not set(module.__all__) & set(pb.__all__)


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
