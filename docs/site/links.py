"""Links of a built site: each leads to a page, and to an element of it."""

from __future__ import annotations

from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = ["broken_links"]


class _Page(HTMLParser):
    """Collects what a page links to, and what can be linked to in it."""

    def __init__(self) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        for name in ("id", "name"):
            if value := given.get(name):
                self.ids.add(value)
        for name in ("href", "src"):
            if value := given.get(name):
                self.links.add(value)


def broken_links(html: Path) -> list[str]:
    """Return what is wrong with the links between the pages below ``html``, a line for each."""

    @cache
    def read(page: Path) -> _Page:
        parsed = _Page()
        parsed.feed(page.read_text(encoding="utf-8"))
        return parsed

    found = []
    for page in sorted(html.rglob("*.html")):
        if page.name == "404.html":  # its links are absolute
            continue
        for link in sorted(read(page).links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            base = html if parts.path.startswith("/") else page.parent
            target = (base / unquote(parts.path).lstrip("/")).resolve() if parts.path else page
            if target.is_dir():
                target /= "index.html"
            where = f"{page.relative_to(html)}: {link}"
            if not target.is_file():
                found.append(f"{where}: there is no such page")
            elif (
                parts.fragment
                and target.suffix == ".html"
                and not parts.fragment.startswith("__")
                and unquote(parts.fragment) not in read(target).ids
            ):
                found.append(f"{where}: the page has no such heading")
    return found
