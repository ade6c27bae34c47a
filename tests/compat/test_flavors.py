"""How an object crosses is decided as by Twisted, for any class: the same lists leave both for the same peer."""

from __future__ import annotations

from typing import Any

import pytest
import twisted.spread.flavors
import twisted.spread.jelly
import twisted.spread.pb
from hypothesis import example, given
from hypothesis import strategies as st

from perspective_broker.compat import flavors, jelly, pb
from tests.compat.pumping import Pump

#: Flavors, objects that look like one, and objects without one. A class of the program is named by its place in the
#: list of classes.
FLAVORS = (
    "Referenceable Root Viewable ViewPoint AsReferenceable Copyable Cacheable RemoteCopy RemoteCache Serializable "
    "Jellyable Unjellyable Avatar Error"
).split()
OTHERS: dict[str, type] = {"Exception": Exception, "dict": dict}

SECRET = "stays here unless the class is copied"


class Place:
    """The bases of the program's classes: the modules of one of the two libraries."""

    def __init__(self, *modules: Any) -> None:
        self._modules = modules

    def flavor(self, name: str) -> Any:
        return next(getattr(module, name) for module in self._modules if hasattr(module, name))

    def make(self, plan: Plan) -> Any:
        """Return an object of the last class of ``plan``; None when Python makes no such class."""
        made: list[type] = []
        for number, (bases, jelly_for) in enumerate(plan):
            found = tuple(dict.fromkeys(self._base(base, made) for base in bases))
            own: dict[str, Any] = {"__module__": "drawn"}
            if jelly_for == "own":
                own["jellyFor"] = lambda self, jellier: [b"list", 1, jellier.jelly([2])]
            elif jelly_for is not None:
                own["jellyFor"] = self.flavor(jelly_for).jellyFor
            try:
                made.append(type(f"Class{number}", found, own))
            except TypeError:  # no order of the bases, or of their layouts
                return None
        last: Any = made[-1]
        thing = last.__new__(last)
        thing.__dict__.update(secret=SECRET, perspective=None, object=None)
        return thing

    def _base(self, base: str | int, made: list[type]) -> type:
        if isinstance(base, int):
            return made[base % len(made)] if made else object
        return OTHERS.get(base) or self.flavor(base)


TWISTED = Place(twisted.spread.pb, twisted.spread.flavors, twisted.spread.jelly)
OURS = Place(pb, flavors, jelly)

Plan = list[tuple[list["str | int"], "str | None"]]

plans: st.SearchStrategy[Plan] = st.lists(
    st.tuples(
        st.lists(
            st.sampled_from([*FLAVORS, *OTHERS]) | st.integers(0, 3), min_size=1, max_size=3, unique=True
        ),
        st.none() | st.none() | st.sampled_from(["own", "Referenceable", "Copyable", "Cacheable"]),
    ),
    min_size=1,
    max_size=4,
)


class Reader(twisted.spread.pb.Root):
    """A root of Twisted's that looks at the lists themselves."""

    def remoteMessageReceived(self, broker: Any, message: Any, args: Any, kw: Any) -> Any:
        self.args = args
        return broker.serialize(None)


def lists_of(client: Any, thing: Any) -> Any:
    """Return a client's bytes for an object in a list; "error" if it cannot be sent."""
    reader = Reader()
    pump = Pump(twisted.spread.pb.PBServerFactory(reader), client)
    try:
        pump.call("take", [thing])
    except Exception:
        return "error"
    return reader.args


def _joins_a_replica(plan: Plan) -> bool:
    names = {base for bases, _ in plan for base in bases}
    return "RemoteCache" in names and bool(names & {"Error", *OTHERS})


@given(plans)
@example([(["Referenceable", "Copyable"], None)])
@example([(["Copyable", "Referenceable"], None)])
@example([(["Viewable", "Copyable"], None)])
@example([(["Referenceable", "Cacheable"], None)])
@example([(["RemoteCache", "Copyable"], None)])
@example([(["Copyable"], None), (["Referenceable"], None), ([1, 0], None)])
@example([(["Copyable", "Referenceable"], "Referenceable")])
@example([(["RemoteCopy", "Referenceable"], None), (["RemoteCache", 0], None)])
@example([(["Exception"], None)])
@example([(["RemoteCopy"], None)])
def test_any_class_crosses_as_with_twisted(plan: Plan) -> None:
    theirs, ours = TWISTED.make(plan), OURS.make(plan)
    if ours is None:
        # Ours keeps a replica's number in a slot, which Python joins with no class that is laid out in C.
        assert theirs is None or _joins_a_replica(plan)
    else:
        expected = lists_of(twisted.spread.pb.PBClientFactory(), theirs)
        assert lists_of(pb.PBClientFactory(), ours) == expected


@pytest.mark.parametrize("first", ["Referenceable", "Viewable", "Root"])
@pytest.mark.parametrize("second", ["Copyable", "Cacheable"])
def test_the_state_of_what_is_referenceable_first_stays_here(first: str, second: str) -> None:
    lists = lists_of(pb.PBClientFactory(), OURS.make([([first, second], None)]))
    assert lists == [b"tuple", [b"list", [b"remote", 1]]]
