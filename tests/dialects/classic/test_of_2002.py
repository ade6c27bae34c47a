"""The messages for a peer that is a program of 2002 contain only what such a program can read."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.testing import BrokerPair
from tests.dialects.classic.coding import SPELLINGS, read


class Old(pb.Root):
    """A root that returns its argument; the peer is a program of 2002."""

    def __init__(self, value: Any = None) -> None:
        self.value = value

    def remote_value(self) -> Any:
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


def said(value: Any, dialect: str) -> Any:
    """Return the message with which our side answers ``value`` to a peer of 2002."""
    pair = BrokerPair(Old(value), dialects=[dialect])
    pair.server.broker.dialect.writer.speak_as_in_2002()
    pair.root.call("value")
    pair.link.deliver(pair.server)
    (message,) = read(bytes(pair.link.transit[pair.client]), words=dialect == "pb")
    return message


@pytest.fixture(params=sorted(SPELLINGS))
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize(
    ("value", "jelly"),
    [
        ("text", b"text"),
        ("None", b"None"),
        ("caf\u00e9", [b"unicode", "caf\u00e9".encode()]),
        (b"bytes", b"bytes"),
        (True, 1),
        (False, 0),
        (None, [b"None"]),
        ([], [b"list"]),
        ({"key": ["text", True]}, [b"dictionary", [b"key", [b"list", b"text", 1]]]),
        ((1, 2.5), [b"tuple", 1, 2.5]),
    ],
)
def test_a_value(value: Any, jelly: Any, dialect: str) -> None:
    assert said(value, dialect) == [b"answer", 1, jelly]


@pytest.mark.parametrize(
    "value",
    [
        set(),
        frozenset({1}),
        Decimal(1),
        datetime.date(2002, 7, 14),
        datetime.time(19, 53),
        datetime.datetime(2002, 7, 14),
        datetime.timedelta(1),
    ],
)
def test_what_is_too_new_fails_the_call_and_not_the_connection(value: Any, dialect: str) -> None:
    kind, request, (tag, state) = said([value], dialect)
    assert (kind, request, tag) == (b"error", 1, b"twisted.spread.pb.CopyableFailure")
    assert b"2002" in dict(state[1:])[b"value"]


def test_a_failure_has_plain_strings_and_the_names_of_python_2(dialect: str) -> None:
    kind, request, (tag, state) = said(KeyError("lost"), dialect)
    assert (kind, request, tag) == (b"error", 1, b"twisted.spread.pb.CopyableFailure")
    fields = dict(state[1:])
    assert all(type(key) is bytes for key in fields)
    assert fields[b"type"] == b"exceptions.KeyError"
    assert fields[b"value"] == b"'lost'"
    assert fields[b"parents"] == [
        b"list",
        b"exceptions.KeyError",
        b"exceptions.LookupError",
        b"exceptions.Exception",
        b"exceptions.BaseException",
        b"__builtin__.object",
    ]
    assert "boolean" not in str(state)


def test_calls_of_ours_have_plain_keywords_too() -> None:
    pair = BrokerPair(Old(), dialects=["pb"])
    pair.client.broker.dialect.writer.speak_as_in_2002()
    pair.root.call("value", "text", key=True)
    pair.link.pull()
    (message,) = read(bytes(pair.link.transit[pair.server]), words=True)
    assert message[5:] == [[b"tuple", b"text"], [b"dictionary", [b"key", 1]]]
