"""``pb call`` in processes of its own, against our server and a real Twisted one."""

from __future__ import annotations

import json
import socket
import subprocess

import pytest

from tests.cli.processes import PATIENCE, PB, SERVED, Serving, environment, pb, serving
from tests.cli.terminal import on_a_terminal
from tests.interop.rig import twisted_server
from tests.interop.twisted_env import today


def test_text_is_printed_as_it_is(desk: Serving) -> None:
    done = pb("call", desk.url, "echo", "hello, wörld")
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello, wörld\n", "")


def test_arguments_are_literals_or_text_and_keywords(desk: Serving) -> None:
    done = pb("call", desk.url, "echo", "-1", "[2, 'x']", "plain", "depth=3", "name=a b", "--", "--dialect")
    assert done.stdout == "[(-1, [2, 'x'], 'plain', '--dialect'), {'depth': 3, 'name': 'a b'}]\n"


def test_none_prints_nothing(desk: Serving) -> None:
    done = pb("call", desk.url, "echo", "None")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_json(desk: Serving) -> None:
    done = pb("call", desk.url, "echo", "--json", "{'a': (1, b'x'), 'b': None}")
    assert json.loads(done.stdout) == {"a": [1, {"base64": "eA=="}], "b": None}


def test_an_answer_without_json_is_an_error_in_one_line(desk: Serving) -> None:
    done = pb("call", desk.url, "cycle", "--json", "--dialect", "pb")
    assert done.returncode == 1
    assert done.stderr == "pb: the answer cannot be shown: a value that contains itself has no JSON form\n"
    assert pb("call", desk.url, "cycle", "--dialect", "pb").stdout == "[[...]]\n"


def test_a_reference_is_shown_and_leaves_no_noise(desk: Serving) -> None:
    done = pb("call", desk.url, "drawer", "top")
    assert done.returncode == 0
    assert (done.stdout, done.stderr) == ("Drawer\n  label()\n", "")
    done = pb("call", desk.url, "drawer", "top", "--json")
    assert json.loads(done.stdout)["reference"].startswith("<RemoteReference 1 at ")
    done = pb("call", desk.url, "drawer", "top", "--dialect", "pb")
    assert done.stdout.startswith("<RemoteReference 1 at ")


def test_items_of_a_stream_are_printed_one_a_line(desk: Serving) -> None:
    assert pb("call", desk.url, "ticks", "3").stdout == "0\n1\n2\n"
    assert pb("call", desk.url, "ticks", "2", "item=a b").stdout == "a b\na b\n"
    assert pb("call", desk.url, "ticks", "1", r"item='a\nb'").stdout == "'a\\nb'\n"
    assert pb("call", desk.url, "ticks", "1", "item={'a': (1, None)}").stdout == "{'a': (1, None)}\n"
    done = pb("call", desk.url, "ticks", "2", "item={'a': (1, None)}", "--json")
    assert done.stdout == '{"a": [1, null]}\n' * 2
    assert pb("call", desk.url, "ticks", "0").stdout == ""


def test_what_came_before_a_stream_broke_is_printed(desk: Serving) -> None:
    done = pb("call", desk.url, "broken")
    assert (done.returncode, done.stdout, done.stderr) == (1, "1\n", "pb: ValueError: no more\\x1b[2J\n")


def test_items_come_as_they_are_sent_and_outlast_the_timeout(desk: Serving) -> None:
    arguments = ("call", desk.url, "ticks", "1", "item='\\x1b[2J'", "hang=True", "--timeout", "2")
    with on_a_terminal(*arguments) as terminal:
        terminal.read_until("\\x1b[2J\r\n")
        terminal.interrupt()
        terminal.read_to_end()
    assert terminal.process.returncode == 130


