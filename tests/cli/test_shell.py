"""``pb shell``: a script on standard input, and a person at a terminal."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.cli.processes import PATIENCE, PB, SERVED, Serving, environment, pb, serving
from tests.cli.terminal import on_a_terminal
from tests.interop.rig import twisted_server
from tests.interop.twisted_env import today


def test_a_script_runs_statement_by_statement(desk: Serving) -> None:
    script = """
async def label(name):
    drawer = await root.call("drawer", name)

    return await drawer.call("label")

[await label(name) for name in ("top", "bottom")]
x = await root.call("echo", 20)
x + 1
None
_ + 1
"1"
async with asyncio.timeout(30):
    print(await asyncio.gather(root.call("echo", 1), root.call("echo", 2)))
root.echo("plain")
root.echo(1, two=2)
await root.echo("awaited")
[await root.drawer(name).label() for name in ("top", "bottom")]
drawer = root.drawer("middle")
drawer.label()
async for tick in root.ticks(2):
    print(tick)
connection.dialect
pb.RemoteReference
help(root.drawer)
await help(drawer)
"""
    done = pb("shell", desk.url, stdin=script)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "['top', 'bottom']",
        "21",
        "22",
        "'1'",
        "[1, 2]",
        "'plain'",
        "[(1,), {'two': 2}]",
        "'awaited'",
        "['top', 'bottom']",
        "'middle'",
        "0",
        "1",
        "'pb7'",
        "<class 'perspective_broker.aio.references.RemoteReference'>",
        "drawer(label)",
        "Drawer",
        "",
        "label()",
    ]
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("script", "status", "complaint"),
    [
        ('1\nawait root.call("fail", "no")\n2', 1, "line 2: ValueError: no"),
        (
            'await root.call("nothing")',
            1,
            "line 1: NoSuchMethod: Desk has no method 'nothing' for its callers",
        ),
        ("root.nothing()", 1, "line 1: NoSuchMethod: Desk has no method 'nothing' for its callers"),
        ('root.fail("no"); 2', 1, "line 1: ValueError: no"),
        ("help(root.drawr)", 1, "line 1: Desk has no method 'drawr'; did you mean 'drawer'?"),
        ("\n\nnobody", 2, "line 3: NameError: name 'nobody' is not defined"),
        ("1 +\n", 2, "line 1: invalid syntax"),
        ("await connection.close()\nroot.call('echo', 1)", 3, "line 2: the connection has ended"),
        ("raise SystemExit('enough')", 1, "enough"),
    ],
)
def test_the_first_error_ends_a_script(desk: Serving, script: str, status: int, complaint: str) -> None:
    done = pb("shell", desk.url, stdin=script)
    assert done.returncode == status
    assert done.stderr.startswith(f"pb: {complaint}")
    assert done.stderr.count("\n") == 1
    assert "2" not in done.stdout


def test_a_script_may_end_itself(desk: Serving) -> None:
    assert pb("shell", desk.url, stdin="print(1)\nexit(7)\nprint(2)").returncode == 7
    assert pb("shell", desk.url, stdin="exit()").returncode == 0


def test_without_a_connection_there_is_no_prompt() -> None:
    done = pb("shell", "unix:///nowhere/at/all", stdin="1")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "pb: no connection to unix:///nowhere/at/all: No such file or directory\n"


def test_a_twisted_server() -> None:
    with twisted_server(today()) as server:
        done = pb("shell", server.tcp, stdin='await root.call("add", 1, b=2)\nconnection.dialect')
        assert done.stdout == "3\n'pb'\n"


def test_a_session_at_a_terminal(tmp_path: Path, desk: Serving) -> None:
    with on_a_terminal("shell", desk.url, XDG_STATE_HOME=str(tmp_path)) as terminal:
        assert f"connected to {desk.url} (" in terminal.read_until(">>> root.name(")

        terminal.at_prompt('await root.call("echo", [1, "two"])\n')
        terminal.read_until("\n[1, 'two']\r\n")

        terminal.at_prompt("conn\t.dial\t\n")
        terminal.read_until("connection.dialect\r\n'pb7'")

        terminal.at_prompt("root.tic\t1, item='plain')\n")
        terminal.read_until("root.ticks(1, item='plain')\r\n<Remote of <RemoteReference")

        terminal.at_prompt("drawer = root.drawer('x')\n")
        terminal.at_prompt("root.echo('come')\n")  # and so has the drawer
        terminal.read_until("\n'come'\r\n")
        terminal.at_prompt("drawer.la\t)\n")
        terminal.read_until("drawer.label()\r\n'x'\r\n")

        terminal.at_prompt("root.ask.no\t\x15help(root)\n")
        terminal.read_until("\nA desk to play with.\r\n")
        terminal.read_until("\nticks(count, *, item=..., hang=...) -> stream\r\n")

        terminal.at_prompt("help\n")
        terminal.read_until("\nhelp(root) describes the peer's object")

        terminal.at_prompt("root.hang()\n")
        terminal.read_until("root.hang()\r\n")
        terminal.interrupt()
        terminal.read_until("interrupted")

        terminal.at_prompt('await root.call("fail", "no\\x1b[2J")\n')
        terminal.read_until("\nRemoteError: ValueError: no\\x1b[2J\r\n")

        terminal.at_prompt('await root.call("nothing")\n')
        terminal.read_until("\nNoSuchMethod: Desk has no method 'nothing'")

        terminal.at_prompt("await connection.close()\n")
        terminal.at_prompt('root.call("echo", 1)\n')
        terminal.read_until("\nDeadReferenceError: the connection has ended")

        terminal.at_prompt("for word in ('a', 'b'):\n")
        terminal.read_until("... ")
        terminal.type("    print(word.upper())\n\n")
        terminal.read_until("\nA\r\nB\r\n")

        terminal.at_prompt("def f():\n    return 1 / 0\n\n")
        terminal.at_prompt("f()\n")
        shown = terminal.read_until("ZeroDivisionError: division by zero")
        assert "    return 1 / 0" in shown
        assert "perspective_broker" not in shown  # nothing of our own in the traceback

        terminal.at_prompt("1 +\n")
        terminal.read_until("SyntaxError: invalid syntax")

        terminal.at_prompt("print('ready'); await asyncio.Event().wait()\n")
        terminal.read_until("\nready\r\n")
        terminal.interrupt()
        terminal.read_until("interrupted")

        terminal.at_prompt("\x1b[A")  # the arrow up: the last input
        terminal.read_until("await asyncio.Event().wait()")
        terminal.type("\x15\x04")  # Ctrl-U, and on the empty line Ctrl-D
        terminal.read_to_end()
    assert terminal.process.returncode == 0
    history = tmp_path / "perspective-broker" / "shell_history"
    assert 'await root.call("echo", [1, "two"])\n' in history.read_text()
    assert history.stat().st_mode & 0o777 == 0o600


def test_a_peer_that_does_not_describe_its_objects(desk: Serving) -> None:
    done = pb("shell", desk.url, "--dialect", "pb", stdin="root.echo(1)\nhelp(root)")
    assert (done.returncode, done.stdout) == (1, "1\n")
    assert done.stderr.startswith("pb: line 2: the peer does not describe its objects (")


def test_history_is_there_next_time(tmp_path: Path, desk: Serving) -> None:
    # The second time two lines up: past the exit() that ended the first.
    for keys in ("'first time'\n", "\x1b[A\x1b[A\n"):
        with on_a_terminal("shell", desk.url, XDG_STATE_HOME=str(tmp_path)) as terminal:
            terminal.read_until("# for example")
            terminal.at_prompt(keys)
            terminal.read_until("\n'first time'\r\n")
            terminal.at_prompt("exit()\n")
            terminal.read_to_end()
        assert terminal.process.returncode == 0


def test_the_server_may_go_away_while_the_prompt_waits(tmp_path: Path) -> None:
    with serving() as server, on_a_terminal("shell", server.url, XDG_STATE_HOME=str(tmp_path)) as terminal:
        terminal.read_until("# for example")
        assert server.stop() == 0
        terminal.at_prompt("await connection.wait_closed(); await root.call('echo', 1)\n")
        terminal.read_until("\nDeadReferenceError: the connection has ended (")
        terminal.at_prompt("\x04")
        terminal.read_to_end()
    assert terminal.process.returncode == 0


def test_a_reader_of_a_script_that_goes_away_is_no_error(desk: Serving) -> None:
    with subprocess.Popen(
        [*PB, "shell", desk.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=SERVED,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        _, complaint = process.communicate("for number in range(100_000): print(number)", PATIENCE)
        assert (process.returncode, complaint) == (0, "")


def test_a_pipe_of_the_script_itself_that_breaks_is_its_error(desk: Serving) -> None:
    done = pb("shell", desk.url, stdin="raise BrokenPipeError('of its own')")
    assert (done.returncode, done.stderr) == (3, "pb: line 1: of its own\n")
