"""Viewable and ViewPoint: the methods that an export of them reaches, and the perspective that they get."""

from __future__ import annotations

import pytest

import perspective_broker as pb
from perspective_broker.flavors import export_key, export_target
from perspective_broker.flavors.dispatch import find_method


class Room(pb.Viewable):
    def view_say(self, who: object, text: str) -> tuple[object, str]:
        return who, text

    def remote_say(self, text: str) -> None:
        raise AssertionError("a viewable has no remote methods")


def test_calls_reach_view_methods_with_the_perspective_in_front() -> None:
    room, who = Room(), object()
    target = export_target(room, who)
    assert find_method(target.holder, target.prefix, "say")(*target.leading, "hello") == (who, "hello")
    assert (target.obj, target.perspective) == (room, who)


def test_outside_of_any_perspective_it_has_no_target() -> None:
    room = Room()
    with pytest.raises(pb.SerializationError, match="Room is viewable") as caught:
        export_target(room, None)
    assert caught.value.culprit is room


def test_a_view_point_keeps_its_perspective_whoever_it_is_sent_to() -> None:
    room, who, other = Room(), object(), object()
    view = pb.ViewPoint(who, room)
    for perspective in (None, other):
        assert export_target(view, perspective).leading == (who,)
        assert export_key(view, perspective) == export_key(room, who) != export_key(room, other)
