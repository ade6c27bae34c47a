"""Stages a case: a hostile peer on a real socket, the subject in a process of its own, a bystander in a third.

Every case is staged in the same way (:func:`stage`), and ends with the five invariants of the table, checked by
:meth:`Stage.check_invariants`:

- **I1** each pending call of the connection has ended exactly once, with a typed error, and not too early;
- **I2** tables, buffers and tasks of the subject have the same sizes as before;
- **I3** the bystander was served, and at no time did the loop work longer than :data:`LONGEST_TURN` at a stretch;
- **I4** the log has at most a few records, none above 1 KB;
- **I5** no reply was larger than 1 KB, nor contained more than 64 bytes of the peer's messages.

The rig polls for states that it waits for, with a time limit that only a broken subject reaches.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from perspective_broker.dialects.classic.banana import encode
from perspective_broker.dialects.classic.vocabulary import NONE
from perspective_broker.session.reports import RATE
from perspective_broker.testing import ScriptedPeer
from tests.library import PYTHONPATH

from .cases import CANARY, Case, Direction, Stand
from .words import Heard, Words, words_of

__all__ = ["Stage", "Subject", "stage", "subject_process"]

ROOT = Path(__file__).resolve().parents[2]

#: Seconds. They only limit the time that a broken subject can take.
PATIENCE = 120.0

#: Seconds of processor time that the subject's loop may work at a stretch. The goal is 50 ms; the test allows for a
#: processor four times as slow as the one on which that was measured.
LONGEST_TURN = 0.2

#: Bytes of one reply, and of one record in the log.
LARGEST_REPLY = LARGEST_RECORD = 1024

#: Bytes that a connection may cost at its peak if its peer has announced much (640 KiB, or 16 MiB) and sent nothing:
#: the 64 KiB of the design, including its own set-up, and the buffer that asyncio allocates for every read.
MOST_MEMORY = (64 + 256) * 1024

#: Records in the log that one connection may cause in an instant: start, end, and the lines below the allowance.
MOST_RECORDS = 24


class Subject:
    """The process under attack, and its control socket."""

    def __init__(self, control: socket.socket, errors: Path) -> None:
        control.settimeout(PATIENCE)
        self._errors = errors
        self._lines = control.makefile("rw", encoding="utf-8")
        self.urls: dict[str, str] = self._hear()

    def ask(self, do: str, **what: Any) -> dict[str, Any]:
        """Send the subject a request, and return its answer."""
        self._lines.write(json.dumps({"do": do, **what}) + "\n")
        self._lines.flush()
        return self._hear()

    def _hear(self) -> dict[str, Any]:
        line = self._lines.readline()
        assert line, f"the subject has ended: {self._errors.read_text()[-4000:]}"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """Let it end."""
        self._lines.close()


@contextlib.contextmanager
def subject_process(directory: Path, *options: str) -> Iterator[Subject]:
    """Run a subject with its options and a bystander within the block; both must end well."""
    ours, its = socket.socketpair()
    errors = directory / "subject.log"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment |= {"PYTHONPATH": PYTHONPATH, "PYTHONWARNINGS": "error"}
    with (
        its,
        ours,
        errors.open("w") as log,
        subprocess.Popen(
            [sys.executable, "-m", "tests.robustness.subject", str(its.fileno()), *options],
            cwd=ROOT,
            env=environment,
            pass_fds=[its.fileno()],
            stderr=log,
        ) as process,
    ):
        its.close()
        try:
            subject = Subject(ours, errors)
            with subprocess.Popen(
                [sys.executable, "-m", "tests.robustness.bystander", subject.urls["desk"]],
                cwd=ROOT,
                env=environment,
                stderr=log,
            ) as bystander:
                try:
                    while not subject.ask("state")["ticks"]:
                        assert bystander.poll() is None, errors.read_text()[-4000:]
                    yield subject
                    subject.close()
                    ours.close()
                    assert process.wait(PATIENCE) == 0, errors.read_text()[-4000:]
                    assert bystander.wait(PATIENCE) == 0, errors.read_text()[-4000:]
                finally:
                    bystander.kill()
        finally:
            process.kill()
    assert not errors.read_text(), errors.read_text()[-4000:]


class Stage:
    """One case under way.

    Attributes:
        subject: the process under attack.
        peer: the hostile side's connection; bytes.
        words: its dialect.
        case: the case.
        direction: the side that is attacked.
        heard: the subject's messages since the input of the case, oldest first.
        pending: the id of the subject's call that waits for an answer of the hostile side, or 0.
    """

    def __init__(
        self, subject: Subject, peer: ScriptedPeer, words: Words, case: Case, direction: Direction
    ) -> None:
        self.subject = subject
        self.peer = peer
        self.words = words
        self.case = case
        self.direction = direction
        self.heard: list[Heard] = []
        self.pending = 0
        self.began = time.monotonic()
        self.before: dict[str, Any] = {}
        self.tables: dict[str, Any] = {}  # the sizes before the input of the case

    # -- receiving

    async def hear(self) -> Heard | None:
        """Return the next message of the subject; None at the end of the connection."""
        while True:
            heard = self.words.hear(self.peer.received)
            if heard is not None:
                self.heard.append(heard)
                return heard
            if self.peer.ended:
                return None
            self.peer._news.clear()
            await self.peer._news.wait()

    async def hear_end_of(self, request: int) -> Heard:
        """Return the answer, or the error, of a call of the hostile side's."""
        while heard := await self.hear():
            if heard.kind in ("answer", "error") and heard.number == request:
                return heard
        raise AssertionError(f"the connection has ended: {self.causes()}, {self.heard}")

    async def hear_all(self) -> None:
        """Hear until the subject hangs up."""
        while await self.hear():
            pass

    # -- asking the subject

    def state(self) -> dict[str, Any]:
        """Ask how everything is."""
        return self.subject.ask("state")

    def causes(self) -> list[str]:
        """Why connections have ended since the case began."""
        causes: list[str] = self.state()["causes"]
        return causes

    async def until(self, what: str, condition: Any) -> dict[str, Any]:
        """Wait until the subject's state fulfils a condition, and return it."""
        async with asyncio.timeout(PATIENCE):
            while True:
                state = self.state()
                try:
                    wrong = condition(state)
                except LookupError as error:
                    wrong = repr(error)
                if not wrong:
                    return state
                await asyncio.sleep(0.005)
        raise AssertionError(what)

    async def until_ended(self, code: str) -> None:
        """Wait until the connection has ended with that cause."""
        state = await self.until("the end", lambda state: not state["causes"])
        assert state["causes"] == [code]

    # -- sending

    async def say(self) -> None:
        """Send the input of the case."""
        for piece in self.case.pieces(self.words):
            if self.peer.ended:
                return
            if piece is None:
                await self.hear_end_of(self.words.last_request)
            else:
                self.peer.send_bytes(piece)
                await asyncio.sleep(self.case.pause)

    async def hang_up(self) -> None:
        """End the connection; bytes that the subject does not read are lost."""
        if not self.peer.ended and self.case.is_large:
            self.peer.abort()
        await self.peer.aclose()

    async def probe(self) -> None:
        """The connection is kept: an honest call is answered."""
        self.peer.send_bytes(self.words.call(*self.case.probe, to=self.probe_target))
        heard = await self.hear_end_of(self.words.last_request)
        assert heard.kind == "answer", heard

    @property
    def probe_target(self) -> Any:
        """The target of honest calls."""
        return "root" if self.direction == "server" else 1

    # -- judging

    async def check_invariants(self) -> None:
        """Judge the invariants, after the case's own verdict. The hostile side hangs up."""
        before, ended = self.before, self.peer.ended
        if self.pending and not self.case.ends_pending:
            pending = "meet" if self.direction == "client" else "later"
            if not ended:
                assert self.state()["outcomes"] == [], "I1: a pending call has ended before its time"
            await self.hang_up()
            state = await self.until("I1", lambda state: not state["outcomes"])
            assert state["outcomes"] == [[pending, "ConnectionLost", ""]], "I1"
        await self.hang_up()

        def left(state: dict[str, Any]) -> list[str]:
            names = ("connections", "remembered", "tasks")
            return [f"{name}: {state[name]}" for name in names if state[name] != before[name]]

        try:
            state = await self.until("I2", left)
        except TimeoutError:
            raise AssertionError(f"I2: {left(self.state())} where there was {before}") from None
        served = state["ticks"]
        await self.until("I3: the bystander is served", lambda state: state["ticks"] <= served)
        assert state["longest"] < LONGEST_TURN, f"I3: {state['longest']:.3f} s at a stretch"
        if self.case.memory:
            assert 0 < state["peak"] < MOST_MEMORY, f"{state['peak']} bytes were allocated"
        log = state["log"]
        # One more line may come each second, and one with the number of lines that were left out before it.
        most = MOST_RECORDS + 2 * RATE * (time.monotonic() - self.began)
        assert len(log) <= most, f"I4: {len(log)} records: {log[:MOST_RECORDS]}"
        assert all(len(line) <= LARGEST_RECORD for line in log), f"I4: {max(log, key=len):.2000}"
        assert not any("Traceback" in line for line in log), f"I4: {log}"
        for heard in self.heard:
            assert heard.size <= LARGEST_REPLY or self.case.large_answer, f"I5: {heard}"
            assert CANARY * 3 not in repr(heard.what), f"I5: {heard}"
        assert not any(CANARY * 3 in line for line in log), "I5"
        self.figures = {"longest": state["longest"], "gap": state["gap"], "peak": state["peak"]}

    def check_tables(self) -> None:
        """A kept connection holds the same as before, nothing more (I2)."""
        assert _tables(self.state()) == self.tables, "I2"


