"""The part of each module that its own test file covers: ``python -m tests.own_coverage``, or ``make coverage``.

Tests mirror the source: ``session/tables.py`` has ``tests/session/test_tables.py``. Each module is measured with the
tests of that file alone, because a line that other tests happen to run is hardly tested. A module without such a file
is listed as such. The figures are no criterion: they show where to look.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "perspective_broker"
#: Ranges of lines that one row of the table shows.
SHOWN = 8
SECONDS = 600


class Row(NamedTuple):
    """The results of one module; the figures are None if it could not be measured."""

    module: str
    statements: int | None
    percent: float | None
    missing: str


def modules(wanted: Iterable[str]) -> list[Path]:
    """Return the modules whose path begins with one of ``wanted``, by default all."""
    found = sorted(path for path in PACKAGE.rglob("*.py") if not path.name.startswith("__"))
    names = tuple(wanted)
    return [path for path in found if not names or path.relative_to(PACKAGE).as_posix().startswith(names)]


def own_tests(module: Path) -> Path:
    """Return where the tests of a module are, if it has its own."""
    inside = module.relative_to(PACKAGE)
    return ROOT / "tests" / inside.parent / f"test_{inside.stem.lstrip('_')}.py"


def measure(module: Path) -> Row:
    """Run the tests of one module under coverage, in a process of their own."""
    name = module.relative_to(PACKAGE).as_posix()
    tests = own_tests(module)
    if not tests.is_file():
        return Row(name, None, None, f"no {tests.relative_to(ROOT)}")
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "COVERAGE_FILE": str(Path(folder) / "data")}
        command = [sys.executable, "-m", "coverage"]
        pytest = ["-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)]
        ran = subprocess.run(
            [*command, "run", "--branch", f"--include={module}", *pytest],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        report = Path(folder) / "report.json"
        written = subprocess.run(
            [*command, "json", "--quiet", "-o", str(report)],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        if ran.returncode:
            return Row(name, None, None, "its tests fail: " + (ran.stdout.strip().splitlines() or ["?"])[-1])
        if written.returncode:
            return Row(name, 0, 0.0, "its own tests do not import it")
        [file] = json.loads(report.read_text(encoding="utf-8"))["files"].values()
    return Row(
        name,
        file["summary"]["num_statements"],
        file["summary"]["percent_covered"],
        ranges(file["missing_lines"]),
    )


def ranges(lines: list[int]) -> str:
    """Return numbers of lines as text: ``3-5, 9``; the first :data:`SHOWN` ranges."""
    found: list[list[int]] = []
    for line in lines:
        if found and line == found[-1][1] + 1:
            found[-1][1] = line
        else:
            found.append([line, line])
    texts = [str(first) if first == last else f"{first}-{last}" for first, last in found]
    more = len(texts) - SHOWN
    return ", ".join(texts[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def show(row: Row) -> str:
    figures = "     -       -" if row.percent is None else f"{row.statements:6} {row.percent:6.1f}%"
    return f"{row.module:40} {figures}  {row.missing}".rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument(
        "modules", nargs="*", help="the beginning of a path, such as session/ or cred/scram.py; all when none"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at once")
    options = parser.parse_args()
    found = modules(options.modules)
    if not found:
        parser.error("no module's path begins so")
    print(f"{'module':40} {'lines':>6} {'covered':>7}  not covered by its own tests", flush=True)
    rows = []
    with ThreadPoolExecutor(options.jobs) as pool:
        for row in pool.map(measure, found):
            rows.append(row)
            print(show(row), flush=True)
    measured = [row for row in rows if row.percent is not None]
    alone = sum(row.missing.startswith("no tests/") for row in rows)
    failed = len(rows) - len(measured) - alone
    print(
        f"{len(measured)} modules measured, {alone} without a test file of their own, {failed} whose tests fail"
    )
    if measured:
        lines = sum(row.statements or 0 for row in measured)
        covered = sum((row.statements or 0) * (row.percent or 0) for row in measured) / max(1, lines)
        print(f"{covered:.1f}% of the lines and branches of these {len(measured)}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
