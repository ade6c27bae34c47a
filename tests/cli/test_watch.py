"""``pb watch`` in processes of its own: streams, live and other cached objects, whose classes it does not know."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.cli.processes import PATIENCE, PB, SERVED, Serving, environment, pb, serving
from tests.cli.terminal import on_a_terminal


@pytest.fixture
def game() -> Iterator[Serving]:
    """A server of one test, which changes what it serves."""
    with serving() as server:
        yield server


def watching(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*PB, "watch", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=SERVED,
        env=environment(),
    )


@pytest.mark.parametrize("dialect", ["pb7", "pb"])
@pytest.mark.parametrize("options", [(), ("--json",), ("--import", "desk")])
def test_a_live_object(game: Serving, dialect: str, options: tuple[str, ...]) -> None:
    with watching(game.url, "score", "--dialect", dialect, *options) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline().replace("'", '"')) == {"home": 0, "guests": 0}
        for goals in (1, 2):
            assert pb("call", game.url, "goal").returncode == 0
            assert json.loads(process.stdout.readline().replace("'", '"')) == {"home": goals}
        process.send_signal(signal.SIGINT)
        rest, complaint = process.communicate(timeout=PATIENCE)
        assert (process.returncode, rest, complaint) == (130, "", "")


def test_the_end_of_the_connection(game: Serving) -> None:
    with watching(game.url, "score") as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert game.stop() == 0
        rest, complaint = process.communicate(timeout=PATIENCE)
        assert (process.returncode, rest) == (3, "")
        assert complaint.startswith("pb: ")
        assert "the server was closed" in complaint


def test_another_cached_object(desk: Serving) -> None:
    for options, line in (((), "moved(3, by='a\\nb')\n"), (("--json",), '{"update": "moved", "args": [3], ')):
        with watching(desk.url, "board", *options) as process:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline().replace("'", '"')) == {"at": 0}
            assert process.stdout.readline().startswith(line)
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 130


def test_updates_that_end(desk: Serving) -> None:
    done = pb("watch", desk.url, "flawed")
    assert (done.returncode, done.stdout, done.stderr) == (0, "{'at': 0}\n", "")


def test_a_stream(desk: Serving) -> None:
    for dialect in ("pb7", "pb"):
        done = pb("watch", desk.url, "ticks", "2", "--dialect", dialect)
        assert (done.returncode, done.stdout, done.stderr) == (0, "0\n1\n", "")
    assert pb("watch", desk.url, "ticks", "--data", '{"count": 1, "item": "x"}', "--json").stdout == '"x"\n'
    done = pb("watch", desk.url, "broken")
    assert (done.returncode, done.stdout, done.stderr) == (1, "1\n", "pb: ValueError: no more\\x1b[2J\n")


@pytest.mark.parametrize("call", [("echo", "1"), ("echo", "None"), ("drawer", "top")])
def test_what_does_not_change(desk: Serving, call: tuple[str, ...]) -> None:
    done = pb("watch", desk.url, *call)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"pb: {call[0]!r} returns nothing that changes: a live object (pb.Live), another pb.Cacheable, or a stream\n"
    )


def test_errors_are_those_of_other_commands(desk: Serving) -> None:
    assert pb("watch", desk.url, "fail", "no").stderr == "pb: ValueError: no\n"
    assert pb("watch", desk.url, "hang", "--timeout", "1").returncode == 3
    assert "METHOD requires an argument" in pb("watch", desk.url).stderr


def test_on_a_terminal_a_peers_text_cannot_act(desk: Serving) -> None:
    with on_a_terminal("watch", desk.url, "ticks", "1", r"item={'\x1b[2J': '\x07' * 1}") as terminal:
        assert "\x1b[2J" not in terminal.read_to_end()
    with on_a_terminal("watch", desk.url, "ticks", "1", r"item={'\x1b[2J': '\x07'}") as terminal:
        assert terminal.read_to_end() == "{'\\x1b[2J': '\\x07'}\r\n"
