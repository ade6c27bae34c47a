"""The tables of exported and imported objects: counts, ids and keys, for events in any order."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import perspective_broker as pb
from perspective_broker.errors import UnknownObject
from perspective_broker.flavors import Reference, ViewPoint
from perspective_broker.session import Host
from perspective_broker.session.releases import Releases
from perspective_broker.session.tables import Exports, Imports, import_key
from perspective_broker.session.weak import Received


class Known(pb.Referenceable):
    """An object that counts how often it was forgotten."""

    def __init__(self) -> None:
        self.forgettings = 0

    def forgotten(self) -> None:
        self.forgettings += 1


class Noted(Releases):
    """An owner that records the references that are gone."""

    def __init__(self) -> None:
        self.released: list[tuple[int, int]] = []

    def reference_ended(self, received: Received) -> None:
        self.released.append((received.luid, received.count))


class _Held(Reference):
    """A reference of a driver: tables hold it weakly."""

    __slots__ = ("__weakref__",)


class Maker(Host):
    """A host that makes references."""

    def make_reference(self, luid: int | str, perspective: Any) -> Reference:
        return _Held(self, luid, perspective)


def imports(releases: Noted, limit: int = 100) -> Imports:
    limits = pb.Limits(references_received=limit)
    return Imports(limits, Maker(), releases)


STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "retract", "release"]), st.integers(0, 3), st.integers(1, 3))
)


@given(steps=STEPS)
def test_exports_count_what_a_plain_count_says(steps: list[tuple[str, int, int]]) -> None:
    exports, objects = Exports(pb.Limits()), [Known() for _ in range(4)]
    counts, luids, lives, used = [0] * 4, [0] * 4, [0] * 4, set()
    for step, which, count in steps:
        if step == "add":
            luid = exports.add(objects[which], None)
            if counts[which]:
                assert luid == luids[which]
            else:
                assert luid not in used  # ids are never used twice
            used.add(luid)
            luids[which], counts[which] = luid, counts[which] + 1
        elif step == "retract" and counts[which]:
            exports.retract(luids[which])
            counts[which] -= 1
            lives[which] += not counts[which]
        elif step == "release" and luids[which]:
            if not counts[which]:
                assert exports.release(luids[which], count) is False
            elif count > counts[which]:
                with pytest.raises(pb.ProtocolError):
                    exports.release(luids[which], count)
            else:
                assert exports.release(luids[which], count)
                counts[which] -= count
                lives[which] += not counts[which]
        assert len(exports) == sum(map(bool, counts))
    for obj, luid, count, ended in zip(objects, luids, counts, lives, strict=True):
        assert obj.forgettings == ended
        if count:
            assert exports.find(luid).obj is obj
            assert exports.find(luid).count == count
        else:
            with pytest.raises(UnknownObject):
                exports.find(luid)
    exports.clear()
    assert [obj.forgettings for obj in objects] == [
        ended + bool(count) for ended, count in zip(lives, counts, strict=True)
    ]


def test_what_was_just_freed_comes_home_but_cannot_be_called() -> None:
    exports, obj = Exports(pb.Limits()), Known()
    luid = exports.add(obj, None)
    exports.release(luid, 1)
    assert exports.come_home(luid) is obj
    with pytest.raises(UnknownObject):
        exports.find(luid)
    exports.freed.clear()
    with pytest.raises(UnknownObject):
        exports.come_home(luid)


def test_a_retracted_object_cannot_come_home() -> None:
    exports = Exports(pb.Limits())
    luid = exports.add(Known(), None)
    exports.retract(luid)
    with pytest.raises(UnknownObject):
        exports.come_home(luid)


@pytest.mark.parametrize("where", ["root", 0, -1, 2, True])
def test_what_was_never_given_cannot_be_released(where: Any) -> None:
    exports = Exports(pb.Limits())
    exports.name("root", Known())
    exports.add(Known(), None)
    with pytest.raises(pb.ProtocolError):
        exports.release(where, 0 if where is True else 1)


def test_the_limit_counts_objects_not_sendings() -> None:
    exports, obj = Exports(pb.Limits(references_exported=1)), Known()
    assert exports.add(obj, None) == exports.add(obj, None)
    with pytest.raises(pb.SerializationError):
        exports.add(Known(), None)


def test_one_that_does_not_bear_to_be_forgotten_keeps_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    class Sore(Known):
        def forgotten(self) -> None:
            super().forgotten()
            raise RuntimeError("never")

    exports = Exports(pb.Limits())
    objects = [Sore(), Sore(), Known()]
    luids = [exports.add(obj, None) for obj in objects]
    assert exports.release(luids[0], 1)
    exports.clear()
    assert [obj.forgettings for obj in objects] == [1, 1, 1]
    assert len(exports) == 0
    assert caplog.text.count("forgotten of a Sore raised") == 2


def test_a_view_is_an_object_for_each_perspective() -> None:
    exports, viewable, one, two = Exports(pb.Limits()), pb.Viewable(), object(), object()
    luids = {
        exports.add(viewable, one),
        exports.add(viewable, two),
        exports.add(ViewPoint(one, viewable), two),
    }
    assert len(luids) == len(exports) == 2


@given(
    st.lists(
        st.tuples(st.sampled_from(["receive", "drop"]), st.integers(1, 3), st.sampled_from([None, "who"]))
    )
)
def test_imports_owe_a_release_for_every_receipt(steps: list[tuple[str, int, Any]]) -> None:
    releases = Noted()
    table, receipts = imports(releases), dict.fromkeys((1, 2, 3), 0)
    held: dict[Any, Reference] = {}
    for step, luid, perspective in steps:
        key = import_key(luid, perspective)
        if step == "receive":
            receipts[luid] += 1
            reference = table.receive(luid, perspective)
            assert held.setdefault(key, reference) is reference
            del reference
        elif held.pop(key, None) is not None:
            table.forget(key)
        assert len(table) == len(held)
    held.clear()
    gc.collect(0)
    owed = dict.fromkeys((1, 2, 3), 0)
    for luid, count in releases.released:
        owed[luid] += count
    assert owed == receipts


def test_a_late_notice_does_not_drop_the_reference_that_came_since() -> None:
    table = imports(Noted())
    first = table.receive(1, None)
    del first
    second = table.receive(1, None)
    table.forget(1)
    assert table.receive(1, None) is second
    assert table.clear() == [second]
    assert len(table) == 0


def test_more_than_a_peer_may_give_is_its_fault() -> None:
    table = imports(Noted(), limit=1)
    held = table.receive(1, None)
    assert table.receive(1, None) is held
    with pytest.raises(pb.ProtocolError, match="limit-references"):
        table.receive(2, None)


def test_named_references_are_one_and_owe_nothing() -> None:
    releases = Noted()
    table = imports(releases)
    root = table.named("root")
    assert table.named("root") is root
    assert len(table) == 0
    del root
    assert releases.released == []


class Interrupted(Noted):
    """The same, where the loop's thread runs on while a reference ends, as with threads."""

    def __init__(self, go_on: Any) -> None:
        super().__init__()
        self.go_on = go_on

    def reference_ended(self, received: Received) -> None:
        self.go_on()
        super().reference_ended(received)


def test_a_reference_that_ends_in_another_thread_is_not_handed_out_again() -> None:
    """Otherwise it would have no counts, and be used after the peer has freed its object."""
    found: list[Reference] = []

    def go_on() -> None:
        if not found:
            found.append(table.receive(1, None))

    releases = Interrupted(go_on)
    table = imports(releases)
    first = table.receive(1, None)
    ended = weakref.ref(first)
    del first
    [second] = found
    assert ended() is None
    assert releases.released == [(1, 1)]
    del second
    found.clear()
    assert releases.released == [(1, 1), (1, 1)]


def test_what_was_given_back_owes_nothing_when_it_ends() -> None:
    releases = Noted()
    table = imports(releases)
    reference = table.receive(1, None)
    table.receive(1, None)
    assert table.give_back(reference) == 2
    assert table.give_back(reference) == 0
    assert len(table) == 0
    del reference
    assert releases.released == [(1, 0)]
