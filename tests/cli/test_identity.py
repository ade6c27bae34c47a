"""``pb identity`` on a real SQLite file, in processes of its own; the prompt at a terminal."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from pathlib import Path
from subprocess import CompletedProcess

import pytest

import perspective_broker as pb_
from perspective_broker.cred import LegacyDigest
from tests.cli.processes import pb
from tests.cli.terminal import on_a_terminal

URL = "sqlite:///identities.db"
STORE = ("--store", URL)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with a store in it that knows alice, by few rounds of PBKDF2."""

    async def begin() -> None:
        async with _authorizer(tmp_path, iterations=4096) as authorizer:
            await authorizer.create("alice", "of old")

    asyncio.run(begin())
    return tmp_path


def _authorizer(directory: Path, *, iterations: int | None = None) -> pb_.SQLAuthorizer:
    return pb_.SQLAuthorizer(f"sqlite:///{directory}/identities.db", iterations=iterations)


def _all_kept(directory: Path) -> dict[str, pb_.Identity]:
    async def look() -> dict[str, pb_.Identity]:
        async with _authorizer(directory) as authorizer:
            return {one.name: one async for one in authorizer.list()}

    return asyncio.run(look())


def _kept(directory: Path, name: str) -> pb_.Identity:
    return _all_kept(directory)[name]


def _identity(directory: Path, *arguments: str, stdin: str = "") -> CompletedProcess[str]:
    return pb("identity", *arguments, *STORE, cwd=directory, stdin=stdin)


def _done(directory: Path, *arguments: str, stdin: str = "") -> str:
    """Run a command that has to work, and return its output."""
    done = _identity(directory, *arguments, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_adding_makes_a_store_that_nobody_else_can_read(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("schlüssel\r\nnot this\n")
    assert _done(tmp_path, "add", "bob", "--password-file", "password") == ""
    assert (tmp_path / "identities.db").stat().st_mode & 0o777 == 0o600
    bob = _kept(tmp_path, "bob")
    assert bob.verify_password("schlüssel")
    assert bob.legacy_digest is None


def test_a_password_from_standard_input_and_what_legacy_keeps(directory: Path) -> None:
    said = _done(directory, "passwd", "alice", "--password-file", "-", "--legacy", stdin="sesame\n")
    assert said.startswith("pb: warning: ")
    assert "MD5" in said
    alice = _kept(directory, "alice")
    assert alice.verify_password("sesame")
    assert alice.legacy_digest == LegacyDigest.from_password("sesame")

    said = _done(directory, "passwd", "alice", "--password-file", "-", stdin="open\n")
    assert said == "pb: note: the old MD5 digest was removed; --legacy keeps one\n"
    alice = _kept(directory, "alice")
    assert alice.verify_password("open")
    assert alice.legacy_digest is None

    assert _done(directory, "passwd", "alice", "--no-password") == ""
    alice = _kept(directory, "alice")
    assert alice.verifier is None


def test_keys_come_and_go(directory: Path) -> None:
    assert _done(directory, "grant", "alice", "chat") == ""
    assert _done(directory, "grant", "alice", "chat", "operator") == ""
    alice = _kept(directory, "alice")
    assert alice.keys == {("chat", "alice"), ("chat", "operator")}
    assert _done(directory, "revoke", "alice", "chat") == ""
    done = _identity(directory, "revoke", "alice", "chat")
    assert (done.returncode, done.stderr) == (
        1,
        "pb: identity 'alice' has no key to ('chat', 'alice')\n",
    )
    alice = _kept(directory, "alice")
    assert alice.keys == {("chat", "operator")}


def test_disabled_enabled_removed(directory: Path) -> None:
    for command, disabled in (("disable", True), ("enable", False)):
        assert _done(directory, command, "alice") == ""
        alice = _kept(directory, "alice")
        assert alice.disabled is disabled
    assert _done(directory, "remove", "alice") == ""
    assert _all_kept(directory) == {}


def test_the_list_for_people_and_for_programs(directory: Path) -> None:
    _done(directory, "passwd", "alice", "--legacy", "--password-file", "-", stdin="x\n")
    _done(directory, "grant", "alice", "chat")
    _done(directory, "grant", "alice", "chat", "operator")
    _done(directory, "add", "[red]bob", "--no-password")
    _done(directory, "disable", "[red]bob")
    rows = [line.split() for line in _done(directory, "list").splitlines() if line.strip("─ ")]
    assert rows == [
        ["name", "login", "keys"],
        ["[red]bob", "disabled,", "no", "password"],
        ["alice", "password,", "MD5", "chat"],
        ["chat", "as", "operator"],
    ]
    assert json.loads(_done(directory, "list", "--json")) == [
        {"name": "[red]bob", "password": False, "legacy": False, "disabled": True, "keys": []},
        {
            "name": "alice",
            "password": True,
            "legacy": True,
            "disabled": False,
            "keys": [["chat", "alice"], ["chat", "operator"]],
        },
    ]


@pytest.mark.parametrize(
    "command",
    [
        "passwd bob --no-password",
        "grant bob chat",
        "remove bob",
    ],
)
def test_nobody_of_that_name(directory: Path, command: str) -> None:
    done = _identity(directory, *command.split())
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "pb: there is no identity 'bob'\n")


def test_somebody_of_that_name_already(directory: Path) -> None:
    done = _identity(directory, "add", "alice", "--no-password")
    assert (done.returncode, done.stderr) == (1, "pb: there is an identity 'alice' already\n")
    alice = _kept(directory, "alice")
    assert alice.verify_password("of old")


@pytest.mark.parametrize(
    ("arguments", "stdin", "complaint"),
    [
        ("add bob", "", "no terminal to prompt for the password; use --password-file FILE"),
        ("add bob --password-file nothing", "", "nothing: No such file or directory"),
        (
            "add bob --password-file -",
            "",
            "standard input: the first line is empty, and should be the password",
        ),
        (
            "add bob --password-file -",
            "\nsecret\n",
            "standard input: the first line is empty, and should be the password",
        ),
        ("add bob --password-file -", "x" * 1025, "password: at most 1024 bytes"),
        ("add bob --password-file -", "sec\x07ret", "SASLprep forbids this text: control characters"),
        ("add bob --password-file . ", "", ".: Is a directory"),
        ("add bob --no-password --legacy", "", "--no-password goes with neither"),
        ("add ⅸ --no-password", "", "is not in SASLprep form; use 'ix'"),
        ("grant alice " + "c" * 256, "", "service name: must have 1 to 255 bytes"),
        ("passwd alice secret", "", "secret"),
        ("passwd alice --password secret", "", "--password"),
        ("list --timeout 0", "", "--timeout"),
    ],
)
def test_wrong_usage_is_one_line_and_2(directory: Path, arguments: str, stdin: str, complaint: str) -> None:
    done = _identity(directory, *arguments.split(), stdin=stdin)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("pb: ")
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1
    assert set(_all_kept(directory)) == {"alice"}


def test_a_password_that_is_no_text_is_not_shown(directory: Path) -> None:
    (directory / "password").write_bytes(b"sec\xffret\n")
    done = _identity(directory, "add", "bob", "--password-file", "password")
    assert (done.returncode, done.stderr) == (2, "pb: password: the first line is not UTF-8 text\n")


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("mysql://localhost/db", "store url: must begin with sqlite:/// or postgresql://, not with mysql"),
        ("nowhere", "store url: must be a url"),
        ("sqlite:///:memory:", "store url: SQLite needs a file"),
        ("postgresql://bob:hunter2@localhost/db", "a password in --store could be read by others"),
        ("postgresql://bob@localhost/db?password=hunter2", "a password in --store could be read by others"),
    ],
)
def test_a_url_that_is_none_of_a_store(tmp_path: Path, url: str, complaint: str) -> None:
    done = pb("identity", "add", "bob", "--no-password", "--store", url, cwd=tmp_path)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1
    assert "hunter2" not in done.stderr


