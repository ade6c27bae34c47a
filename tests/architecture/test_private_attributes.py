"""An attribute with a leading underscore is used only in the module that defines it, and by a subclass of its own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "perspective_broker"

#: The rooms that keep the rule.
ROOMS = [
    "aio",
    "cli",
    "cred",
    "dialects",
    "flavors",
    "interfaces",
    "ports",
    "session",
    "transports",
    "testing",
    "hooks.py",
    "errors.py",
    "limits.py",
    "queues.py",
    "rebuilt.py",
]

#: Private names of the standard library, which have no public form: asked on every call.
ALLOWED = {"asyncio._get_running_loop"}


def foreign_names(source: str) -> list[str]:
    """Return what ``source`` uses of private attributes that it does not define, as they are written there."""
    tree = ast.parse(source)
    own: set[str] = set()
    used: list[tuple[str, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.endswith("__"):
            if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
                own.add(node.attr)
            else:
                used.append((node.attr, ast.unparse(node)))
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            own.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            own.add(node.target.id)
    return sorted({text for name, text in used if name not in own and text not in ALLOWED})


def files(room: str) -> list[Path]:
    path = PACKAGE / room
    return [path] if path.suffix else sorted(path.rglob("*.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_no_private_attribute_of_another_module_is_used(room: str) -> None:
    found = {str(path.relative_to(PACKAGE)): foreign_names(path.read_text()) for path in files(room)}
    assert {path: names for path, names in found.items() if names} == {}


def test_a_private_attribute_of_another_module_is_found() -> None:
    assert foreign_names("class A:\n def f(self, b):\n  self._a; b._a; b._c.d; b.__class__") == ["b._c"]
