"""Type checkers find every planted mistake in planted.py, and nothing else; see its docstring."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PLANTED = HERE / "planted.py"
LINES = PLANTED.read_text().splitlines()


class Findings(NamedTuple):
    """What a checker says about planted.py: line -> texts of errors, line -> revealed type."""

    errors: dict[int, list[str]]
    types: dict[int, str]


def mypy(tmp_path: Path) -> Findings:
    """Judge by mypy --strict, without the settings of this project."""
    pytest.importorskip("mypy")
    options = ["--strict", "--config-file=", "--python-version=3.11", "--follow-imports=silent"]
    said = _run("mypy", *options, f"--cache-dir={tmp_path}", str(PLANTED))
    found = Findings({}, {})
    for number, kind, text in re.findall(r"planted\.py:(\d+): (\w+): (.*)", said):
        if kind == "error":
            found.errors.setdefault(int(number), []).append(text)
        elif "Revealed type is" in text:
            found.types[int(number)] = text.split('"')[1]
    return found


def pyright(tmp_path: Path) -> Findings:
    """Judge by basedpyright in the strict mode of pyright."""
    pytest.importorskip("basedpyright")
    said = _run("basedpyright", f"--project={HERE}", f"--pythonpath={sys.executable}", "--outputjson")
    found = Findings({}, {})
    for diagnostic in json.loads(said)["generalDiagnostics"]:
        number, text = diagnostic["range"]["start"]["line"] + 1, diagnostic["message"]
        if diagnostic["severity"] != "information":
            found.errors.setdefault(number, []).append(text)
        elif text.startswith("Type of "):
            found.types[number] = text.rpartition(' is "')[2][:-1]
    return found


def _run(module: str, *arguments: str) -> str:
    environment = {**os.environ, "MYPYPATH": str(ROOT / "src"), "PYTHONPATH": str(ROOT / "src")}
    done: Any = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=HERE,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return str(done.stdout)


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_a_checker_finds_what_was_planted(checker: Callable[[Path], Findings], tmp_path: Path) -> None:
    found = checker(tmp_path)
    wrong = {number for number, line in enumerate(LINES, 1) if line.endswith("# wrong")}
    assert len(wrong) >= 60
    assert {number: LINES[number - 1] for number in wrong - found.errors.keys()} == {}
    assert {number: texts for number, texts in found.errors.items() if number not in wrong} == {}


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_a_checker_knows_the_types(checker: Callable[[Path], Findings], tmp_path: Path) -> None:
    found = checker(tmp_path)
    stated = {
        number: line.partition("  # is ")[2]
        for number, line in enumerate(LINES, 1)
        if line.lstrip().startswith("reveal_type(")
    }
    assert len(stated) >= 40
    # mypy writes the modules of classes.
    assert {number: re.sub(r"\b(\w+\.)+", "", name) for number, name in found.types.items()} == stated
