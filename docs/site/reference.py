"""The pages of the public names, by room, and the names that docstrings may link to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import griffe

__all__ = ["reference_pages"]

#: Room (a module or package below the package) -> the title of its page, in the order of the pages.
ROOMS: Final = {
    "aio": "Connections and calls",
    "flavors": "Objects and values",
    "interfaces": "Typed interfaces",
    "streams": "Streams",
    "cred": "Identities and logins",
    "transports": "Transports",
    "certificates": "Certificates",
    "limits": "Limits",
    "registry": "Registered classes",
    "errors": "Errors",
    "": "Others",
}
#: Packages that are imported by their own names -> the title of its page.
MODULES: Final = {"blocking": "Blocking face", "remote": "Untyped proxies", "testing": "Testing"}


def reference_pages(source: Path, out: Path) -> dict[str, str]:
    """Write the pages below ``out/pages``, and ``out/names.json``; return title -> page.

    The file of names says for each documented name, as written in full, under which name a page has it.

    Args:
        source: the folder with the package.
        out: the folder of all that is made.
    """
    package = griffe.load("perspective_broker", search_paths=[source], resolve_aliases=True)
    assert isinstance(package, griffe.Module)
    folder = out / "pages" / "reference" / "names"
    folder.mkdir(parents=True)
    names: dict[str, str] = {}
    by_room: dict[str, list[str]] = {room: [] for room in ROOMS}
    for name in _public(package):
        where = package.members[name].canonical_path.split(".")[1]
        by_room[where if where in ROOMS else ""].append(name)
        _note(package.members[name], f"perspective_broker.{name}", names)
    pages = {}
    for room, title in ROOMS.items():
        if by_room[room]:
            pages[title] = f"reference/names/{room or 'others'}.md"
            _write(out / "pages" / pages[title], title, "perspective_broker", by_room[room])
    for module, title in MODULES.items():
        found, path = package[module], f"perspective_broker.{module}"
        pages[title] = f"reference/names/{module}.md"
        public = _public(found)
        for name in public:
            _note(found.members[name], f"{path}.{name}", names)
        _write(out / "pages" / pages[title], title, path, public)
    (out / "names.json").write_text(json.dumps(names, indent=1, sort_keys=True), encoding="utf-8")
    return pages


def _public(module: griffe.Object | griffe.Alias) -> list[str]:
    return sorted(
        (str(name) for name in module.exports or () if not str(name).startswith("_")), key=str.lower
    )


def _note(member: griffe.Object | griffe.Alias, path: str, names: dict[str, str]) -> None:
    """Note the full names of an object and of its public members."""
    for full, documented in _paths(member, path):
        names.setdefault(full, documented)


def _paths(member: griffe.Object | griffe.Alias, path: str) -> Iterator[tuple[str, str]]:
    yield path, path
    yield member.canonical_path, path
    if member.is_class:
        for name, inner in member.all_members.items():
            if not name.startswith("_") and inner.has_docstring:
                yield f"{path}.{name}", f"{path}.{name}"
                yield f"{member.canonical_path}.{name}", f"{path}.{name}"


def _write(page: Path, title: str, module: str, names: list[str]) -> None:
    blocks = [f"::: {module}.{name}" for name in names]
    used = f"`import {module}{' as pb' if module == 'perspective_broker' else ''}`"
    page.write_text("\n\n".join([f"# {title}", used, *blocks]) + "\n", encoding="utf-8")
