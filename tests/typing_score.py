"""Print how much of the public interface has a known type, and fail when it falls below the floor in pyproject.toml.

``python -m tests.typing_score`` runs pyright's ``--verifytypes``, by the basedpyright that pyproject.toml pins and that
brings its own Node.js. ``--all`` lists what has no type.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    floor = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["typing-score"][
        "floor"
    ]
    verify = ["-m", "basedpyright", "--verifytypes", "perspective_broker", "--ignoreexternal", "--outputjson"]
    done = subprocess.run(
        [sys.executable, *verify],
        cwd=ROOT,
        # Type checkers see no modules through the hooks of an editable install.
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        report = json.loads(done.stdout)
    except ValueError:
        sys.exit(done.stdout + done.stderr)
    if "--all" in sys.argv:
        for diagnostic in report["generalDiagnostics"]:
            print(diagnostic["message"])
    score = 100 * report["typeCompleteness"]["completenessScore"]
    print(f"{score:.1f}% of the public interface has a known type; the floor is {floor}%")
    sys.exit(score < floor)


if __name__ == "__main__":
    main()
