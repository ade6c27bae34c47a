"""In 200 random lives of each dialect, the bytes are the same as when the golden files were made."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from perspective_broker.build import COMPILED
from tests.heap import frozen_before

from . import golden
from .lives import DIALECTS, LIVES, live
from .recording import Message, Splitter, summary_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def frozen() -> Iterator[None]:
    """Freeze all earlier objects, so that the collections of a life do not visit them."""
    with frozen_before():
        yield


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Methods of the lives fail on purpose."""
    caplog.set_level("CRITICAL", "perspective_broker")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_same_bytes_leave(dialect: str) -> None:
    expected = golden.read(dialect)
    assert len(expected) == LIVES
    differing = []
    for number, summary in enumerate(expected):
        life = live(dialect, number)
        if summary_of(life) != summary:
            differing.append(number)
            if len(differing) == 1:
                explanation = golden.explain(dialect, number, life, summary)
    if differing:
        pytest.fail(
            f"{len(differing)} of {LIVES} lives differ; if that is meant, run {golden.UPDATE}\n{explanation}",
            pytrace=False,
        )


@pytest.mark.parametrize("number", golden.WHOLE)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_transcript_for_people_shows_the_life(dialect: str, number: int) -> None:
    assert golden.is_readable_current(dialect, number, live(dialect, number)), golden.UPDATE


# -- the net itself


def altered(life: list[Message], index: int) -> list[Message]:
    sender, data, text = life[index]
    return [*life[:index], Message(sender, data + b"!", f"{text} changed"), *life[index + 1 :]]


def test_the_first_message_that_differs_is_found() -> None:
    life = live("pb7", 0)
    expected = summary_of(life)
    for index in range(len(life)):
        found = summary_of(altered(life, index)).first_difference(expected)
        # Two digits of a digest: one in 256 is the same by chance, and then the message behind it is named.
        assert found in (index, index + 1)
    assert summary_of(life[:-1]).first_difference(expected) == len(life) - 1


@pytest.mark.parametrize("number", [1, LIVES - 1])
def test_an_explanation_shows_the_message(number: int) -> None:
    life = live("pb7", number)
    golden_one = golden.read("pb7")[number]
    explanation = golden.explain("pb7", number, altered(life, 7), golden_one)
    assert f"now {life[7]} changed" in explanation
    assert ("was " + str(life[7]) in explanation) == (number in golden.WHOLE)
    assert "now nothing more is sent" in golden.explain("pb7", number, life[:7], golden_one)


@pytest.mark.skipif(COMPILED, reason="one build is enough, and the new process would import the other")
def test_the_seed_of_hashes_changes_nothing() -> None:
    program = "from tests.transcripts.lives import *; print([m.data for d in DIALECTS for m in live(d, 5)])"
    runs = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1
    assert "message" in runs.pop()


def test_every_kind_of_message_is_in_the_lives() -> None:
    """Check that the lives use every operation; otherwise the golden files would not cover it."""
    kinds = {message.text.split()[0] for number in range(0, LIVES, 4) for message in live("pb7", number)}
    wanted = "HELLO CALL ANSWER ERROR RELEASE CANCEL FORGET PING PONG FAREWELL UPDATE DECACHE UNCACHE DRAINING piece"
    assert set(wanted.split()) <= kinds
    text = "".join(message.text for number in range(0, LIVES, 4) for message in live("pb7", number))
    for extension in "REMOTE LOCAL COPY FAILURE CACHEABLE CACHED LCACHE PROMISE GRAPH".split():
        assert f"{extension}(" in text
    commands = {message.text.split("'")[1] for number in range(20) for message in live("pb", number)}
    assert set("message answer error decref cachemessage decache uncache version".split()) <= commands


def test_bytes_that_leave_in_pieces_are_recorded_as_the_same_messages() -> None:
    life = [message for message in live("pb7", 0) if message.sender == "client"]
    splitter = Splitter("client", "pb7")
    data = b"".join(message.data for message in life)
    assert [message for at in range(0, len(data), 3) for message in splitter.split(data[at : at + 3])] == life
