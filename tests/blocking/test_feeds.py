"""Plain generators and binary files as streams."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker import blocking

from .desk import Served


def test_a_generator_is_a_stream_as_an_argument(root: Any) -> None:
    assert root.collect(number for number in range(5000)) == list(range(5000))
    assert root.collect(number for number in range(0)) == []


def test_a_generator_may_block_and_call(root: Any) -> None:
    def items() -> Generator[Any, None, None]:
        for number in range(3):
            yield root.echo(number)

    assert root.collect(items()) == [0, 1, 2]


def test_an_item_arrives_before_the_next_is_made(root: Any) -> None:
    seen = threading.Event()
    closed = threading.Event()

    def items() -> Generator[int, None, None]:
        try:
            yield 1
            seen.wait()
            yield 2
        finally:
            closed.set()

    def first() -> int:
        return int(root.first(items()))

    found: list[int] = []
    caller = threading.Thread(target=lambda: found.append(first()))
    caller.start()
    seen_later = threading.Timer(0.05, seen.set)  # the generator is closed when it comes to itself
    seen_later.start()
    caller.join()
    seen_later.join()
    assert found == [1]
    assert closed.wait(60)


def test_a_generator_is_not_far_ahead_of_its_reader(root: Any) -> None:
    made: list[int] = []
    closed = threading.Event()

    def items() -> Generator[bytes, None, None]:
        try:
            for number in range(10_000):
                made.append(number)
                yield bytes(100_000)
        finally:
            closed.set()

    root.first(items())
    assert closed.wait(60)
    assert len(made) < 200


def test_the_error_of_a_generator_ends_the_stream(root: Any) -> None:
    def items() -> Generator[int, None, None]:
        yield 1
        raise pb.Error("no more items")

    with pytest.raises(pb.RemoteError, match="no more items"):
        root.collect(items())
    with pytest.raises(pb.RemoteError, match=r"no form|cannot"):
        root.collect(object() for _ in range(1))


def test_binary_files_are_streams(root: Any, tmp_path: Path) -> None:
    data = os.urandom(300_000)
    path = tmp_path / "data"
    path.write_bytes(data)
    with path.open("rb") as file:
        assert b"".join(root.collect(file)) == data
    with path.open("rb", buffering=0) as raw:
        assert root.size(raw) == len(data)
    assert root.size(io.BytesIO(data)) == len(data)


def test_what_is_no_binary_file_for_reading_is_refused(root: Any, tmp_path: Path) -> None:
    path = tmp_path / "text"
    with path.open("w") as text, pytest.raises(pb.SerializationError):
        root.size(text)
    with path.open("wb") as writing, pytest.raises(pb.SerializationError):
        root.size(writing)


def test_a_plain_method_may_return_a_generator(no_threads_left: None) -> None:
    class Numbers(pb.Root):
        def remote_numbers(self, to: int) -> Generator[int, None, None]:
            yield from range(to)

    with (
        blocking.serve(Numbers(), "tcp://127.0.0.1:0") as server,
        blocking.connect(server.urls[0]) as root,
    ):
        assert list(root.numbers(1000)) == list(range(1000))


def test_the_end_of_the_connection_closes_the_generator(desk: Served) -> None:
    began, closed = threading.Event(), threading.Event()

    def items() -> Generator[bytes, None, None]:
        try:
            while True:
                yield bytes(100_000)
                began.set()
        finally:
            closed.set()

    root = blocking.connect(desk.url)

    def collect() -> None:
        with pytest.raises(pb.ConnectionLost):
            root.collect(items())

    caller = threading.Thread(target=collect)
    caller.start()
    assert began.wait(60)
    root.close()
    caller.join()
    assert closed.wait(60)