def test_a_reader_that_has_seen_enough_of_a_stream_is_no_error(desk: Serving) -> None:
    with subprocess.Popen(
        [*PB, "call", desk.url, "ticks", "100000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=SERVED,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "0\n"
        process.stdout.close()
        _, complaint = process.communicate(timeout=PATIENCE)
        assert (process.returncode, complaint) == (0, "")


def test_without_a_method_it_lists_them(desk: Serving) -> None:
    done = pb("call", desk.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(
        "Desk\n  echo(*args, **kwargs)\n      Return the arguments.\n  fail(text)\n"
    )
    assert json.loads(pb("call", desk.url, "--json").stdout)[:2] == ["echo", "fail"]
    done = pb("call", desk.url, "--dialect", "pb")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("pb: the peer does not describe its objects (")


def test_arguments_as_json(desk: Serving) -> None:
    assert pb("call", desk.url, "echo", "--data", '{"a": [1, null], "b c": 2.5}').stdout == (
        "[(), {'a': [1, None], 'b c': 2.5}]\n"
    )
    assert pb("call", desk.url, "echo", "--data", "[1, 100000000000000000000]").stdout == (
        "[(1, 100000000000000000000), {}]\n"
    )
    assert pb("call", desk.url, "echo", "--data", "-", stdin='["from a pipe"]\n').stdout == "from a pipe\n"


def test_what_the_peer_raises_is_one_line(desk: Serving) -> None:
    done = pb("call", desk.url, "fail", "no\nsuch\x1b[31m luck")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == "pb: ValueError: no\\nsuch\\x1b[31m luck\n"


def test_an_expected_condition_of_the_peer(desk: Serving) -> None:
    done = pb("call", desk.url, "busy", "later")
    assert (done.returncode, done.stderr) == (1, "pb: desk.Busy: later\n")


def test_a_missing_method(desk: Serving) -> None:
    done = pb("call", desk.url, "ecko")
    assert (done.returncode, done.stderr) == (
        1,
        "pb: NoSuchMethod: Desk has no method 'ecko' for its callers\n",
    )


def test_an_object_that_the_peer_does_not_serve(desk: Serving) -> None:
    done = pb("call", desk.url, "echo", "1", "--object", "drawer")
    assert (done.returncode, done.stderr) == (1, "pb: UnknownObject: no object lives under that id\n")
    done = pb("call", desk.url, "echo", "1", "--object", "")
    assert done.returncode == 2
    assert "the name of an object has 1 to 256 bytes, not 0" in done.stderr


def test_a_class_that_is_not_registered_and_one_that_is_imported(desk: Serving) -> None:
    done = pb("call", desk.url, "note", "remember")
    assert done.returncode == 1
    assert done.stderr.startswith(
        "pb: BadAnswer: the method has run, but its answer cannot be read here: 'desk.Note' "
    )
    assert done.stderr.count("\n") == 1
    assert pb("call", desk.url, "note", "remember", "--import", "notes").stdout == "<Note 'remember'>\n"
    assert json.loads(pb("call", desk.url, "note", "it", "--import", "notes", "--json").stdout) == {
        "text": "it"
    }


def test_a_registered_exception_is_the_peers_too(desk: Serving) -> None:
    done = pb("call", desk.url, "busy", "later", "--import", "notes")
    assert (done.returncode, done.stderr) == (1, "pb: desk.Busy: later\n")


def test_an_argument_that_cannot_cross(desk: Serving) -> None:
    done = pb("call", desk.url, "echo", "--dialect", "pb", "...")
    assert done.returncode == 2
    assert done.stderr.startswith("pb: cannot be sent: args[0]: ")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("nowhere", "echo"), "'nowhere' is not a url of a perspective broker"),
        ((), "parameter URL requires an argument. (see: pb call --help)"),
        (("tcp://127.0.0.1:1", "--data", "[]"), "--data needs a METHOD to call"),
        (("tcp://127.0.0.1:1", "echo", "1", "--data", "[]"), "--data holds all arguments"),
        (("tcp://127.0.0.1:1", "echo", "--data", "5"), "--data takes a JSON object"),
        (("tcp://127.0.0.1:1", "echo", "--data", '{"a": '), "--data is not JSON: Expecting value in line 1"),
        (("tcp://127.0.0.1:1", "echo", "--data", "[NaN]"), "--data is not JSON: NaN is no number of JSON"),
        (("tcp://127.0.0.1:1", "echo", "--data", "[" * 100_000), "--data is not JSON: "),
        (
            ("tcp://127.0.0.1:1", "echo", "--data", "-", "--user", "x", "--password-file", "-"),
            "--data - and --password-file - both read standard input",
        ),
        (("tcp://127.0.0.1:1", "echo", "--tmeout", "3"), "Did you mean --timeout?"),
        (("tcp://127.0.0.1:1", "echo", "--timeout", "soon"), "Invalid value for --timeout"),
        (("tcp://127.0.0.1:1", "echo", "a=1", "a=2"), "the keyword argument 'a' is given twice"),
        (("tcp://127.0.0.1:1", "echo", "--dialect", "klingon"), "klingon"),
        (
            ("tls://127.0.0.1:1", "echo", "--tls-ca", "nothing.pem"),
            "nothing.pem: No such file or directory",
        ),
        (("tcp://127.0.0.1:1", "echo", "--import", "nothing"), "there is no module 'nothing' in"),
    ],
)
def test_wrong_usage_is_one_line_and_2(arguments: tuple[str, ...], complaint: str) -> None:
    done = pb("call", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("pb: ")
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
    done = pb("call", url, "echo", "1")
    assert (done.returncode, done.stderr) == (3, f"pb: no connection to {url}: Connection refused\n")


def test_somebody_who_never_greets() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        done = pb("call", url, "echo", "1", "--timeout", "0.2")
    assert (done.returncode, done.stderr) == (3, f"pb: no connection to {url} within 0.2 s\n")


def test_an_answer_that_never_comes(desk: Serving) -> None:
    done = pb("call", desk.url, "hang", "--timeout", "1")  # enough to connect, on a busy machine
    assert (done.returncode, done.stderr) == (3, f"pb: {desk.url} did not answer 'hang' within 1 s\n")


def test_a_server_that_dies_in_the_middle() -> None:
    with serving() as server:
        done = pb("call", server.url, "die")
        assert server.process.wait(PATIENCE) == 70
    assert done.returncode == 3
    assert done.stderr.startswith("pb: lost: ")
    assert done.stderr.count("\n") == 1


def test_on_a_terminal_a_peers_text_cannot_act(desk: Serving) -> None:
    with on_a_terminal("call", desk.url, "echo", r"'two\nlines\x1b[2J'") as terminal:
        assert terminal.read_to_end().replace("\r\n", "\n") == "two\nlines\\x1b[2J\n"


def test_on_a_terminal_a_long_value_is_laid_out(desk: Serving) -> None:
    with on_a_terminal("call", desk.url, "echo", repr(["a" * 50, "b" * 50, "c" * 50])) as terminal:
        assert len(terminal.read_to_end().splitlines()) > 3


def test_a_twisted_server() -> None:
    with twisted_server(today(), unix=True) as server:
        assert pb("call", server.tcp, "add", "2", "b=3").stdout == "5\n"
        assert pb("call", server.unix, "echo", "[1, 'two', b'3']").stdout == "[1, 'two', b'3']\n"
        done = pb("call", server.tcp, "value_error", "of theirs")
        assert (done.returncode, done.stderr) == (1, "pb: ValueError: of theirs\n")
        assert pb("call", server.tcp, "no_such_method").returncode == 1
