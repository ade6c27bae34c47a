"""Policy: an allow-list, and a value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import perspective_broker as pb
from perspective_broker.flavors.policy import BASIC_TYPES


def test_by_default_everything_registered_is_let_in() -> None:
    policy = pb.registry.Policy()
    assert all(map(policy.allows_type, BASIC_TYPES))
    assert policy.allows_class("any.Class")


@given(
    types=st.sets(st.sampled_from(sorted(BASIC_TYPES))),
    classes=st.sets(st.text(max_size=5)),
    tag=st.text(max_size=5),
)
def test_nothing_is_let_in_that_is_not_listed(types: set[str], classes: set[str], tag: str) -> None:
    policy = pb.registry.Policy(types, classes)
    assert {name for name in BASIC_TYPES if policy.allows_type(name)} == types
    assert policy.allows_class(tag) is (tag in classes)


def test_it_is_a_value() -> None:
    names = ["list"]
    policy = pb.registry.Policy(names, iter(["a.B"]))
    assert policy == pb.registry.Policy({"list"}, {"a.B"})
    assert hash(policy) == hash(pb.registry.Policy({"list"}, {"a.B"}))
    names.append("tuple")
    assert not policy.allows_type("tuple")


def test_a_misspelt_type_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match=r"Policy\.types: unknown types lists, tupel"):
        pb.registry.Policy(["list", "tupel", "lists"])
