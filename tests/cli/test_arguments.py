"""Command-line texts become values: Python literals, or else the text."""

from __future__ import annotations

from typing import Any

import pytest

from perspective_broker.cli.arguments import parse_arguments, parse_value
from perspective_broker.cli.status import CommandError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-2.5", -2.5),
        ("None", None),
        ("True", True),
        ("true", "true"),
        ("hello", "hello"),
        ("hello, world", "hello, world"),
        ("", ""),
        ("'1'", "1"),
        ('"a=b"', "a=b"),
        ("b'raw'", b"raw"),
        ("[1, 'two', (3,)]", [1, "two", (3,)]),
        ("{'a': {1}}", {"a": {1}}),
        ("[1, two]", "[1, two]"),
        ("__import__('os')", "__import__('os')"),
        ("1 + 1", "1 + 1"),
        (r"'\d'", r"\d"),
        ("{[]: 1}", "{[]: 1}"),
        ("[" * 1000, "[" * 1000),
        ("[" * 100 + "]" * 100 + "x", "[" * 100 + "]" * 100 + "x"),
        ("\0", "\0"),
    ],
)
def test_a_text_means(text: str, value: Any) -> None:
    parsed = parse_value(text)
    assert parsed == value
    assert type(parsed) is type(value)


def test_keywords_are_told_from_positional_arguments() -> None:
    assert parse_arguments(["1", "depth=2", "x", "name=a=b", "größe=", "1=2", "'k=v'", "-a=1"]) == (
        [1, "x", "1=2", "k=v", "-a=1"],
        {"depth": 2, "name": "a=b", "größe": ""},
    )


def test_a_keyword_given_twice_is_refused() -> None:
    with pytest.raises(CommandError, match="'a' is given twice"):
        parse_arguments(["a=1", "a=2"])
