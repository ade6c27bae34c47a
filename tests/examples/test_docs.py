"""The pages are right: their programs are written to files, their commands run, their outputs compared.

A ``python`` or ``toml`` block that starts with ``# name`` is that file; one that starts with ``# %%`` has the cells of
a notebook, and after each ``print`` its output. In a ``console`` block a line that starts with ``$`` is a command, and
the lines after it are its output; a server goes on running, as does a command with ``&``. Ports and socket paths are
replaced by free ones; the duration of tests is not compared. Blocks without ``$`` are for reading only.
"""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.cli.processes import PATIENCE, ROOT, environment

PAGES = [
    "docs/start.md",
    "docs/learn/first-steps.md",
    "docs/do/call-from-the-shell.md",
    "docs/do/serve-on-a-unix-socket.md",
    "docs/do/report-errors.md",
    "docs/do/tls.md",
    "docs/do/manage-users.md",
    "docs/do/streams.md",
    "docs/do/expose-what-exists.md",
    "docs/do/typed-interfaces.md",
    "docs/do/reconnect.md",
    "docs/do/deadlines.md",
    "docs/do/progress-and-cancellation.md",
    "docs/do/watch-an-object.md",
    "docs/do/per-user-views.md",
    "docs/do/log-in.md",
    "docs/do/disconnect-a-user.md",
    "docs/do/broadcast-to-many-clients.md",
    "docs/do/pass-references-on.md",
    "docs/do/locks-and-leases.md",
    "docs/do/threads-and-notebooks.md",
    "docs/do/fastapi.md",
    "docs/do/django.md",
    "docs/do/test-your-program.md",
    "docs/do/deploy-and-operate.md",
    "docs/do/talk-to-twisted.md",
    "docs/do/move-from-rpyc.md",
    "docs/do/move-from-pyro.md",
]

#: Not where the tests of the core alone run.
_HAS_KERNEL = all(map(find_spec, ("ipykernel", "jupyter_client")))

NOTEBOOK = ROOT / "tests" / "examples" / "notebook.py"

_BLOCK = re.compile(r"^```(python|toml|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PRINTED = re.compile(r"^print\(.*\)  # (.*\n)", re.MULTILINE)
_SECONDS = re.compile(r"(?<= passed in )[\d.]+s$", re.MULTILINE)
_COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)


def _free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return str(taken.getsockname()[1])


@pytest.mark.parametrize("page", PAGES)
def test_the_page_tells_the_truth(page: str) -> None:
    with tempfile.TemporaryDirectory(prefix="pb-") as directory, contextlib.ExitStack() as servers:
        text = (ROOT / page).read_text()
        for package in ("Pyro5", "django", "fastapi", "rpyc", "twisted"):
            if re.search(rf"^(from|import) {package}\b", text, re.MULTILINE):
                pytest.importorskip(package)
        for port in ("8787", "8788"):
            text = re.sub(rf"\b{port}\b", _free_port(), text)
        text = text.replace("/run/greeter", directory)
        ran = 0
        for kind, block in _BLOCK.findall(text):
            if block.startswith("# %%"):
                if not _HAS_KERNEL:
                    continue
                Path(directory, "cells.py").write_text(block)
                assert _run(f'python "{NOTEBOOK}" cells.py', directory) == "".join(_PRINTED.findall(block))
                continue
            if kind != "console":
                name = block.splitlines()[0].removeprefix("# ")
                Path(directory, name).write_text(block)
                continue
            for command, shown in _COMMAND.findall(block):
                ran += 1
                if command.startswith("pb serve"):
                    if "--listen" not in command:  # the usual port may be taken on this machine
                        command += shown.replace("listening on", " --listen").rstrip()
                    assert _serve(command, directory, servers) == shown
                elif command.endswith(" &"):
                    assert _serve(command.removesuffix(" &"), directory, servers) == shown
                else:
                    printed = _run(command, directory)
                    assert _SECONDS.sub("0.1s", printed) == _SECONDS.sub("0.1s", shown), command
        assert ran


#: The commands of the pages, without an installation.
_PRELUDE = f"""
pb() {{ exec "{sys.executable}" -m perspective_broker.cli "$@"; }}
python() {{ exec "{sys.executable}" "$@"; }}
pytest() {{ exec "{sys.executable}" -m pytest "$@"; }}
"""


def _start(command: str, directory: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["bash", "-c", _PRELUDE + command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=directory,
        env=environment(),
    )


def _run(command: str, directory: str) -> str:
    """Run a command and return all that it prints."""
    with _start(command, directory) as process:
        try:
            return process.communicate(timeout=PATIENCE)[0]
        finally:
            process.kill()


def _serve(command: str, directory: str, servers: contextlib.ExitStack) -> str:
    """Start a server and return its first line; it is stopped when all is over."""
    is_ours = not any(name in command for name in ("pyro_", "rpyc_"))
    process = servers.enter_context(_start(command, directory))

    def stop() -> None:
        process.send_signal(signal.SIGTERM)
        try:
            # Programs with other libraries, which a page compares with, are ended by the signal.
            assert process.wait(PATIENCE) in ((0,) if is_ours else (0, -signal.SIGTERM))
        finally:
            process.kill()

    servers.callback(stop)
    assert process.stdout is not None
    return process.stdout.readline()