def test_only_adding_makes_a_store(tmp_path: Path) -> None:
    done = _identity(tmp_path, "list")
    assert (done.returncode, done.stderr) == (
        3,
        "pb: identities.db: there is no store; pb identity add makes one\n",
    )
    assert not list(tmp_path.iterdir())


def test_a_store_that_somebody_has_locked(directory: Path) -> None:
    other = sqlite3.connect(directory / "identities.db", isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        done = _identity(directory, "remove", "alice", "--timeout", "0.1")
    finally:
        other.close()
    assert done.returncode == 3
    assert done.stderr.startswith("pb: sqlite:///identities.db")
    assert done.stderr.count("\n") == 1
    assert set(_all_kept(directory)) == {"alice"}


def test_a_file_that_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "identities.db").write_text("a letter to a friend, and no database at all" * 100)
    done = _identity(tmp_path, "list")
    assert done.returncode == 3
    assert done.stderr.startswith("pb: sqlite:///identities.db")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("missing", ["aiosqlite", "sqlalchemy"])
def test_a_missing_extra_is_named(directory: Path, missing: str) -> None:
    (directory / missing).mkdir()
    (directory / missing / "__init__.py").write_text(f"raise ModuleNotFoundError('gone', name={missing!r})")
    done = _identity(directory, "list")
    assert done.returncode == 2
    assert f"needs {missing}; install it with: pip install" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_prompt_shows_nothing_and_asks_twice(directory: Path) -> None:
    with on_a_terminal("identity", "passwd", "alice", *STORE, cwd=directory) as terminal:
        terminal.read_until("New password for alice: ")
        terminal.type("open sesame\n")
        terminal.read_until("The same again: ")
        terminal.type("open sesame\n")
        assert terminal.read_to_end().strip() == ""
    assert terminal.process.returncode == 0
    alice = _kept(directory, "alice")
    assert alice.verify_password("open sesame")

    with on_a_terminal("identity", "passwd", "alice", *STORE, cwd=directory) as terminal:
        terminal.read_until("New password for alice: ")
        terminal.type("shut\n")
        terminal.read_until("The same again: ")
        terminal.type("shout\n")
        assert "pb: the two passwords differ; nothing was changed" in terminal.read_to_end()
    assert terminal.process.returncode == 2

    with on_a_terminal("identity", "passwd", "alice", *STORE, cwd=directory) as terminal:
        terminal.read_until("New password for alice: ")
        terminal.type("\x04")
        assert "pb: no password was given" in terminal.read_to_end()
    assert terminal.process.returncode == 2

    with on_a_terminal("identity", "passwd", "alice", *STORE, cwd=directory) as terminal:
        terminal.read_until("New password for alice: ")
        terminal.interrupt()
        assert "Traceback" not in terminal.read_to_end()
    assert terminal.process.returncode == 130
    alice = _kept(directory, "alice")
    assert alice.verify_password("open sesame")


def test_no_secret_is_shown_at_any_verbosity(directory: Path) -> None:
    said = _done(directory, "passwd", "alice", "-vv", "--legacy", "--password-file", "-", stdin="sesame\n")
    said += _done(directory, "list", "-vv")
    said += _done(directory, "list", "-vv", "--json")
    alice = _kept(directory, "alice")
    assert alice.verifier is not None
    assert alice.legacy_digest is not None
    secrets = ["sesame", alice.legacy_digest.digest.hex(), *re.split("[$:]", alice.verifier.encode())[2:]]
    assert len(secrets) == 5
    assert not [secret for secret in secrets if secret in said]
