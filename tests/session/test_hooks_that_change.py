"""A hook changes a value that is being sent: the earlier content crosses, and messages stay complete."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .objects import Desk, Hooked, HookedCopy, make_pair


def change_list(items: list[Any]) -> None:
    items.clear()


def grow_list(items: list[Any]) -> None:
    items.extend(range(50))


def change_dict(items: dict[Any, Any]) -> None:
    items.clear()


def swap_keys(items: dict[Any, Any]) -> None:
    """The number of keys stays the same, but the keys change."""
    for key in [key for key in items if key != "hook"][::2]:
        del items[key]
        items[f"new {key}"] = 0


CHANGES: list[tuple[Callable[[Any], None], Callable[[], Any]]] = [
    (change_list, lambda: [1, "two", 3.0, *range(1000, 1040)]),
    (grow_list, lambda: [1, "two", 3.0]),
    (change_dict, lambda: {str(number): number for number in range(40)}),
    (swap_keys, lambda: {str(number): number for number in range(40)}),
]


def put_hook(items: Any, hook: Hooked) -> None:
    if isinstance(items, dict):
        items["hook"] = hook
        items["last"] = "last"
    else:
        items.insert(2, hook)


@pytest.mark.parametrize(
    "inside", [lambda items: items, lambda items: {"in": (items,)}, lambda items: [[items]]]
)
@pytest.mark.parametrize(("change", "make"), CHANGES)
def test_a_container_is_sent_as_it_was_when_its_hook_changes_it(
    change: Callable[[Any], None], make: Callable[[], Any], inside: Callable[[Any], Any]
) -> None:
    desk, items = Desk(), make()
    put_hook(items, Hooked(lambda: change(items)))
    expected = make()
    put_hook(expected, Hooked(lambda: None))
    with make_pair(desk) as pair:
        pair.call("keep", inside(items))
        arrived = desk.kept[0]
        while type(arrived) is not type(items) or "in" in arrived or len(arrived) == 1:
            arrived = arrived["in"] if isinstance(arrived, dict) else arrived[0]
        assert len(arrived) == len(expected)
        pairs = arrived.items() if isinstance(arrived, dict) else enumerate(arrived)
        assert all(isinstance(item, HookedCopy) or expected[key] == item for key, item in pairs)
        assert pair.call("echo", 1) == 1
        desk.kept.clear()


def test_a_hook_is_asked_once_for_each_mention_of_its_object() -> None:
    asked: list[int] = []

    def state() -> int:
        asked.append(1)
        return len(asked)

    desk = Desk()
    with make_pair(desk) as pair:
        pair.call("keep", [{"a": Hooked(state), "b": [Hooked(state)]}], Hooked(state))
        assert [desk.kept[0][0]["a"].value, desk.kept[0][0]["b"][0].value, desk.kept[1].value] == [1, 2, 3]
        assert len(asked) == 3
        desk.kept.clear()
