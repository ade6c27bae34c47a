"""An interpreter with Buildbot, master and worker, and this checkout: `.venv-buildbot/`, made on demand and kept."""

from __future__ import annotations

import fcntl
import functools
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.interop.twisted_env import CHECKOUT

_PINS: Final = ("buildbot==4.3.0", "buildbot-worker==4.3.0")


@functools.cache
def buildbot_bin() -> Path:
    """Return the directory of its commands."""
    home = CHECKOUT / ".venv-buildbot"
    venv = home / "venv"
    home.mkdir(exist_ok=True)
    (home / ".gitignore").write_text("*\n")
    recipe = "\n".join((sys.version, str(CHECKOUT), *_PINS))
    stamp = venv / "recipe"
    with open(home / "lock", "w") as lock:  # several test runs may share the checkout
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (stamp.is_file() and stamp.read_text() == recipe):
            if venv.exists():
                shutil.rmtree(venv)
            subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
            pip = [str(venv / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
            subprocess.run([*pip, "install", *_PINS, "--editable", f"{CHECKOUT}[twisted]"], check=True)
            stamp.write_text(recipe)
    return venv / "bin"
