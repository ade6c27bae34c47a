"""Print the path of the newest Python that is installed here: ``python3 tests/newest.py``.

It looks on the PATH and among the versions that pyenv keeps, and prints nothing when this Python is of the newest minor
version already. It needs nothing but Python.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["candidates", "main", "version_of"]

_NAME = re.compile(r"python3(\.\d+)?(\.exe)?")

#: Only releases; and without ensurepip it cannot make an environment.
_ASK = "import ensurepip, sys; print(*sys.version_info[:2], sys.version_info.releaselevel)"


def candidates() -> Iterator[Path]:
    """Yield possible Python interpreters; some are scripts that only explain how to install one."""
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        if Path(folder).is_dir():
            yield from sorted(path for path in Path(folder).iterdir() if _NAME.fullmatch(path.name))
    if pyenv := shutil.which("pyenv"):
        root = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=False).stdout.strip()
        yield from sorted(Path(root, "versions").glob("*/bin/python3"))


def version_of(python: Path) -> tuple[int, int]:
    """Return the version of an interpreter, or (0, 0) if it does not run, or is not a release."""
    try:
        answer = subprocess.run(
            [python, "-I", "-c", _ASK], capture_output=True, text=True, timeout=60, check=False
        ).stdout.split()
    except (OSError, subprocess.TimeoutExpired):
        return 0, 0
    if len(answer) != 3 or answer[2] != "final":
        return 0, 0
    return int(answer[0]), int(answer[1])


def main() -> None:
    """Print the newest, if it is newer than this one."""
    found = {path: version_of(path) for path in candidates()}
    newest = max(found, key=found.__getitem__, default=None)
    if newest is not None and found[newest] > sys.version_info[:2]:
        print(newest)


if __name__ == "__main__":
    main()
