"""Cases and their verdicts: the vocabulary of the table."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

if TYPE_CHECKING:
    from .rig import Stage

__all__ = [
    "CALLS_THAT_NEVER_END",
    "CANARY",
    "Answered",
    "Case",
    "Direction",
    "Fatal",
    "Held",
    "Ignored",
    "PendingEnds",
    "Refused",
    "Replied",
    "Row",
    "Said",
    "Script",
    "SlotsHeld",
    "Stand",
    "Verdict",
    "many",
]

#: Used for long names and texts of a peer's choice: no reply and no log may contain three in a row.
CANARY = "only-the-peer-has-said-this-"

#: The side that is attacked: our server by a client, or our client by a server.
Direction = Literal["server", "client"]


class Stand(Enum):
    """The state in which a case begins."""

    CONNECTED = "a connection, nothing else"
    CHOSEN = "the dialect is agreed on"
    OPEN = "both sides have said hello, and the subject waits for the answer to a call"


class Verdict(Protocol):
    """The required effect of a case."""

    @property
    def said(self) -> str:
        """The verdict in words, for the page."""

    async def judge(self, stage: Stage) -> None:
        """Wait for the effect; raise AssertionError if another one happens."""


@dataclass(frozen=True)
class Fatal:
    """The connection ends with that code; a dialect with farewells sends it, unless the peer sent it first."""

    code: str
    told: bool = True

    @property
    def said(self) -> str:
        return f"fatal, `{self.code}`"

    async def judge(self, stage: Stage) -> None:
        await stage.until_ended(self.code)
        await stage.hear_all() if stage.case.stand is Stand.OPEN else await stage.peer.read_to_end()
        told = [heard.what for heard in stage.heard if heard.kind == "farewell"]
        if self.told and stage.words.name == "pb7" and stage.case.stand is Stand.OPEN:
            # Over TCP, bytes that were not read can make the farewell of a connection disappear.
            assert told == [self.code] or (not told and stage.case.is_large)
        else:
            assert not told


@dataclass(frozen=True)
class Refused:
    """The call fails with an error of that type, and the connection is kept.

    Attributes:
        kind: name of the class of the error.
        forgets: the call has introduced nothing, and left nothing behind.
    """

    kind: str
    forgets: bool = True

    @property
    def said(self) -> str:
        return f"call-level, `{self.kind}`"

    async def judge(self, stage: Stage) -> None:
        heard = await stage.hear_end_of(stage.words.last_request)
        assert (heard.kind, heard.what) == ("error", self.kind)
        await stage.probe()
        if self.forgets:
            stage.check_tables()


@dataclass(frozen=True)
class Answered:
    """The call is answered, with that value if one is given, and the connection is kept."""

    value: Any = ...
    note: str = "accepted"

    @property
    def said(self) -> str:
        return self.note

    async def judge(self, stage: Stage) -> None:
        heard = await stage.hear_end_of(stage.words.last_request)
        assert heard.kind == "answer", heard
        if self.value is not ...:
            assert repr(heard.what) == repr(self.value)  # which distinguishes numbers that compare equal
        await stage.probe()


@dataclass(frozen=True)
class Ignored:
    """The peer gets no message about it, and the connection is kept; it may be counted."""

    counted: int = 1

    @property
    def said(self) -> str:
        return "ignored, and counted"

    async def judge(self, stage: Stage) -> None:
        await stage.probe()
        assert {heard.kind for heard in stage.heard} == {"answer"}
        (connection,) = stage.state()["connections"]
        assert connection["ignored"] == self.counted


@dataclass(frozen=True)
class Replied:
    """The subject sends a message that is not an answer, and the connection is kept."""

    kind: str

    @property
    def said(self) -> str:
        return f"`{self.kind}`, and the connection lives"

    async def judge(self, stage: Stage) -> None:
        heard = await stage.hear()
        assert heard is not None
        assert heard.kind == self.kind
        await stage.probe()
        stage.check_tables()


@dataclass(frozen=True)
class PendingEnds:
    """The subject's own call ends with that error, of that remote type if given, and the connection is kept."""

    kind: str
    remote: str = ""

    @property
    def said(self) -> str:
        return f"the pending call fails, `{self.kind}{f': {self.remote}' if self.remote else ''}`"

    async def judge(self, stage: Stage) -> None:
        state = await stage.until("the pending call ends", lambda state: not state["outcomes"])
        what = "meet" if stage.direction == "client" else "later"
        assert state["outcomes"] == [[what, self.kind, self.remote]], state["outcomes"]
        await stage.probe()


