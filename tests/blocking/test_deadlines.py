"""Time limits of calls: the timeout of the connection, and deadlines, which cross."""

from __future__ import annotations

import time
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker import blocking

from .desk import Served, eventually


def test_the_timeout_of_connect_bounds_each_call(modern: Served) -> None:
    with blocking.connect(modern.url, timeout=1) as root:
        for _ in range(2):
            with pytest.raises(
                pb.DeadlineExceeded, match=r"wait: no answer within 1 s \(the timeout of connect\)"
            ):
                root.wait()
        eventually(lambda: modern.desk.stopped == ["wait", "wait"])
        assert modern.desk.remaining is None  # this limit is the caller's own
        assert root.room("a").say("the connection goes on") == 1


def test_references_and_callbacks_have_the_timeout_of_their_connection(modern: Served) -> None:
    with blocking.connect(modern.url, timeout=1) as root:
        again = root.echo([root])[0]
        with pytest.raises(pb.DeadlineExceeded):
            again.wait()


def test_a_timeout_on_the_classic_dialect_ends_the_wait(desk: Served) -> None:
    with blocking.connect(desk.url) as root:
        with pytest.raises(TimeoutError), blocking.deadline(0.3):
            root.wait()
        assert root.echo(1) == 1


def test_a_deadline_takes_the_place_of_the_timeout_and_crosses(modern: Served) -> None:
    with blocking.connect(modern.url, timeout=1) as root:
        began = time.monotonic()
        with pytest.raises(TimeoutError), blocking.deadline(0.3):
            root.wait()
        assert time.monotonic() - began < 1
        assert modern.desk.remaining is not None
        assert 0 < modern.desk.remaining < 0.31
        eventually(lambda: modern.desk.stopped == ["wait"])


def test_a_deadline_that_has_passed_calls_nothing(root: Any, desk: Served) -> None:
    with blocking.deadline(0):
        with pytest.raises(pb.DeadlineExceeded, match="had passed before") as raised:
            root.note("x")
        assert raised.value.ran is False
        with pytest.raises(pb.DeadlineExceeded):
            blocking.connect(desk.url)
    assert root.notes() == []


def test_an_inner_deadline_never_ends_later(root: Any) -> None:
    with blocking.deadline(0), blocking.deadline(60), pytest.raises(pb.DeadlineExceeded):
        root.echo(1)
    with blocking.deadline(60), blocking.deadline(None):
        assert root.echo(1) == 1
        assert pb.remaining() is not None
    assert pb.remaining() is None


def test_a_deadline_is_entered_once_and_is_a_number() -> None:
    once = blocking.deadline(1)
    with once:
        pass
    with pytest.raises(RuntimeError, match="once"):
        once.__enter__()
    with pytest.raises(TypeError, match="number of seconds"):
        blocking.deadline("1")  # type: ignore[arg-type]


def test_a_callback_works_under_the_deadline_of_its_caller(modern: Served) -> None:
    left: list[Any] = []

    def ask() -> None:
        left.append(pb.remaining())
        left.append(modern_root.call_back(pb.callback(pb.remaining)))

    with blocking.connect(modern.url) as modern_root:
        with blocking.deadline(60):
            modern_root.call_back(pb.callback(ask))
        modern_root.call_back(pb.callback(ask))
    assert 59 < left[1] < 60.1
    assert 59 < left[0] < 60.1
    assert left[2:] == [None, None]
