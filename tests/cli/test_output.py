"""Values as they are printed: safe on a terminal, whole elsewhere, and as JSON."""

from __future__ import annotations

import datetime
import decimal
import json
import math
from typing import Any

import pytest

from perspective_broker.cli.output import one_line, printable, show, show_json


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("text\x1b[2J", "text\x1b[2J\n"),
        (None, ""),
        ([1, "a"], "[1, 'a']\n"),
        (b"\x00", "b'\\x00'\n"),
        (0, "0\n"),
    ],
)
def test_where_no_terminal_is_values_are_printed_whole(
    capsys: pytest.CaptureFixture[str], value: Any, shown: str
) -> None:
    show(value)
    assert capsys.readouterr().out == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        (True, True),
        (2**70, 2**70),
        (1.5, 1.5),
        (math.inf, "inf"),
        (math.nan, "nan"),
        ("ü\x9b", "ü\x9b"),
        (b"hi", {"base64": "aGk="}),
        ((1, [2]), [1, [2]]),
        ({3, 1}, [1, 3]),
        (frozenset({"b", 1}), ["b", 1]),
        ({"a": {"b": ()}}, {"a": {"b": []}}),
        ({1: "x", "y": 2}, [[1, "x"], ["y", 2]]),
        (decimal.Decimal("1.50"), "1.50"),
        (datetime.datetime(2002, 7, 15, 1, 2, 3), "2002-07-15T01:02:03"),
        (datetime.date(2002, 7, 15), "2002-07-15"),
        (datetime.time(1, 2), "01:02:00"),
        (datetime.timedelta(minutes=1), 60.0),
    ],
)
def test_json_of(capsys: pytest.CaptureFixture[str], value: Any, shown: Any) -> None:
    show_json(value)
    line = capsys.readouterr().out
    assert json.loads(line) == shown
    assert line.count("\n") == 1
    assert line.isascii()


def test_json_of_a_copy_is_its_state(capsys: pytest.CaptureFixture[str]) -> None:
    class Copy:
        def __init__(self) -> None:
            self.text = "x"

    show_json([Copy()])
    assert json.loads(capsys.readouterr().out) == [{"text": "x"}]


def test_json_of_a_shared_value_repeats_it(capsys: pytest.CaptureFixture[str]) -> None:
    shared = [1]
    show_json([shared, shared])
    assert json.loads(capsys.readouterr().out) == [[1], [1]]


def test_a_value_that_contains_itself_has_no_json() -> None:
    cycle: dict[str, Any] = {}
    cycle["me"] = [cycle]
    with pytest.raises(ValueError, match="contains itself"):
        show_json(cycle)


def test_printable_escapes_what_would_act_on_a_terminal() -> None:
    assert printable("a\x1b[31m\x07\x9b\u202e\n\tü", keep="\n") == "a\\x1b[31m\\x07\\x9b\\u202e\n\\tü"


def test_one_line_is_one_line_and_not_endless() -> None:
    assert one_line("  one\ntwo\r\n") == "one\\ntwo"
    assert len(one_line("x" * 10_000)) == 2000
