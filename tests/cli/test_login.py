"""``--user`` of the commands that connect, and ``pb serve`` of an application and a portal: by SCRAM here, by MD5 at a
real Twisted portal."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import perspective_broker as pb_
from tests.authority import Authority
from tests.cli.processes import SERVED, Serving, pb, serving
from tests.cli.terminal import on_a_terminal
from tests.interop.peers.contract import USERS
from tests.interop.rig import twisted_server
from tests.interop.twisted_env import today


class Chat(NamedTuple):
    """A running ``pb serve chat:application``, and the directory that it runs in."""

    directory: Path
    server: Serving
    verifier: str


def _prepare(directory: Path) -> str:
    """Fill a directory with the module to serve, a store that knows alice, and passwords; return her verifier."""
    shutil.copy(SERVED / "chat.py", directory)
    (directory / "alice").write_text("sesame\n")
    (directory / "wrong").write_text("open sesame\n")

    async def fill() -> str:
        # Few rounds of PBKDF2: these tests are about something else.
        async with pb_.SQLAuthorizer(f"sqlite:///{directory}/identities.db", iterations=4096) as authorizer:
            alice = await authorizer.create("alice", "sesame")
            await authorizer.grant("alice", "chat")
            await authorizer.grant("alice", "chat", "operator")
            assert alice.verifier is not None
            return alice.verifier.encode()

    return asyncio.run(fill())


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chat]:
    directory = tmp_path_factory.mktemp("chat")
    verifier = _prepare(directory)
    with serving("chat:application", "-vv", cwd=directory) as server:
        yield Chat(directory, server, verifier)


ALICE = ("--user", "alice", "--password-file", "alice")


def test_a_user_calls_a_perspective(chat: Chat) -> None:
    call = ("call", chat.server.url, "whoami", *ALICE)
    for more, who in (
        ((), "alice"),
        (("--service", "chat"), "alice"),
        (("--service", "chat", "--perspective", "operator", "--dialect", "pb"), "operator"),
    ):
        done = pb(*call, *more, cwd=chat.directory)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{who}\n", "")


def test_what_the_perspective_raises_is_the_peers_error(chat: Chat) -> None:
    done = pb("call", chat.server.url, "fail", "today", *ALICE, cwd=chat.directory)
    assert (done.returncode, done.stderr) == (1, "pb: Error: today\n")


@pytest.mark.parametrize(
    "login",
    [
        ("--user", "alice", "--password-file", "wrong"),
        ("--user", "mallory", "--password-file", "alice"),
        (*ALICE, "--service", "chess"),
        (*ALICE, "--service", "chat", "--perspective", "bob"),
    ],
)
def test_a_refused_login_has_an_exit_code_of_its_own_and_never_says_why(
    chat: Chat, login: tuple[str, ...]
) -> None:
    done = pb("call", chat.server.url, "whoami", *login, cwd=chat.directory)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == f"pb: no login at {chat.server.url}: the login was refused\n"


def test_a_ping_measures_a_login_too(chat: Chat) -> None:
    done = pb("ping", chat.server.url, "--count", "1", *ALICE, "--service", "chat", cwd=chat.directory)
    assert done.returncode == 0, done.stderr
    assert "speaks pb7: established in " in done.stdout


def test_a_shell_reads_the_password_and_then_its_script(chat: Chat) -> None:
    script = 'sesame\nawait root.call("whoami")\n'
    done = pb("shell", chat.server.url, "--user", "alice", "--password-file", "-", stdin=script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "'alice'\n", "")


def test_at_a_terminal_the_password_is_asked_for(chat: Chat) -> None:
    with on_a_terminal("call", chat.server.url, "whoami", "--user", "alice") as terminal:
        terminal.read_until("Password for alice: ")
        terminal.type("sesame\n")
        assert terminal.read_to_end().split() == ["alice"]
    assert terminal.process.returncode == 0


@pytest.mark.parametrize(
    ("login", "complaint"),
    [
        (("--user", "alice"), "no terminal to prompt for the password; use --password-file FILE"),
        (("--service", "chat"), "--service needs --user as well"),
        (("--password-file", "alice"), "--password-file needs --user as well"),
        (("--legacy-login",), "--legacy-login needs --user as well"),
        ((*ALICE, "--perspective", "operator"), "--perspective needs --service as well"),
        (("--user", "", "--password-file", "alice"), "username or password not valid"),
        (("--user", "alice", "--password", "sesame"), "--password"),
    ],
)
def test_wrong_usage_is_one_line_and_2(chat: Chat, login: tuple[str, ...], complaint: str) -> None:
    done = pb("call", chat.server.url, "whoami", *login, cwd=chat.directory)
    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1


def test_no_secret_is_in_the_log_of_either_side(tmp_path: Path) -> None:
    verifier = _prepare(tmp_path)
    with serving("chat:application", "-vv", cwd=tmp_path) as server:
        done = pb("call", server.url, "whoami", *ALICE, "-vv", cwd=tmp_path)
        assert done.stdout == "alice\n"
        assert server.stop() == 0
        log = server.logged() + done.stderr
    assert "connection from" in log
    secrets = ["sesame", *re.split("[$:]", verifier)[2:]]
    assert len(secrets) == 4
    assert not [secret for secret in secrets if secret in log]


def test_a_portal_is_served_too(tmp_path: Path) -> None:
    _prepare(tmp_path)
    with serving("chat:portal", cwd=tmp_path) as server:
        assert pb("call", server.url, "whoami", *ALICE, cwd=tmp_path).stdout == "alice\n"
        assert server.stop() == 0
        assert server.logged() == ""


def test_a_peer_without_logins(desk: Serving, tmp_path: Path) -> None:
    _prepare(tmp_path)
    done = pb("call", desk.url, "echo", "1", *ALICE, cwd=tmp_path)
    assert done.returncode == 4
    assert done.stderr == f"pb: no login at {desk.url}: the peer does not know this kind of login\n"


def test_a_twisted_portal_knows_nothing_better_than_md5(tmp_path: Path) -> None:
    (tmp_path / "alice").write_text(USERS["alice"])
    (tmp_path / "wrong").write_text("guess")
    with twisted_server(today(), portal=True) as server:
        # It is on this machine; elsewhere --legacy-login would have to be there.
        for more in ((), ("--legacy-login",)):
            done = pb("call", server.tcp, "whoami", *ALICE, *more, cwd=tmp_path)
            assert (done.returncode, done.stdout, done.stderr) == (0, "alice\n", "")
        done = pb("call", server.tcp, "whoami", "--user", "alice", "--password-file", "wrong", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (4, f"pb: no login at {server.tcp}: the login was refused\n")


def test_over_tls_the_login_is_bound_and_a_certificate_may_stand_for_the_password(tmp_path: Path) -> None:
    _prepare(tmp_path)
    authority = Authority(tmp_path)
    options = ("--tls-cert", str(authority.issue("localhost")), "--tls-client-ca", str(authority.file))
    shown = ("--tls-ca", str(authority.file), "--tls-cert", str(authority.issue("alice@example.org")))
    with serving("chat:with_certificates", *options, listen=("tls://localhost:0",), cwd=tmp_path) as server:
        for login in (ALICE, ("--user", "alice")):
            done = pb("call", server.url, "whoami", *login, *shown, cwd=tmp_path)
            assert (done.returncode, done.stdout, done.stderr) == (0, "alice\n", "")
        done = pb("call", server.url, "whoami", "--user", "bob", *shown, cwd=tmp_path)
        assert done.returncode == 4
