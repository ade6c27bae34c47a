"""One life: what decides everything that happens in it, and what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final

import perspective_broker as pb
from tests.lives.clock import Stuck, VirtualLoop
from tests.lives.course import ENDINGS, Course
from tests.lives.history import Finding, History, judge

__all__ = ["DIALECTS", "Life", "Report"]

#: Spoken by all ends of a life.
DIALECTS: Final = ("pb7", "pb")

#: How many calls and bytes no life can have under way.
_PLENTY: Final = (1024, 2**24)


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a life.

    Attributes:
        findings: laws that did not hold.
        events: one line for each thing that happened.
        calls: how many were made.
    """

    findings: tuple[Finding, ...]
    events: tuple[str, ...]
    calls: int


@dataclass(frozen=True, slots=True)
class Life:
    """The parameters of a life, which decide everything.

    Attributes:
        seed: of all that is random.
        dialect: one of :data:`DIALECTS`.
        ending: one of :data:`~tests.lives.course.ENDINGS`.
        slots: ``Limits.calls_in_flight`` of A (and of C) and of B.
        window: ``Limits.window_bytes``.
        buffer: ``Limits.write_buffer_high``.
        steps: of the main programs.
        three: whether C connects to B as well. Then there is room for all calls, because rings of calls through three
            programs may wait for each other.
        forwards: whether B passes references and calls on between A and C.
        calls: that are made at most.
    """

    seed: int
    dialect: str = "pb7"
    ending: str = "quiet"
    slots: tuple[int, int] = (1024, 1024)
    window: tuple[int, int] = (2**20, 2**20)
    buffer: tuple[int, int] = (2**20, 2**20)
    steps: tuple[int, int] = (20, 10)
    three: bool = False
    forwards: bool = False
    calls: int = 150

    @classmethod
    def draw(cls, seed: int) -> Life:
        """Return the life of a seed, with limits and all."""
        random = Random(f"life {seed}")

        def two(*choices: int) -> tuple[int, int]:
            return random.choice(choices), random.choice(choices)

        life = cls(
            seed,
            dialect=random.choice(DIALECTS),
            ending=random.choice(("quiet", *ENDINGS)),
            slots=two(1, 1, 2, 3, 8, 1024),
            window=two(1, 200, 2_000, 2**20, 2**20),
            buffer=two(200, 5_000, 2**20, 2**20),
            steps=two(3, 8, 20, 40),
            three=random.random() < 0.25,
        )
        if life.three:
            slots, window = _PLENTY
            forwards = Random(f"forwards {seed}").random() < 0.6
            life = replace(life, slots=(slots, slots), window=(window, window), forwards=forwards)
        return life

    def run(self) -> Report:
        """Live it, on a loop of its own whose time is virtual."""
        history = History(self.calls, forwards=self.forwards)
        with _watched(history), asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.get_loop().set_exception_handler(
                lambda _, context: history.find("unhandled", _text(context))
            )
            try:
                runner.run(Course(self, history).run())
            except Stuck as error:
                # Nothing that comes now can be judged, because the runner cancels everything.
                return Report((Finding("stuck", str(error)),), tuple(history.events), len(history.calls))
        return Report(tuple(judge(history)), tuple(history.events), len(history.calls))

    def limits(self, name: str) -> pb.Limits:
        """Return those of an end."""
        end = int(name == "B")
        high = self.buffer[end]
        return pb.Limits(
            calls_in_flight=self.slots[end],
            window_bytes=self.window[end],
            write_buffer_high=high,
            write_buffer_low=max(1, high // 4),
        )


def _text(context: dict[str, Any]) -> str:
    error = context.get("exception")
    return f"{context['message']}: {type(error).__name__}: {error}" if error else str(context["message"])


class _Complaints(logging.Handler):
    """Takes what the library logs as an error of its own."""

    def __init__(self, history: History) -> None:
        super().__init__(logging.ERROR)
        self._history = history

    def emit(self, record: logging.LogRecord) -> None:
        history, text = self._history, record.getMessage()
        if "given back" in text and history.released:
            return  # the program's own doing
        if record.exc_info and record.exc_info[1] is not None:
            text += f" {type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
        history.find("logged", text[:400])


@contextlib.contextmanager
def _watched(history: History) -> Iterator[None]:
    """Record the library's log lines, and collect garbage only where the program does."""
    log, complaints = logging.getLogger("perspective_broker"), _Complaints(history)
    propagates, collects = log.propagate, gc.isenabled()
    log.addHandler(complaints)
    log.propagate = False
    gc.disable()
    try:
        yield
    finally:
        log.removeHandler(complaints)
        log.propagate = propagates
        if collects:
            gc.enable()
