"""Exceptions between classic peers: in Twisted's form, readable by a peer of 2002, with any content."""

from __future__ import annotations

from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker import RemoteError
from perspective_broker.dialects.classic.failures import (
    FAILURE_TAG,
    failure_from_payload,
    failure_from_state,
    failure_state,
)
from perspective_broker.flavors import Failure
from tests.dialects.classic.coding import across, from_lists, to_lists


class Refused(pb.Error):
    pass


def booleans_in(value: Any) -> bool:
    if isinstance(value, dict):
        return any(booleans_in(part) for pair in value.items() for part in pair)
    if isinstance(value, (list, tuple)):
        return any(map(booleans_in, value))
    return isinstance(value, bool)


def test_the_state_is_what_a_peer_of_2002_can_read() -> None:
    state = failure_state(Failure.of(KeyError("nothing")))
    assert not booleans_in(state)
    assert state["type"] == b"builtins.KeyError"
    assert state["value"] == "'nothing'"
    assert state["parents"][:2] == ["builtins.KeyError", "builtins.LookupError"]
    assert state["traceback"] == "Traceback unavailable\n"
    assert {"frames", "stack", "tb", "count", "captureVars", "unsafeTracebacks"} <= state.keys()


def test_the_tag_is_twisted_s() -> None:
    assert to_lists(KeyError("x"))[0] == b"twisted.spread.pb.CopyableFailure" == FAILURE_TAG


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (pb.Error("x"), "twisted.spread.pb.Error"),
        (pb.NoSuchMethod("x"), "twisted.spread.flavors.NoSuchMethod"),
        (pb.InsecureJelly("x"), "twisted.spread.jelly.InsecureJelly"),
        (pb.LoginFailed("x"), "twisted.cred.error.UnauthorizedLogin"),
        (pb.DeadReferenceError("x"), "twisted.spread.pb.DeadReferenceError"),
        (KeyError("x"), "builtins.KeyError"),
        (Refused("x"), f"{__name__}.Refused"),
    ],
)
def test_names_that_peers_compare(error: Exception, name: str) -> None:
    state = failure_state(Failure.of(error))
    assert state["type"] == name.encode()
    assert state["parents"][0] == name
    # Back at its origin, its type can be tested by our names and by Twisted's.
    back = failure_from_state(state)
    remote = RemoteError(back.type, back.value, back.traceback, back.parents)
    assert remote.check(type(error)) is type(error)
    assert remote.check(name) == name


def test_a_subclass_is_an_error_at_the_peer_too() -> None:
    assert "twisted.spread.pb.Error" in failure_state(Failure.of(Refused("x")))["parents"]


@pytest.mark.parametrize("error", [KeyError("k"), Refused("no"), ValueError(), Exception("é☃")])
def test_an_exception_arrives(error: Exception) -> None:
    arrived = across([error])[0]
    assert isinstance(arrived, RemoteError)
    assert arrived.value == str(error)
    assert arrived.check(type(error), Exception)
    assert arrived.traceback == ""


def test_a_traceback_arrives_when_it_is_sent() -> None:
    try:
        raise ValueError("here")
    except ValueError as error:
        failure = Failure.of(error, with_traceback=True)
    state = failure_state(failure)
    assert state["unsafeTracebacks"] == 1
    assert "raise ValueError" in failure_from_state(state).traceback


# -- failures from other peers

STATES: dict[str, dict[Any, Any]] = {
    "today's Twisted": {
        "type": b"builtins.KeyError",
        "value": "'k'",
        "parents": ["builtins.KeyError", "builtins.LookupError", "builtins.Exception"],
        "traceback": "Traceback unavailable\n",
        "captureVars": False,
    },
    "a peer of 2002": {
        b"type": b"exceptions.KeyError",
        b"value": b"'k'",
        b"parents": [b"exceptions.LookupError", b"exceptions.Exception", b"exceptions.KeyError"],
        b"traceback": b"Traceback unavailable\n",
    },
    "no parents": {"type": "builtins.KeyError", "value": "'k'"},
    "parents that are a tuple": {"type": "builtins.KeyError", "value": "'k'", "parents": ("builtins.LookupError",)},
    "parents that are none": {"type": "builtins.KeyError", "value": "'k'", "parents": 7},
}  # fmt: skip


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_every_form_is_read(state: dict[Any, Any]) -> None:
    failure = failure_from_state(state)
    remote = RemoteError(failure.type, failure.value, failure.traceback, failure.parents)
    assert remote.check(KeyError) is KeyError
    assert remote.value == "'k'"
    assert remote.traceback == ""


@pytest.mark.parametrize(
    "state",
    [
        None, 5, b"x", [], {}, {"type": 5}, {"type": ""}, {1: 2}, {"type": None, "value": "x"}, {(1,): [b"x"]},
        {"type": [b"a"], "parents": [[b"a"]]},
    ],
    ids=repr,
)  # fmt: skip
def test_malformed_states_are_failures_too(state: Any) -> None:
    assert failure_from_state(state).type == "malformed"


def test_fields_of_wrong_types_are_left_out() -> None:
    failure = failure_from_state(
        {"type": "x.Y", "value": 5, "parents": [1, "x.Z", None, b"\xff"], "traceback": []}
    )
    assert (failure.type, failure.value, failure.traceback) == ("x.Y", "", "")
    assert failure.parents == ("x.Y", "x.Z", "\ufffd")


def test_many_parents_are_cut() -> None:
    assert len(failure_from_state({"type": "x.Y", "parents": ["p"] * 100_000}).parents) == 64


@pytest.mark.parametrize(
    ("payload", "kind", "value"),
    [
        ("unauthorized", "twisted.spread.pb.Error", "unauthorized"),
        (b"unauthorized", "twisted.spread.pb.Error", "unauthorized"),
        (None, "malformed", None),
        (5, "malformed", None),
        ("", "malformed", None),
        ([], "malformed", None),
    ],
)
def test_an_error_that_is_no_failure(payload: Any, kind: str, value: str | None) -> None:
    failure = failure_from_payload(payload)
    assert failure.type == kind
    assert value is None or failure.value == value


def test_forged_names_map_to_nothing_but_what_is_registered() -> None:
    forged: list[Any] = [FAILURE_TAG, [b"dictionary", [b"type", b"builtins.SystemExit"], [b"value", b"1"]]]
    arrived = from_lists(forged)
    assert type(arrived) is RemoteError
    assert arrived.type == "builtins.SystemExit"
    registry = pb.registry.Registry()
    registry.set_error_class(Refused, "their.Refused")
    forged[1][1] = [b"type", b"their.Refused"]
    known = from_lists(forged, registry=registry)
    assert type(known) is Refused
    assert isinstance(known.__cause__, RemoteError)


@pytest.mark.parametrize(("old", "on_wire"), [(False, "builtins.TypeError"), (True, "exceptions.TypeError")])
def test_bad_arguments_are_a_type_error_to_twisted_and_themselves_to_us(old: bool, on_wire: str) -> None:
    state = failure_state(Failure.of(pb.BadArguments("the arguments do not fit the method")), old=old)
    assert state["type"] == on_wire.encode()
    assert state["parents"][0] == on_wire
    assert failure_from_state(state).type == "perspective_broker.errors.BadArguments"
    plain = failure_state(Failure.of(TypeError("a defect")), old=old)
    assert failure_from_state(plain).type == on_wire
