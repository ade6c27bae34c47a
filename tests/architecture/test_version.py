"""The version stands in one place, and the changelog has a dated section for it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.version import Version

import perspective_broker as pb
from perspective_broker.native_path import VERSION

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_build_reads_the_version_where_programs_do() -> None:
    assert PYPROJECT["project"]["dynamic"] == ["version"]
    path = ROOT / PYPROJECT["tool"]["hatch"]["version"]["path"]
    assert path == ROOT / "src" / "perspective_broker" / "__init__.py"
    assert f'\n__version__ = "{pb.__version__}"\n' in path.read_text(encoding="utf-8")
    assert str(Version(pb.__version__)) == pb.__version__


def test_the_newest_section_of_the_changelog_is_this_version_with_its_date() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## .*$", text, re.MULTILINE)
    assert re.fullmatch(rf"## \[{re.escape(pb.__version__)}\] - \d{{4}}-\d\d-\d\d", headings[0])


def test_the_native_path_has_the_version_that_is_used() -> None:
    cargo = tomllib.loads((ROOT / "native" / "Cargo.toml").read_text(encoding="utf-8"))
    assert cargo["package"]["version"] == VERSION
    assert PYPROJECT["project"]["optional-dependencies"]["native"] == [
        f"perspective-broker-native=={VERSION}"
    ]
