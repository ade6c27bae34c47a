"""Forks, and the end of a process."""

from __future__ import annotations

import sys
import time

import pytest

from .desk import Served, eventually, program

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")

#: Python 3.12 warns of every fork of a process with threads.
HEAD = """
import os, sys, threading, time, warnings
warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*fork")
import perspective_broker as pb
from perspective_broker import blocking

url = sys.argv[1]
"""

OS_FORK = (
    HEAD
    + """
own = blocking.EventLoopThread()
kept = blocking.connect(url, thread=own)
root = blocking.connect(url)
room = root.room("a")
items = iter(root.count(10))
next(items)
child = os.fork()
if child == 0:
    for use in (lambda: root.echo(1), lambda: room.say("x"), lambda: room.tell("say", "x"), lambda: kept.echo(1),
                lambda: list(root.count(2)), lambda: room.release()):
        try:
            use()
        except pb.UsageError as error:
            assert "before this process forked" in str(error) and "connect again" in str(error), error
        else:
            os._exit(3)
    root.close()  # which the parent does
    again = blocking.connect(url)
    assert again.echo("child") == "child"
    with blocking.connect(url, thread=own) as third:
        assert third.echo("own") == "own"
    del root, room, kept
    import gc; gc.collect()
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert root.echo("parent") == "parent" and room.say("x") == 1 and list(items) == list(range(1, 10))
assert kept.echo("own") == "own"
print("well", flush=True)
"""
)

MULTIPROCESSING = (
    HEAD
    + """
import multiprocessing

def work(number):
    with blocking.connect(url) as mine:
        return mine.echo(number)

def leave():
    assert blocking.connect(url).echo(1) == 1  # and is not closed

if __name__ == "__main__":
    root = blocking.connect(url)
    assert root.echo(1) == 1
    fork = multiprocessing.get_context("fork")
    with fork.Pool(2) as pool:
        assert pool.map(work, range(10)) == list(range(10))
    process = fork.Process(target=leave)
    process.start()
    process.join()
    assert process.exitcode == 0
    assert root.echo(2) == 2
    print("well", flush=True)
"""
)

#: A child that lives on must not keep the connection of its parent open.
LIVES_ON = (
    HEAD
    + """
root = blocking.connect(url)
child = os.fork()
if child == 0:
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)
    sys.stdin.read()
    os._exit(0)
print(child, flush=True)
os._exit(0)
"""
)

ENDS = (
    HEAD
    + """
root = blocking.connect(url)
server = blocking.serve(pb.Root(), "tcp://127.0.0.1:0")
other = blocking.connect(server.urls[0])
stream = iter(root.count(1000))
next(stream)
print("well", flush=True)
"""
)

BUSY = (
    HEAD
    + """
root = blocking.connect(url)

def wait():
    try:
        root.wait()
    except (pb.BrokerError, SystemExit):
        pass

threading.Thread(target=wait, daemon=True).start()
stuck = threading.Event()

async def block_the_loop():
    stuck.set()
    time.sleep(1000)

{what}
print("well", flush=True)
"""
)


def test_after_a_fork_the_child_connects_again_and_the_parent_goes_on(desk: Served) -> None:
    with program(OS_FORK, desk.url) as running:
        assert running.end() == (0, "well\n", "")
    eventually(lambda: len(desk.desk.lost) == 4)
    assert desk.desk.lost == [desk.closed] * 4


def test_processes_of_multiprocessing_connect_and_leave_with_a_farewell(modern: Served) -> None:
    with program(MULTIPROCESSING, modern.url) as running:
        assert running.end() == (0, "well\n", "")
    eventually(lambda: len(modern.desk.lost) == 12)
    assert modern.desk.lost == ["closed"] * 12


def test_a_forked_child_does_not_keep_the_connection_of_its_parent(modern: Served) -> None:
    import os
    import signal

    with program(LIVES_ON, modern.url) as running:
        child = int(running.line())
        try:
            eventually(lambda: modern.desk.lost == ["lost"])
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_program_that_closes_nothing_ends_with_a_farewell(desk: Served) -> None:
    with program(ENDS, desk.url) as running:
        assert running.line() == "well"
        assert running.end() == (0, "", "")
    eventually(lambda: desk.desk.lost)
    assert desk.desk.lost == [desk.closed]


@pytest.mark.parametrize(
    "what",
    [
        "pass",
        "blocking.EventLoopThread.shared().running().soon(time.sleep, 1000)",
        "root.tell('call_back', pb.callback(lambda: time.sleep(1000)))",
    ],
)
def test_the_end_does_not_wait_for_what_hangs(modern: Served, what: str) -> None:
    with program(BUSY.format(what=what), modern.url) as running:
        assert running.line() == "well"
        began = time.monotonic()
        status, _, errors = running.end()
        assert time.monotonic() - began < 5  # a second, and what a busy machine adds
        assert (status, errors) == (0, "")