def _tables(state: dict[str, Any]) -> dict[str, Any]:
    (connection,) = state["connections"]
    counters = ("bytes_received", "bytes_sent", "messages_received", "ignored")
    return {name: value for name, value in connection.items() if name not in counters}


@contextlib.asynccontextmanager
async def _connected(
    subject: Subject, case: Case, dialect: str, direction: Direction
) -> AsyncIterator[ScriptedPeer]:
    if direction == "server":
        async with ScriptedPeer.connect(subject.urls[case.server]) as peer:
            yield peer
    else:
        async with ScriptedPeer.listen("tcp://127.0.0.1:0") as listener:
            subject.ask("connect", url=listener.url, dialect=dialect, limits=case.server)
            yield await listener.accept()


async def stage(subject: Subject, case: Case, dialect: str, direction: Direction) -> Stage:
    """Play a case to its end, and judge it."""
    before = subject.ask("begin", memory=case.memory)
    async with asyncio.timeout(PATIENCE), _connected(subject, case, dialect, direction) as peer:
        words = words_of(dialect)
        playing = Stage(subject, peer, words, case, direction)
        playing.before = before
        await _set_up(playing)
        await playing.say()
        await case.then.judge(playing)
        await playing.check_invariants()
    return playing


async def _set_up(playing: Stage) -> None:
    """Bring the connection to where the case begins."""
    peer, words, case = playing.peer, playing.words, playing.case
    if case.stand is Stand.CONNECTED:
        return
    name = words.name.encode()
    if playing.direction == "server":
        offered = await peer.read()
        assert name in offered
        peer.send_bytes(encode(name, NONE))
    else:
        peer.send_bytes(encode([name], NONE))
        assert await peer.read() == name
    if case.stand is Stand.CHOSEN:
        return
    peer.send_bytes(words.greeting)
    greeting = await playing.hear()
    assert greeting is not None
    assert greeting.kind in ("version", "hello"), greeting
    if case.server != "login":
        if playing.direction == "server":
            peer.send_bytes(words.call("hold", words.reference(7)))
        call = await playing.hear()
        assert call is not None
        assert call.kind == "call", call
        playing.pending = call.number
        words.target = playing.probe_target
        words.pending = call.number
    await playing.probe()  # which is answered when all earlier messages have been handled
    playing.tables = _tables(playing.state())
    playing.heard.clear()
