"""The site is built without a warning, every link of it leads somewhere, and its search finds what people look for."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "docs" / "site" / "build.py"

sys.path.insert(0, str(BUILD.parent))
from links import broken_links  # noqa: E402

needs_builder = pytest.mark.skipif(
    find_spec("zensical") is None or find_spec("mkdocstrings") is None,
    reason="the site's builder is not installed: make docs",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The built pages, and what the builder has printed."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, str(BUILD), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out / "html", done.stdout + done.stderr


@needs_builder
def test_the_build_warns_of_nothing(site: tuple[Path, str]) -> None:
    assert not re.search("warning|griffe:|error", site[1], re.IGNORECASE), site[1]


@needs_builder
@pytest.mark.parametrize(
    ("word", "page"),
    [
        ("lock", "do/locks-and-leases/"),
        ("kick", "do/disconnect-a-user/"),
        ("progress", "do/progress-and-cancellation/"),
        ("numpy", "reference/values/"),
        ("DeadReferenceError", "reference/names/errors/"),
    ],
)
def test_a_search_finds_the_page(site: tuple[Path, str], word: str, page: str) -> None:
    items: list[dict[str, Any]] = json.loads((site[0] / "search.json").read_text("utf-8"))["items"]
    found = {
        item["location"].partition("#")[0]
        for item in items
        if re.search(word, f"{item['title']} {item['text']}", re.IGNORECASE)
    }
    assert page in found


@needs_builder
def test_every_public_name_has_its_place(site: tuple[Path, str]) -> None:
    pages = "".join(path.read_text("utf-8") for path in (site[0] / "reference" / "names").glob("*.md"))
    import perspective_broker

    public = {name for name in perspective_broker.__all__ if not name.startswith("_")}
    assert public <= set(re.findall(r"^::: perspective_broker\.(\w+)$", pages, re.MULTILINE))
    html = (site[0] / "reference" / "names" / "aio" / "index.html").read_text("utf-8")
    assert 'id="perspective_broker.connect"' in html
    assert ":class:" not in html


@needs_builder
def test_programs_read_the_pages_as_markdown(site: tuple[Path, str]) -> None:
    index = (site[0] / "llms.txt").read_text("utf-8")
    links = re.findall(r"\]\(([^)]+)\)", index)
    assert len(links) > 40
    for link in links:
        assert (site[0] / link).read_text("utf-8").startswith("# ")


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "index.html").write_text('<h2 id="a">a</h2>')
    (tmp_path / "index.html").write_text(
        '<a href="there/#a"></a><a href="there/#b"></a><a href="gone/"></a><a href="https://elsewhere/"></a>'
    )
    assert broken_links(tmp_path) == [
        "index.html: gone/: there is no such page",
        "index.html: there/#b: the page has no such heading",
    ]
