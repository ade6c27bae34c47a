"""Node with the genuine npm packages ``capnweb`` and ``ws``, at the versions and digests of ``web/package-lock.json``.

``.venv-capnweb/`` in the checkout is made by ``npm ci`` when a test first asks for it, or by ``make test``, and kept.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import shutil
import subprocess
from pathlib import Path

_HERE = Path(__file__).resolve().parent / "web"
_HOME = _HERE.parents[2] / ".venv-capnweb"


@functools.cache
def node_home() -> Path | str:
    """Return where the programs of ``web/`` run, or why they cannot."""
    npm = shutil.which("npm")
    if shutil.which("node") is None or npm is None:
        return "there is no Node.js here (node and npm), so nothing was tried with the npm package capnweb"
    lock = (_HERE / "package-lock.json").read_bytes()
    digest = hashlib.sha256(lock).hexdigest()
    _HOME.mkdir(exist_ok=True)
    with open(_HOME / ".lock", "w") as busy:
        fcntl.flock(busy, fcntl.LOCK_EX)
        stamp = _HOME / ".stamp"
        if not stamp.exists() or stamp.read_text() != digest:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(_HERE / name, _HOME / name)
            made = subprocess.run(
                [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                cwd=_HOME,
                capture_output=True,
                text=True,
                check=False,
                timeout=300,
            )
            if made.returncode:
                return f"npm could not install the packages of tests/interop/web: {made.stderr[-300:]}"
            stamp.write_text(digest)
        for program in _HERE.glob("*.mjs"):  # imports are looked up from where a program is
            shutil.copy(program, _HOME / program.name)
    return _HOME


if __name__ == "__main__":
    print(node_home())
