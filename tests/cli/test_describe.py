"""``pb describe`` in processes of its own."""

from __future__ import annotations

import json

import pytest

from tests.cli.processes import Serving, pb, serving
from tests.cli.terminal import on_a_terminal
from tests.interop.rig import twisted_server
from tests.interop.twisted_env import today


def test_an_object(desk: Serving) -> None:
    done = pb("describe", desk.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(
        "Desk\nA desk to play with.\n\nIt has drawers.\n\n"
        "echo(*args, **kwargs)\n    Return the arguments.\n\n    One by itself, several in a list.\n\nfail(text)\n\n"
    )
    assert "\n\nticks(count, *, item=..., hang=...) -> stream\n    Yield so many numbers" in done.stdout


def test_one_of_its_methods(desk: Serving) -> None:
    done = pb("describe", desk.url, "drawer")
    assert (done.returncode, done.stdout) == (0, "drawer(label)\n")
    done = pb("describe", desk.url, "drawr")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "pb: Desk has no method 'drawr'; did you mean 'drawer'?\n"


def test_json(desk: Serving) -> None:
    whole = json.loads(pb("describe", desk.url, "--json").stdout)
    assert sorted(whole) == ["doc", "interfaces", "methods", "name"]
    method = json.loads(pb("describe", desk.url, "drawer", "--json").stdout)
    assert method in whole["methods"]
    assert method["parameters"] == {
        "type": "object",
        "properties": {"label": {}},
        "required": ["label"],
        "additionalProperties": False,
    }


def test_objects_of_other_kinds() -> None:
    with serving("desk:rooms") as server:
        shown = pb("describe", server.url, "--object", "list").stdout
        assert "\n\nindex(value, start=..., stop=..., /)\n    Return first index of value.\n" in shown
        assert pb("describe", server.url, "--object", "nothing").stderr == (
            "pb: UnknownObject: no object lives under that id\n"
        )
    with serving("desk:NoMethods") as server:
        assert pb("describe", server.url).stdout == "NoMethods\n\n(no methods)\n"
        assert pb("call", server.url).stdout == "NoMethods\n  (no methods)\n"


def test_a_server_that_keeps_it_to_itself() -> None:
    with serving("desk:Desk", "--no-describe") as server:
        assert pb("describe", server.url).returncode == 1
        assert pb("call", server.url).returncode == 1
        assert pb("call", server.url, "echo", "1").stdout == "1\n"
        assert pb("call", server.url, "drawer", "x").stdout.startswith("<RemoteReference 1 at ")
        assert pb("watch", server.url, "ticks", "1").stdout == "0\n"
        assert pb("shell", server.url, stdin="root.echo(1)").stdout == "1\n"


@pytest.mark.parametrize("options", [("--dialect", "pb"), ()])
def test_a_peer_that_does_not(desk: Serving, options: tuple[str, ...]) -> None:
    complaint = (
        "pb: the peer does not describe its objects (it speaks pb7, and knows the user or is of this machine,"
        " where it does)\n"
    )
    if options:
        done = pb("describe", desk.url, *options)
    else:
        with serving("desk:make_rooms") as server:  # where a login is waited for
            done = pb("describe", server.url, "--object", "drawer")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", complaint)


def test_a_twisted_server() -> None:
    with twisted_server(today()) as server:
        assert pb("describe", server.tcp).returncode == 1


def test_on_a_terminal_a_peers_text_cannot_act() -> None:
    with serving("desk:Hostile") as server, on_a_terminal("describe", server.url) as terminal:
        shown = terminal.read_to_end().replace("\r\n", "\n")
    assert shown == (
        "a\\x1b[2Jb\\nc (I\\rJ)\nd\\x07\n    [bold]\n\ne\\x1b]0;x(\\u202e) -> stream\n    f\\x9b\n"
    )


def test_what_is_no_description_is_an_error() -> None:
    with serving("desk:Rude") as server:
        done = pb("describe", server.url)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "pb: BadAnswer: pb:describe: the answer is not a description: Expected `object`"
    )
    assert done.stderr.count("\n") == 1
