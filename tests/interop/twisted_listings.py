"""Runs a listing of Twisted's documentation on perspective broker, with Twisted's modules or ours.

A program of its own: ``python -m tests.interop.twisted_listings [--face] SOCKETS SCRIPT`` runs the listing as it is,
but for three things. Its ports are Unix sockets in the folder SOCKETS; it ends when standard input does; and passwords
that it gives as text become bytes, which today's Twisted asks for: without, these listings do not run there.

The listings come from Twisted's source archive of the version that is installed, which pip fetches once.
"""

from __future__ import annotations

import fcntl
import os
import runpy
import subprocess
import sys
import tarfile
import tempfile
import threading
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from tests.interop.twisted_env import CHECKOUT, today

HOME = CHECKOUT / ".venv-twisted-listings"

#: Printed when the reactor runs.
READY = "READY\n"


def listings() -> Path:
    """Return the folder of Twisted's documentation, fetched now if it is not there yet."""
    version = today().twisted
    docs = HOME / version / "docs"
    HOME.mkdir(exist_ok=True)
    (HOME / ".gitignore").write_text("*\n")
    with open(HOME / "lock", "w") as lock:  # several test runs may share the checkout
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not docs.is_dir():
            with tempfile.TemporaryDirectory(dir=HOME) as temporary:
                _fetch(version, Path(temporary))
                (Path(temporary) / "unpacked").rename(HOME / version)
    return docs


def _fetch(version: str, place: Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "download"]
    wanted = ["--no-deps", "--no-binary", "Twisted", "--dest", str(place), f"Twisted=={version}"]
    subprocess.run([*command, *wanted], check=True, stdout=sys.stderr)
    (archive,) = place.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            parts = PurePosixPath(member.name).parts  # twisted-26.10.0/docs/core/...
            if parts[1:2] == ("docs",):
                member.name = str(PurePosixPath(*parts[1:]))
                tar.extract(member, place / "unpacked", filter="data")


def main(arguments: list[str]) -> None:
    if arguments[0] == "--face":
        from perspective_broker.compat.standing_in import stand_in

        stand_in()
        arguments = arguments[1:]
    sockets, script = arguments
    _take_text_for_passwords()
    _use_sockets(sockets)
    sys.argv = [script]
    sys.path[:0] = [str(Path(script).parent), *os.environ.get("LISTINGS", "").split(os.pathsep)]
    names = runpy.run_path(script, run_name="__main__" if Path(script).suffix == ".py" else "listing")
    if "application" in names:
        from twisted.application import service
        from twisted.internet import reactor

        started: Any = service.IService(names["application"])
        started.startService()
        running: Any = reactor
        running.run()


def _use_sockets(folder: str) -> None:
    """Let the reactor listen and connect in a folder, and end with standard input."""
    from twisted.internet import reactor

    changed: Any = reactor
    run = changed.run

    def watched() -> None:
        threading.Thread(target=wait, daemon=True).start()
        changed.callWhenRunning(partial(os.write, 1, READY.encode()))
        run()

    def wait() -> None:
        sys.stdin.read()
        changed.callFromThread(lambda: changed.running and changed.stop())

    changed.run = watched
    changed.listenTCP = lambda port, factory, *_, **__: changed.listenUNIX(f"{folder}/{port}", factory)
    changed.connectTCP = lambda host, port, factory, *_, **__: changed.connectUNIX(
        f"{folder}/{port}", factory
    )


def _take_text_for_passwords() -> None:
    from twisted.cred import checkers, credentials

    def data(text: Any) -> Any:
        return text.encode() if isinstance(text, str) else text

    class UsernamePassword(credentials.UsernamePassword):
        def __init__(self, username: Any, password: Any) -> None:
            super().__init__(data(username), data(password))

    class Users(checkers.InMemoryUsernamePasswordDatabaseDontUse):
        def __init__(self, **users: Any) -> None:
            super().__init__(**{name: data(password) for name, password in users.items()})

        def addUser(self, username: Any, password: Any) -> None:
            super().addUser(data(username), data(password))

    replaced: Any = checkers
    replaced.InMemoryUsernamePasswordDatabaseDontUse = Users
    replaced = credentials
    replaced.UsernamePassword = UsernamePassword


if __name__ == "__main__":
    main(sys.argv[1:])
