"""``pb call`` in processes of its own, against our server and a real Twisted one."""

from __future__ import annotations

import json
import socket

import pytest

from tests.cli.processes import PATIENCE, Serving, pb, serving
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
    assert done.stdout.startswith("<RemoteReference 1 at ")
    assert done.stderr == ""


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
        (("tcp://127.0.0.1:1",), "parameter METHOD requires an argument. (see: pb call --help)"),
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
