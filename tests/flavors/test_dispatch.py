"""The dispatch of names: what carries the prefix is reached, and nothing else."""

from collections.abc import Callable
from typing import Any

import pytest

from perspective_broker.errors import NoSuchMethod
from perspective_broker.flavors.dispatch import find_method
from perspective_broker.flavors.message_receiver import MessageReceiver


class Door:
    remote_colour = "green"

    def remote_open(self) -> str:
        return "opened"

    def lock(self) -> None:
        raise AssertionError("nobody reaches this")


def test_a_method_with_the_prefix_is_found() -> None:
    assert find_method(Door(), "remote_", "open")() == "opened"


@pytest.mark.parametrize(
    ("prefix", "name"),
    [("remote_", "lock"), ("view_", "open"), ("", "lock"), ("remote_", "__class__"), ("remote_", "colour")],
)
def test_nothing_else_is(prefix: str, name: str) -> None:
    with pytest.raises(NoSuchMethod, match="Door has no method"):
        find_method(Door(), prefix, name)


def test_a_message_receiver_looks_names_up_itself() -> None:
    class Oracle(MessageReceiver):
        def find_message(self, name: str) -> Callable[..., Any]:
            return lambda: f"asked for {name}"

        def remote_open(self) -> str:
            raise AssertionError("its own rules say otherwise")

    assert find_method(Oracle(), "remote_", "open")() == "asked for open"
