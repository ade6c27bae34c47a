"""Ctrl-C: real processes, real signals."""

from __future__ import annotations

import _thread
import threading
import time

import pytest

from perspective_broker.blocking import waiting

from .desk import Served, eventually, program

#: Its calls wait; after each Ctrl-C the connection is used again.
CALLS = """
import sys, time
from perspective_broker import blocking

with blocking.connect(sys.argv[1]) as root:
    for _ in range(2):
        try:
            print("calling", flush=True)
            root.wait()
        except KeyboardInterrupt:
            print("interrupted,", root.echo("and the connection lives"), flush=True)
"""

STREAM = """
import sys
from perspective_broker import blocking

with blocking.connect(sys.argv[1]) as root:
    items = iter(root.slow_stream())
    try:
        while True:
            print(next(items), flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    root.tell("go_on")
    print(next(items), root.echo("x"), flush=True)
"""

#: Nothing catches it.
LEAVES = """
import sys
from perspective_broker import blocking

with blocking.connect(sys.argv[1]) as root:
    print("calling", flush=True)
    root.wait()
"""

CONNECTS = """
import socket, sys, threading
from perspective_broker import blocking

def accept():
    with silent.accept()[0] as accepted:
        print("connecting", flush=True)
        accepted.recv(1)
        while accepted.recv(1000):
            pass

with socket.create_server(("127.0.0.1", 0)) as silent:
    threading.Thread(target=accept, daemon=True).start()
    try:
        blocking.connect(f"tcp://127.0.0.1:{silent.getsockname()[1]}")
    except KeyboardInterrupt:
        print("interrupted")
"""


def test_ctrl_c_gives_the_call_up_and_keeps_the_connection(modern: Served) -> None:
    with program(CALLS, modern.url) as running:
        for number in (1, 2):
            assert running.line() == "calling"
            assert modern.desk.began.wait(60)
            modern.desk.began.clear()
            running.interrupt()
            assert running.line() == "interrupted, and the connection lives"
            assert modern.desk.stopped == ["wait"] * number  # the peer has stopped the method
        assert running.end() == (0, "", "")
    eventually(lambda: modern.desk.lost == ["closed"])


def test_ctrl_c_on_the_classic_dialect_ends_the_wait(desk: Served) -> None:
    with program(CALLS, desk.url) as running:
        for _ in (1, 2):
            assert running.line() == "calling"
            assert desk.desk.began.wait(60)
            desk.desk.began.clear()
            running.interrupt()
            assert running.line() == "interrupted, and the connection lives"
        assert running.end() == (0, "", "")


def test_ctrl_c_that_nothing_catches_ends_the_program_with_a_farewell(modern: Served) -> None:
    with program(LEAVES, modern.url) as running:
        assert running.line() == "calling"
        assert modern.desk.began.wait(60)
        began = time.monotonic()
        running.interrupt()
        status, _, errors = running.end()
        assert time.monotonic() - began < 10
        assert status != 0
        assert errors.rstrip().endswith("KeyboardInterrupt")
    eventually(lambda: modern.desk.lost == ["closed"])
    assert modern.desk.stopped == ["wait"]


def test_ctrl_c_while_a_stream_waits_loses_no_item(modern: Served) -> None:
    with program(STREAM, modern.url) as running:
        assert running.line() == "first"
        running.interrupt()
        assert running.line() == "interrupted"
        assert running.line() == "second x"
        assert running.end() == (0, "", "")


def test_ctrl_c_ends_connecting() -> None:
    with program(CONNECTS) as running:
        assert running.line() == "connecting"
        running.interrupt()
        assert running.end() == (0, "interrupted\n", "")


def test_a_signal_that_does_not_wake_the_wait_is_seen_soon() -> None:
    lock = threading.Lock()
    lock.acquire()
    assert not waiting.acquire(lock, waiting.LOOK_UP_SECONDS * 1.5)
    assert not waiting.acquire(lock, 0)
    threading.Timer(0.05, lock.release).start()
    assert waiting.acquire(lock, None)
    threading.Timer(0.05, _thread.interrupt_main).start()  # sends no signal
    with pytest.raises(KeyboardInterrupt):
        waiting.acquire(lock, 60)


def test_a_wait_may_be_longer_than_the_system_allows() -> None:
    lock = threading.Lock()
    assert waiting.acquire(lock, 1e100)
