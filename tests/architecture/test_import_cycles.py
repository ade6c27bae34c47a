"""There is no import cycle, with the imports of type checkers and those within functions counted.

The contracts of import-linter order the rooms; this finds cycles inside a room that has no contract of its own.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src"
PACKAGE = "perspective_broker"

#: Left out, because its modules have the names and the relations of Twisted's.
LEFT_OUT = f"{PACKAGE}.compat"

#: Rooms that still have cycles. Remove rooms from this list, and add none.
TO_DO: tuple[str, ...] = ()

Graph = Mapping[str, set[str]]


def modules() -> dict[str, Path]:
    """Return every module by name, packages included."""
    found = {}
    for path in sorted((SRC / PACKAGE).rglob("*.py")):
        parts = path.relative_to(SRC).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name != LEFT_OUT and not name.startswith(f"{LEFT_OUT}."):
            found[name] = path
    return found


def imported(name: str, is_package: bool, source: str, known: Mapping[str, object]) -> Iterator[str]:
    """Yield the known modules that the source of a module imports, at any place in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            above = name.split(".")[: -node.level + is_package or None] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                whole = f"{origin}.{alias.name}"
                if whole in known:
                    yield whole
                elif origin in known:
                    yield origin


def graph() -> Graph:
    """Return the imports of each module."""
    known = modules()
    return {
        name: set(imported(name, path.name == "__init__.py", path.read_text(encoding="utf-8"), known))
        for name, path in known.items()
    }


def cycles(edges: Graph) -> list[list[str]]:
    """Return the sets of modules that reach each other, and modules that import themselves."""
    reached = {name: reachable(edges, name) for name in edges}
    found = {
        tuple(sorted({other for other in ways if name in reached[other]}))
        for name, ways in reached.items()
        if name in ways
    }
    return [list(cycle) for cycle in sorted(found)]


def reachable(edges: Graph, start: str) -> set[str]:
    """Return the modules that ``start`` imports, directly or through others."""
    found: set[str] = set()
    waiting = list(edges[start])
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += edges[name]
    return found


def room(name: str) -> str:
    """Return the room that a module is in."""
    return f"{name}..".split(".")[1]


@pytest.mark.parametrize(
    "room_name", sorted({room(name) for name in modules()}), ids=lambda name: name or "package"
)
def test_no_import_cycle(room_name: str) -> None:
    found = [cycle for cycle in cycles(graph()) if room_name in map(room, cycle)]
    if room_name in TO_DO:
        assert found, f"{room_name} has no cycle any more: remove it from TO_DO"
        assert all(set(map(room, cycle)) == {room_name} for cycle in found)
    else:
        assert found == []


def test_what_counts_as_an_import() -> None:
    known = dict.fromkeys(["p", "p.a", "p.a.b", "p.a.c", "p.d"])

    def of(name: str, source: str, is_package: bool = False) -> set[str]:
        return set(imported(name, is_package, source, known))

    assert of("p.a.b", "from . import c\nfrom .. import d") == {"p.a.c", "p.d"}
    assert of("p.a.b", "from ..d import x\nfrom .c import y\nimport p.a.c\nimport q") == {"p.d", "p.a.c"}
    assert of("p.a", "from .b import x\nfrom ..d import y", True) == {"p.a.b", "p.d"}
    assert of("p.a.b", "if TYPE_CHECKING:\n    from .c import x\ndef f():\n    from p import d, z") == {
        "p.a.c",
        "p.d",
        "p",
    }


def test_cycles_are_found() -> None:
    edges = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"e"}}
    assert cycles(edges) == [["a", "b", "c"], ["e"]]
