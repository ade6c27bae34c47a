"""Interpreters that have Twisted: today's, one with the Twisted of 2019, and some from between.

*Today* is the interpreter that runs the tests. *2019* is a virtual environment `.venv-twisted-2019/` in the
checkout, made when a test first asks for it and kept; it holds Twisted 19.10.0, the last release of that
year, and its dependencies, pinned.

Twisted 19.10.0 has no wheel, and ``pip install`` from its source stops on Python 3.11 and later at
``twisted/test/raiser.c``: the one C extension, a helper of Twisted's own tests that needs a header which
Python has moved. Everything else is plain Python, and its perspective broker runs unmodified up to 3.13 at
least. So the source archive is fetched by pip, checked against its digest and unpacked where pip would have
installed it: the same files, and no compiler needed on the machine.

Those between have wheels; pip installs them, each in an environment beside that of 2019.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

CHECKOUT = Path(__file__).resolve().parents[2]

_TWISTED = "19.10.0"
_ARCHIVE_SHA256 = "7394ba7f272ae722a74f3d969dcf599bc4ef093bc392038748a490f1724a515d"
_PINS = (
    "attrs==19.3.0",
    "Automat==0.8.0",
    "constantly==15.1.0",
    "hyperlink==19.0.0",
    "idna==2.8",
    "incremental==17.5.0",
    "six==1.16.0",  # for Automat
    "zope.interface==8.7",  # the only one with C in it: one that has wheels for every Python we support
)


@dataclass(frozen=True)
class TwistedEnv:
    """A Python interpreter that can import Twisted."""

    name: str
    python: Path
    twisted: str
    on_our_face: bool = False  #: are our modules in the place of `twisted.spread`?

    @property
    def sends_dates(self) -> bool:
        """Can it send datetime, date, time and timedelta? On Python 3, 19.10 can only read them."""
        return self.name != "2019"

    def __str__(self) -> str:
        return f"Twisted {self.twisted} ({self.name})"


@functools.cache
def today() -> TwistedEnv:
    """The interpreter of the tests, with the Twisted that is installed beside them."""
    python = Path(sys.executable)
    return TwistedEnv("today", python, _version(python))


@functools.cache
def on_our_face() -> TwistedEnv:
    """The interpreter of the tests, where `perspective_broker.compat` stands in for `twisted.spread`."""
    return TwistedEnv("face", today().python, today().twisted, on_our_face=True)


@functools.cache
def of_2019() -> TwistedEnv:
    """The interpreter with Twisted 19.10.0, made now if it is not there yet."""
    return _made("2019", (_ARCHIVE_SHA256, *_PINS), _build_2019)


@functools.cache
def of_2022() -> TwistedEnv:
    """The interpreter with Twisted 22.10.0, made now if it is not there yet."""
    return _made(
        "2022", ("Twisted==22.10.0", "setuptools==75.8.0"), _build
    )  # it asks for setuptools and does not use it


@functools.cache
def of_2024() -> TwistedEnv:
    """The interpreter with Twisted 24.7.0, made now if it is not there yet."""
    return _made("2024", ("Twisted==24.7.0",), _build)


def _made(name: str, recipe: tuple[str, ...], build: Callable[[Path, tuple[str, ...]], None]) -> TwistedEnv:
    home = CHECKOUT / f".venv-twisted-{name}"
    venv = home / "venv"
    python = venv / "bin" / "python"
    home.mkdir(exist_ok=True)
    (home / ".gitignore").write_text("*\n")
    # Another Python or other pins make another environment.
    text = "\n".join((sys.version, *recipe))
    stamp = venv / "recipe"
    with open(home / "lock", "w") as lock:  # several test runs may share the checkout
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (stamp.is_file() and stamp.read_text() == text):
            if venv.exists():
                shutil.rmtree(venv)
            _run(sys.executable, "-m", "venv", str(venv))
            build(python, recipe)
            stamp.write_text(text)
    return TwistedEnv(name, python, _version(python))


def _version(python: Path) -> str:
    done = _run(str(python), "-c", "import twisted; print(twisted.__version__)")
    return done.strip()


def _pip(python: Path) -> tuple[str, ...]:
    return (str(python), "-m", "pip", "--disable-pip-version-check", "--quiet")


def _build(python: Path, pins: tuple[str, ...]) -> None:
    _run(*_pip(python), "install", *pins)


def _build_2019(python: Path, recipe: tuple[str, ...]) -> None:
    pip = _pip(python)
    _run(*pip, "install", *_PINS)
    packages = Path(_run(str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    with tempfile.TemporaryDirectory() as temporary:
        wanted = ("--no-deps", "--no-binary", "Twisted", "--dest", temporary, f"Twisted=={_TWISTED}")
        _run(*pip, "download", *wanted)
        (archive,) = Path(temporary).iterdir()
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        if digest != _ARCHIVE_SHA256:
            raise RuntimeError(f"{archive.name} is not the one we know: sha256 {digest}")
        _unpack(archive, packages)


def _unpack(archive: Path, packages: Path) -> None:
    """Put the package `twisted` of the source archive among the installed packages."""
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            parts = PurePosixPath(member.name).parts  # Twisted-19.10.0/src/twisted/...
            if parts[1:3] == ("src", "twisted"):
                member.name = str(PurePosixPath(*parts[2:]))
                tar.extract(member, packages, filter="data")


def _run(*command: str) -> str:
    """The command's output; if it fails, an error that contains the output."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout
