"""Turns roles in docstrings into links to the pages of the public names, or into plain code if no page has the name.

``:class:`~.flavors.Exportable``` is the full name or the end of one; with ``~`` only its last part is shown.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Final

import griffe

_ROLE: Final = re.compile(r":(?:class|func|meth|mod|attr|data|exc|obj):`(~?)([^`]+)`")
_DOUBLED: Final = re.compile(r"``([^`]+)``")


class Roles(griffe.Extension):
    """Rewrites the docstrings of everything that is loaded."""

    def __init__(self) -> None:
        names = json.loads(Path(os.environ["PB_SITE_NAMES"]).read_text(encoding="utf-8"))
        self._names: dict[str, str] = names
        self._ends: dict[str, set[str]] = {}
        for full, documented in names.items():
            parts = full.split(".")
            for start in range(len(parts)):
                self._ends.setdefault(".".join(parts[start:]), set()).add(documented)

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            text = _ROLE.sub(lambda match: self._link(match, obj), obj.docstring.value)
            obj.docstring.value = _DOUBLED.sub(r"`\1`", text)

    def _link(self, match: re.Match[str], obj: griffe.Object) -> str:
        short, written = bool(match[1]), match[2].strip()
        target = written.lstrip(".")
        shown = target.rpartition(".")[2] if short or written.startswith(".") else target
        inner = f"{obj.canonical_path if obj.is_class else obj.canonical_path.rpartition('.')[0]}.{target}"
        documented = self._names.get(inner)
        if documented is None:
            found = self._ends.get(target, set())
            documented = next(iter(found)) if len(found) == 1 else None
        return f"`{shown}`" if documented is None else f"[`{shown}`][{documented}]"
