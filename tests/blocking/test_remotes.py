"""Calls of remote objects by threads, and what comes back."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
import weakref
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker import blocking

from .desk import Served, eventually, served


def test_a_call_waits_and_returns(root: Any) -> None:
    assert root.echo("x") == "x"
    assert root.call("echo", 1) == 1
    assert root.echo(1, loud=True) == (1, {"loud": True})


def test_errors_are_those_of_the_asyncio_face(root: Any) -> None:
    with pytest.raises(pb.RemoteError, match="nothing there"):
        root.fail()
    with pytest.raises(pb.RemoteError, match="not today"):
        root.refuse()
    with pytest.raises(pb.NoSuchMethod):
        root.nothing()
    with pytest.raises(pb.BadArguments):
        root.note()
    with pytest.raises(pb.SerializationError):
        root.echo(object())


def test_references_that_come_back_are_remote_also_within_values(root: Any) -> None:
    room = root.room("a")
    assert isinstance(room, blocking.Remote)
    assert room.say("hi") == 1
    first, second = root.rooms()["rooms"]
    assert (first.say("x"), second.say("y"), first.say("z")) == (1, 1, 2)


def test_a_reference_is_an_argument_and_comes_back_as_itself(root: Any) -> None:
    room = root.room("a")
    assert root.echo(room).say("1") == 1
    assert root.echo([room])[0].say("2") == 2


def test_a_method_may_have_a_name_that_references_use(root: Any) -> None:
    room = root.room("a")
    assert room.close() == "a is closed"
    assert root.echo(1) == 1
    with pytest.raises(pb.NoSuchMethod):
        room.call("release")


def test_one_way_calls_keep_their_order(root: Any) -> None:
    for number in range(50):
        assert root.tell("note", number) is None
    assert root.notes() == list(range(50))
    with pytest.raises(pb.SerializationError):
        root.tell("note", object())


def test_a_hundred_threads_call_at_once(root: Any) -> None:
    ready = threading.Barrier(100)
    answers: dict[int, list[int]] = {}

    def call(number: int) -> None:
        ready.wait()
        answers[number] = [root.echo(number * 100 + i) for i in range(10)]

    threads = [threading.Thread(target=call, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: [number * 100 + i for i in range(10)] for number in range(100)}


def test_a_released_reference_is_dead(root: Any) -> None:
    room = root.room("a")
    room.release()
    with pytest.raises(pb.DeadReferenceError):
        room.say("x")
    with pytest.raises(pb.DeadReferenceError):
        room.tell("say", "x")


def test_the_end_of_the_connection_is_heard_in_a_thread_that_may_block(desk: Served) -> None:
    heard: list[Any] = []
    with blocking.connect(desk.url) as root, blocking.connect(desk.url) as other:

        def ended(remote: Any) -> None:
            heard.append((other.echo("still there"), remote is root))

        def never(remote: Any) -> None:
            heard.append("never")

        root.on_disconnect(ended)
        root.on_disconnect(never)
        root.dont_notify_on_disconnect(never)
        with pytest.raises(ValueError, match="not registered"):
            root.dont_notify_on_disconnect(never)
        desk.end_first()
        eventually(lambda: heard)
    assert heard == [("still there", True)]


def test_tools_may_ask_for_any_private_name(root: Any) -> None:
    for name in ("_repr_html_", "_ipython_display_", "__array__", "_x"):
        assert not hasattr(root, name)
    assert repr(root.echo) == f"<remote method echo of {root!r}>"
    assert copy.copy(root) is root
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(root)


def test_callbacks_run_in_a_thread_and_may_call_back(root: Any) -> None:
    here = threading.get_ident()

    def twice(number: int) -> int:
        assert threading.get_ident() != here
        return int(root.echo(number)) * 2

    assert root.call_back(pb.callback(twice), 4) == 8


def test_callbacks_run_in_the_order_of_their_calls_and_one_at_a_time(root: Any) -> None:
    running = 0
    began: list[int] = []

    def note(number: int) -> int:
        nonlocal running
        running += 1
        assert running == 1
        began.append(number)
        threading.Event().wait(0.001)
        running -= 1
        return number

    assert root.call_at_once(pb.callback(note), 20) == list(range(20))
    assert began == list(range(20))


def test_a_callback_that_waits_does_not_hold_up_the_next(root: Any) -> None:
    """The answer that each of them waits for is made by one more callback."""

    def down(number: int) -> int:
        return 0 if number == 0 else 1 + int(root.call_back(again, number - 1))

    again = pb.callback(down)
    assert root.call_back(again, 12) == 12


def test_a_callback_that_was_given_up_does_not_begin(modern: Served) -> None:
    with blocking.connect(modern.url, timeout=None) as root:
        release, began = threading.Event(), []

        def hold(number: int) -> None:
            began.append(number)
            release.wait()

        with pytest.raises(pb.DeadlineExceeded), blocking.deadline(0.2):
            root.call_at_once(pb.callback(hold), 3)
        assert root.echo(0) == 0  # the peer knows that the call was given up,
        modern.settle()  # and has given up the callbacks,
        assert root.echo(0) == 0  # which is known here
        release.set()
        assert root.echo(1) == 1
    assert began == [0]


class Guest(pb.Referenceable):
    def __init__(self, root: Any) -> None:
        self.root = root
        self.heard: list[Any] = []

    def remote_call(self, text: str) -> str:
        self.heard.append(threading.current_thread().name)
        return text + str(self.root.echo("!"))


class AsyncGuest(pb.Referenceable):
    def __init__(self, root: Any) -> None:
        self.root = root

    async def remote_call(self, room: Any, how: str) -> Any:
        if how == "await":
            return await room.call("say", "from the loop")
        if how == "sugar":
            return room.say("x")
        if how == "iterate":
            return list(room)
        return blocking.connect("tcp://127.0.0.1:1")


def test_plain_methods_run_in_a_worker_and_async_ones_in_the_loop(root: Any) -> None:
    guest = Guest(root)
    assert root.call_back(guest, "hi") == "hi!"
    assert guest.heard == ["perspective_broker worker"]
    room = root.room("a")
    assert root.call_back(AsyncGuest(root), room, "await") == 1


@pytest.mark.parametrize("how", ["sugar", "iterate", "connect"])
def test_a_blocking_call_in_the_thread_of_the_loop_is_an_error_at_once(root: Any, how: str) -> None:
    with pytest.raises(pb.RemoteError, match="the event loop thread itself would wait here"):
        root.call_back(AsyncGuest(root), root.room("a"), how)
    assert root.echo(1) == 1


def test_errors_of_callbacks_reach_the_caller(root: Any) -> None:
    def wrong(number: int) -> None:
        raise pb.Error(f"not {number}")

    def stop() -> None:
        raise StopIteration

    with pytest.raises(pb.RemoteError, match="not 3"):
        root.call_back(pb.callback(wrong), 3)
    with pytest.raises(pb.RemoteError, match=r"wrong|takes \(number\)"):
        root.call_back(pb.callback(wrong))
    with pytest.raises(pb.RemoteError, match="StopIteration"):
        root.call_back(pb.callback(stop))


def test_builtins_and_plain_functions_that_return_coroutines_are_callbacks(root: Any) -> None:
    heard: list[int] = []
    root.call_back(pb.callback(heard.append), 1)
    assert heard == [1]

    async def later(number: int) -> int:
        return number + 1

    assert root.call_back(pb.callback(lambda number: later(number)), 1) == 2


def test_streams_are_read_by_a_plain_for(root: Any, desk: Served) -> None:
    assert list(root.count(1000)) == list(range(1000))
    assert list(root.count(0)) == []
    broken = iter(root.broken())
    assert next(broken) == 1
    with pytest.raises(pb.RemoteError, match="no more"):
        next(broken)
    items = iter(root.count(100_000))
    assert next(items) == 0
    items.close()
    items.close()
    desk.settle()
    assert desk.desk.left_streams == 3
    for _ in root.count(100_000):
        break
    eventually(lambda: desk.desk.left_streams == 4)


def test_after_the_connection_nothing_goes(desk: Served) -> None:
    connected = blocking.connect(desk.url)
    room = connected.room("a")
    connected.close()
    connected.close()
    with pytest.raises(pb.DeadReferenceError):
        room.say("x")
    with pytest.raises(pb.DeadReferenceError):
        connected.echo(1)


def test_dir_shows_the_methods_that_the_peer_describes(modern: Served) -> None:
    with blocking.connect(modern.url) as root:
        assert {"echo", "count", "room", "call", "tell"} <= set(dir(root))
        assert "say" in dir(root.room("a"))
        released = root.room("b")
        released.release()
        assert "call" in dir(released)
    connected = blocking.connect(modern.url)
    assert {"echo", "close"} <= set(dir(connected))
    connected.close()


def test_dir_of_an_object_of_a_classic_peer_shows_what_a_reference_has(no_threads_left: None) -> None:
    with served("pb") as desk, blocking.connect(desk.url) as root:
        assert "call" in dir(root)
        assert "echo" not in dir(root)


def test_an_error_keeps_nothing_of_its_call(root: Any, desk: Served) -> None:
    """Without the garbage collector: a room that was an argument is released when its call has failed."""
    gc.disable()
    try:
        room = root.room("a")
        gone = weakref.ref(room)
        try:
            root.fail(room)
        except pb.BadArguments:
            pass
        del room
        eventually(lambda: gone() is None)
    finally:
        gc.enable()
