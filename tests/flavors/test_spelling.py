"""A hook with Twisted's spelling is refused, because ignoring it would send state that it should hide."""

from __future__ import annotations

from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.compat import pb as twisted_names


@pytest.mark.parametrize(
    ("base", "name", "here"),
    [
        (pb.Copyable, "getStateToCopy", "get_state_to_copy"),
        (pb.Copyable, "getTypeToCopyFor", "get_type_to_copy_for"),
        (pb.RemoteCopy, "setCopyableState", "set_copyable_state"),
        (pb.Cacheable, "getStateToCacheAndObserveFor", "get_state_to_cache_and_observe_for"),
        (pb.Cacheable, "stoppedObserving", "stopped_observing"),
        (pb.Perspective, "brokerAttached", "broker_attached"),
        (pb.Service, "getPerspective", "get_perspective"),
    ],
)
def test_a_hook_in_camel_case_is_refused_when_its_class_is_made(base: type, name: str, here: str) -> None:
    with pytest.raises(
        TypeError, match=rf"^User\.{name} is spelled {here} here; .*perspective_broker\.compat"
    ):
        type("User", (base,), {name: lambda self: {}})


def test_names_of_ones_own_may_be_spelled_as_one_likes() -> None:
    class User(pb.Copyable):
        def getName(self) -> str:
            return "ada"

    assert User().getName() == "ada"


def test_a_class_that_knows_both_spellings_is_fine() -> None:
    class User(pb.Copyable):
        def get_state_to_copy(self) -> Any:
            return {}

        getStateToCopy = get_state_to_copy

    assert User().get_state_to_copy() == {}


def test_only_hooks_of_this_package_count() -> None:
    class Base(pb.Referenceable):
        is_ready = False

        def remote_get_state(self) -> int:
            return 1

    class User(Base):
        isReady = True

        def remote_getState(self) -> int:
            return 2

    assert User().remote_getState() == 2


def test_what_derives_from_the_compatible_classes_has_twisteds_names() -> None:
    class User(twisted_names.Copyable):
        def getStateToCopy(self) -> Any:
            return {"name": "ada"}

    assert User().getStateToCopy() == {"name": "ada"}
