"""How large a file, a class and its face may become; what is larger has two nouns in it."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path
from typing import Final

import pytest

from perspective_broker.session import Broker

SOURCE: Final = Path(__file__).resolve().parents[2] / "src" / "perspective_broker"

MOST_LINES_OF_A_FILE: Final = 600
MOST_LINES_OF_A_CLASS: Final = 400
MOST_PUBLIC_METHODS: Final = 25

#: Twisted's names, in the modules and classes where its programs look for them.
COMPAT: Final = SOURCE / "compat"


def files() -> list[Path]:
    return [path for path in sorted(SOURCE.rglob("*.py")) if COMPAT not in path.parents]


def name_of(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=name_of)
def test_a_file_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES_OF_A_FILE


@pytest.mark.parametrize("path", files(), ids=name_of)
def test_classes_are_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    long = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ClassDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno >= MOST_LINES_OF_A_CLASS
    }
    assert long == {}


def public_methods(cls: type) -> list[str]:
    """Return the public methods of a class that are written in this package, inherited ones included."""
    return [
        name
        for name in dir(cls)
        if not name.startswith("_")
        and inspect.isroutine(found := inspect.getattr_static(cls, name))
        and getattr(found, "__module__", "").startswith("perspective_broker")
    ]


@pytest.mark.parametrize("path", files(), ids=name_of)
def test_a_class_has_a_face_that_can_be_learned(path: Path) -> None:
    module = "perspective_broker." + name_of(path).removesuffix(".py").replace("/", ".")
    try:
        loaded = importlib.import_module(module.removesuffix(".__init__"))
    except ImportError as error:
        pytest.skip(f"needs an extra: {error.name}")
    crowded = {
        name: len(public_methods(cls))
        for name, cls in vars(loaded).items()
        if isinstance(cls, type)
        and cls.__module__ == loaded.__name__
        and len(public_methods(cls)) > MOST_PUBLIC_METHODS
    }
    assert crowded == {}


def test_the_broker_inherits_from_no_part() -> None:
    assert Broker.__mro__ == (Broker, object)