@dataclass(frozen=True)
class Held:
    """Reading stops: no more than so many calls run, and so many wait, or a few more.

    One more runs for each call of the subject without an answer, because these lend slots.
    """

    running: int
    waiting: int

    @property
    def said(self) -> str:
        return f"{self.running} run, {self.waiting} wait, reading is paused"

    async def judge(self, stage: Stage) -> None:
        def wrong(state: dict[str, Any]) -> bool:
            (connection,) = state["connections"]
            running = self.running + connection["calls_out"]
            return bool(connection["calls_in"] != running or connection["calls_waiting"] < self.waiting)

        state = await stage.until("the slots are taken", wrong)
        (connection,) = state["connections"]
        assert connection["calls_waiting"] <= self.waiting + 64


@dataclass(frozen=True)
class SlotsHeld:
    """So many calls run on although they were cancelled, and the others end before they have started."""

    running: int

    @property
    def said(self) -> str:
        return f"{self.running} run to their end, the others are refused"

    async def judge(self, stage: Stage) -> None:
        heard = await stage.hear_end_of(stage.words.last_request)
        assert (heard.kind, heard.what) == ("error", "LimitExceeded")
        (connection,) = stage.state()["connections"]
        # Since Python 3.12 a method begins when it is called, so two of the others take the last slot and the one that
        # the subject's own call lends.
        running = self.running + (2 if sys.version_info >= (3, 12) else 0)
        assert (connection["calls_in"], connection["calls_waiting"]) == (running, 0)


@dataclass(frozen=True)
class Said:
    """The subject's own caller got an error, whose text is in its answer."""

    text: str

    @property
    def said(self) -> str:
        return f"local, {self.text}"

    async def judge(self, stage: Stage) -> None:
        heard = await stage.hear_end_of(stage.words.last_request)
        assert heard.kind == "answer"
        assert self.text in repr(heard.what)
        await stage.probe()


Script = Callable[[Any], "bytes | Iterable[bytes | None]"]


@dataclass(frozen=True)
class Case:
    """One input, and its required effect.

    Attributes:
        name: a short description.
        script: given the words of the dialect, the input: bytes, or pieces of them.
        then: the required effect.
        stand: the state in which the case begins.
        server: the server that gets it: ``desk``, ``small`` or ``hasty`` (limits and times scaled down), or ``login``.
        directions: the sides that are attacked.
        probe: a method that answers if the connection is healthy, and its arguments.
        pause: seconds between pieces.
        ends_pending: whether the case is about the subject's pending call.
        large_answer: whether an honest answer is large.
        is_large: whether the input is so large that the subject hangs up before it has read all of it.
        memory: whether the subject measures its allocations.
    """

    name: str
    script: Script
    then: Verdict
    stand: Stand = Stand.OPEN
    server: str = "desk"
    directions: tuple[Direction, ...] = ("server", "client")
    probe: tuple[Any, ...] = ("probe",)
    pause: float = 0
    ends_pending: bool = False
    large_answer: bool = False
    is_large: bool = False
    memory: bool = False

    def pieces(self, words: Any) -> Iterable[bytes | None]:
        """Return the input, piece by piece; None waits for the answer to the last call."""
        said = self.script(words)
        return (said,) if isinstance(said, bytes) else said


def many(say: Any, method: str, count: int) -> Iterator[bytes]:
    """Make so many calls, 500 at a time."""
    for _ in range(count // 500):
        yield b"".join(say.call(method) for _ in range(500))


#: The same in every dialect.
CALLS_THAT_NEVER_END: Final = Case(
    "that never end",
    lambda say: many(say, "sleep", 8_000),
    Held(running=16, waiting=256),
    server="small",
    is_large=True,
)


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        number: its number.
        title: the input.
        expected: the demand of the design's table, in its words: F, C, L, I and a code.
        cases: by dialect.
        note: a difference between the code and the design, and the reason.
        elsewhere: tests outside of this table that show it, ``file::test``.
    """

    number: int
    title: str
    expected: str
    cases: dict[str, tuple[Case, ...]] = field(default_factory=dict)
    note: str = ""
    elsewhere: tuple[str, ...] = ()
