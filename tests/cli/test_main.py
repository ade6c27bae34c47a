"""The command as a whole: its imports, its help, and its end in odd situations."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.cli.processes import PATIENCE, PB, SERVED, Serving, environment, pb


def _python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.parametrize("missing", ["cyclopts", "rich"])
def test_without_the_extra_it_says_what_to_install(missing: str) -> None:
    done = _python(
        f"import sys; sys.modules[{missing!r}] = None\nfrom perspective_broker.cli import main\nmain()"
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f'pb: the command line needs {missing}: pip install "perspective-broker[cli]"\n'


def test_importing_the_room_loads_nothing_of_the_extra() -> None:
    done = _python("import sys, perspective_broker.cli\nprint({'cyclopts', 'rich'} & set(sys.modules))")
    assert done.stdout == "set()\n"


def test_without_a_command_it_shows_them_all() -> None:
    done = pb()
    assert done.returncode == 0
    for word in ("serve", "call", "ping", "shell", "Exit codes"):
        assert word in done.stdout


IDENTITY = ["add", "disable", "enable", "grant", "list", "passwd", "remove", "revoke"]


@pytest.mark.parametrize(
    "command", ["serve", "call", "ping", "shell", *(f"identity {name}" for name in IDENTITY)]
)
def test_help_teaches_with_examples_of_its_own(command: str) -> None:
    done = pb(*command.split(), "--help")
    assert done.returncode == 0
    _, _, rest = done.stdout.partition("Examples:")
    examples, _, _ = rest.partition("Exit codes:")
    assert set(re.findall(r"pb (identity \w+|\w+)", examples)) == {command}


def test_options_that_go_together_stand_together() -> None:
    assert re.findall(r"^│ (--tls-\S+)", pb("serve", "--help").stdout, re.MULTILINE) == [
        "--tls-cert",
        "--tls-key",
        "--tls-client-ca",
    ]


def test_version() -> None:
    done = pb("--version")
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1


def test_a_command_that_does_not_exist() -> None:
    done = pb("sreve")
    assert done.returncode == 2
    assert done.stderr.startswith('pb: Unknown command "sreve". ')
    assert done.stderr.endswith("(see: pb --help)\n")


def test_a_reader_that_goes_away_is_no_error(desk: Serving) -> None:
    with subprocess.Popen(
        [*PB, "call", desk.url, "echo", repr("x" * 100_000)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=SERVED,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(PATIENCE) == 0


CLOSED = ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"]


@pytest.mark.parametrize("closed", CLOSED)
@pytest.mark.parametrize(
    ("arguments", "status"),
    [(("call", "echo", "1"), 0), (("call", "nothing"), 1), (("shell",), 0), (("ping", "--count", "1"), 0)],
)
def test_a_stream_that_is_closed_is_no_error(
    desk: Serving, closed: str, arguments: tuple[str, ...], status: int
) -> None:
    command, *rest = arguments
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *PB, command, desk.url, *rest],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        cwd=SERVED,
        env=environment(),
        timeout=PATIENCE,
    )
    assert done.returncode == status
    assert "Traceback" not in done.stderr


def test_a_terminal_of_another_encoding_shows_what_it_can(desk: Serving) -> None:
    done = pb("call", desk.url, "echo", "snowman \N{SNOWMAN}", env={"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stdout) == (0, "snowman \\u2603\n")
