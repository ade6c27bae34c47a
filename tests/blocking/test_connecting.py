"""connect: its forms, options and errors."""

from __future__ import annotations

import inspect
import socket
from typing import Any, get_type_hints

import pytest

import perspective_broker as pb
from perspective_broker import blocking
from perspective_broker.blocking.connecting import ConnectOptions
from perspective_broker.blocking.serving import ServeOptions

from .desk import Served, eventually, served


def test_a_block_closes_the_connection_with_a_farewell(desk: Served) -> None:
    with blocking.connect(desk.url) as root:
        assert isinstance(root, blocking.Remote)
    assert desk.desk.lost == [desk.closed]
    with pytest.raises(ZeroDivisionError), blocking.connect(desk.url):
        raise ZeroDivisionError
    assert desk.desk.lost == [desk.closed] * 2


def test_a_value_has_the_methods_of_the_object_and_close(desk: Served) -> None:
    root = blocking.connect(desk.url)
    assert root.echo(1) == 1
    assert root.call("echo", 2) == 2
    assert root.echo([root])[0].echo(3) == 3
    assert repr(root) == f"<connected to {root.root!r}>"
    assert "close" in dir(root)
    root.close()
    assert desk.desk.lost == [desk.closed]


def test_a_stream_is_an_argument_of_for(desk: Served) -> None:
    with blocking.connect(desk.url) as root:
        assert list(root.count(3)) == [0, 1, 2]


def test_the_end_by_the_peer_is_noted(desk: Served) -> None:
    root = blocking.connect(desk.url)
    desk.end_first()
    eventually(lambda: root.root.connection.close_cause is not None)
    with pytest.raises((pb.DeadReferenceError, pb.ConnectionLost)):
        root.echo(1)
    root.close()


def test_errors_are_those_of_the_asyncio_face(desk: Served) -> None:
    with pytest.raises(ValueError, match="nowhere"):
        blocking.connect("nowhere")
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"tcp://127.0.0.1:{gone.getsockname()[1]}"
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        blocking.connect(url)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(TimeoutError, match=r"no connection to tcp://.* within 0.1 s"):
            blocking.connect(url, timeout=0.1)


def test_a_reference_that_lasts_connects_again(no_threads_left: None) -> None:
    with served("pb7") as desk:
        backoff = pb.Backoff(base=0.01)
        with blocking.connect(desk.url, reconnect=backoff) as root:
            assert isinstance(root, blocking.RemoteAlways)
            assert root.echo(1) == 1
            assert root.connected
            desk.end_first()
            assert root.echo("again") == "again"
            room = root.room("a")
            assert isinstance(room, blocking.Remote)
            assert root.echo([root])[0].echo(2) == 2
            root.tell("note", 1)
            assert root.notes() == [1]
            assert not hasattr(root, "_private")
            assert "RemoteAlways" in repr(root)


def test_what_is_derived_of_it_comes_back_too(no_threads_left: None) -> None:
    came: list[object] = []
    with (
        served("pb7") as desk,
        blocking.connect(desk.url, reconnect=pb.Backoff(base=0.01)) as root,
    ):

        def subscribe(current: Any) -> None:
            came.append(current.echo("current"))
            came.append(root.echo("the lasting one"))  # passes, although all other calls wait

        root.on_reconnect(subscribe, first=True)
        assert root.echo("behind") == "behind"
        assert came == ["current", "the lasting one"]
        by_name = root.derive("room", "a")
        by_function = root.derive(lambda current: current.room("b"))
        assert (by_name.say("hi"), by_function.say("hi")) == (1, 1)
        with pytest.raises(TypeError, match="derive: takes"):
            root.derive(len, 1)
        desk.end_first()
        assert blocking.retry(lambda: root.echo("again"), repeatable=True) == "again"
        assert (by_name.say("hi"), by_function.say("hi")) == (1, 1)
        assert len(came) == 4
        root.dont_notify_on_reconnect(subscribe)
        with pytest.raises(ValueError, match="not registered"):
            root.dont_notify_on_reconnect(subscribe)


def test_retry_waits_and_gives_up() -> None:
    errors = [pb.Unavailable("busy", "too much")]

    def call() -> int:
        if errors:
            raise errors.pop()
        return 7

    assert blocking.retry(call, backoff=pb.Backoff(base=0.001, cap=0.001)) == 7
    errors[:] = [pb.Unavailable("busy", "too much")]
    with pytest.raises(pb.Unavailable):
        blocking.retry(call, attempts=1)
    errors[:] = [pb.Unavailable("busy", "too much")]
    with pytest.raises(pb.Unavailable), blocking.deadline(1):
        blocking.retry(call, backoff=pb.Backoff(base=50, cap=50, random=lambda: 1.0))


@pytest.mark.parametrize(
    ("function", "options"),
    [(pb.connect, ConnectOptions), (pb.serve, ServeOptions)],
    ids=["connect", "serve"],
)
def test_the_options_are_those_of_the_asyncio_face(function: Any, options: Any) -> None:
    names = {
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    assert {*get_type_hints(options)} == names - {"timeout", "reconnect"}
