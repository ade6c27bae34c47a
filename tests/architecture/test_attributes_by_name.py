"""No attribute is reached by a name that is not written in the code, but in the places listed here (DESIGN, rule 2)."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "perspective_broker"

#: File -> how often it reaches an attribute by a computed name, and may.
ALLOWED = {
    "flavors/dispatch.py": 3,  # a peer's name behind its prefix: a method, a property; a name of an interface
    "flavors/exposing.py": 1,  # the names that the program gives to pb.wrap, when it does
    "flavors/fields.py": 3,  # the fields that a registered class lets a peer set, and its own defaults of them; slots
    "interfaces/offers.py": 1,  # what an interface declares, when a class is made
    "interfaces/reading.py": 2,  # names of the standard library; attributes of an error
    "interfaces/records.py": 3,  # the fields of a class that the program annotates or registers
}

FUNCTIONS = {"getattr", "setattr", "delattr", "attrgetter", "methodcaller", "__getattribute__", "__setattr__"}


def computed_names(source: str) -> int:
    """Return the number of calls in ``source`` that reach an attribute whose name is not a literal."""
    found = 0
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        if called in FUNCTIONS:
            names = node.args[:1] if called in ("attrgetter", "methodcaller") else node.args[1:2]
            found += not all(isinstance(name, ast.Constant) for name in names)
    return found


def test_attributes_are_reached_by_computed_names_only_where_that_is_allowed() -> None:
    found = {}
    for room in ("session", "dialects", "flavors", "interfaces"):
        for path in (PACKAGE / room).rglob("*.py"):
            if count := computed_names(path.read_text()):
                found[path.relative_to(PACKAGE).as_posix()] = count
    assert found == ALLOWED


def test_a_computed_name_is_found() -> None:
    assert (
        computed_names("getattr(a, 'b'); getattr(a, b); setattr(a, 'x' + b, 1); object.__setattr__(a, b, 1)")
        == 3
    )
