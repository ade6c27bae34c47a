"""Build the site: the pages as they are, and a reference of every public name.

    make docs                                # into build/site/html
    python docs/site/build.py --serve        # and show it on http://127.0.0.1:8000

The pages are plain Markdown with links between files of the repository. They are copied to one folder with their links
rewritten, pages for the public names are added, and the generator runs over that. Then every link of the result is
followed: one that leads nowhere fails the build.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import Final

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
sys.path.insert(0, str(HERE))

from links import broken_links  # noqa: E402
from reference import reference_pages  # noqa: E402

#: Everything that is made: the pages, beside them the configuration, and the result.
OUT: Final = ROOT / "build" / "site"

#: Files outside of docs/ that are pages of the site -> where they are there.
OUTSIDE: Final = {
    "SECURITY.md": "understand/security.md",
    "CHANGELOG.md": "reference/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "RELEASING.md": "project/releasing.md",
    "bench/README.md": "project/bench.md",
}
#: Pages of docs/ that are elsewhere on the site. The index of words is what a site's search is for, so it comes last.
MOVED: Final = {"docs/start.md": "index.md", "docs/README.md": "find.md"}

_LINK: Final = re.compile(r"\]\(([^)\s]+)\)")
_FENCED: Final = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_HEADING: Final = re.compile(r"^#+ (?!.*\]\().*$", re.MULTILINE)


@dataclass(frozen=True)
class Group:
    """One of the four questions in the navigation.

    Attributes:
        title: the question.
        pages: path on the site -> title in the navigation, in order.
    """

    title: str
    pages: dict[str, str]


def staged_path(source: str) -> str | None:
    """Return where a file of the repository is on the site; None when it is not there."""
    if source in MOVED:
        return MOVED[source]
    if source in OUTSIDE:
        return OUTSIDE[source]
    if source == "README.md":
        return "index.md"
    return source.removeprefix("docs/") if source.startswith("docs/") and source.endswith(".md") else None


def stage(pages: Path) -> None:
    """Write the pages with their links rewritten, and those files of the repository to which they link."""
    sources = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").rglob("*.md"))]
    programs: set[str] = set()
    for source in [*sources, *OUTSIDE]:
        target = staged_path(source)
        assert target is not None, source
        text = (ROOT / source).read_text(encoding="utf-8")
        _write(pages / target, _rewritten(text, source, target, programs))
    for program in sorted(programs):
        _write(pages / _program_page(program), _program(program))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _rewritten(text: str, source: str, target: str, programs: set[str]) -> str:
    """Return a page whose links lead to pages of the site; note the files of the repository that have to be there."""

    def rewrite(match: re.Match[str]) -> str:
        link = match[1]
        if re.match(r"\w+:|#", link):
            return match[0]
        path, mark, heading = link.partition("#")
        to = os.path.normpath((PurePosixPath(source).parent / path).as_posix())
        there = staged_path(to)
        if there is None:
            if not (ROOT / to).exists():
                raise SystemExit(f"{source}: the link to {link} leads nowhere")
            programs.add(to)
            there = _program_page(to)
        return f"]({os.path.relpath(there, PurePosixPath(target).parent)}{mark}{heading})"

    parts = _FENCED.split(text)  # every second one is a program
    return "".join(
        part if number % 2 else _HEADING.sub(_plain_heading, _LINK.sub(rewrite, part))
        for number, part in enumerate(parts)
    )


def _plain_heading(match: re.Match[str]) -> str:
    """Return a heading with its brackets escaped: they are part of a usage and do not refer to a link."""
    return match[0].replace("[", "\\[").replace("]", "\\]")


def _program_page(source: str) -> str:
    return f"source/{source}.md"


def _program(source: str) -> str:
    """Return a page with a file of the repository, or with the files of a folder."""
    path = ROOT / source
    files = sorted(path.glob("*.py")) if path.is_dir() else [path]
    parts = [f"# {source}\n"]
    for file in files:
        language = "python" if file.suffix == ".py" else "text"
        heading = f"## {file.name}\n\n" if path.is_dir() else ""
        parts.append(f"{heading}````{language}\n{file.read_text(encoding='utf-8')}````\n")
    return "\n".join(parts)


def groups() -> list[Group]:
    """Return the four questions and their pages, from the list of all pages in the index."""
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8").partition("## All pages")[2]
    found = []
    for title, entry in re.findall(r"^- ([\w ]+):(.*?)(?=^- |\Z)", index, re.MULTILINE | re.DOTALL):
        pages = {}
        for shown, link in re.findall(r"\[([^\]]+)\]\(([^)\s]+)\)", entry):
            page = staged_path(os.path.normpath(f"docs/{link.partition('#')[0]}"))
            if page not in (None, "index.md"):
                text = " ".join(shown.replace("`", "").split())
                pages[page] = text[0].upper() + text[1:]
        found.append(Group(title, pages))
    return found


def configuration(navigation: list[Group], reference: dict[str, str]) -> str:
    """Return the generator's configuration.

    Args:
        navigation: the groups of pages.
        reference: title -> page of the public names.
    """

    def entry(title: str, page: str) -> str:
        return f"{{ {json.dumps(title)} = {json.dumps(page)} }}"

    nav = [entry("In a minute", "index.md")]
    for group in navigation:
        pages = [entry(title, page) for page, title in group.pages.items()]
        if group.title == "Look up":
            names = ", ".join(entry(title, page) for title, page in reference.items())
            pages += [f'{{ "Public names" = [{names}] }}', entry("Changelog", "reference/changelog.md")]
            pages.append(entry("Find a page by a word", "find.md"))
        nav.append(f"{{ {json.dumps(group.title)} = [{', '.join(pages)}] }}")
    template = (HERE / "zensical.toml").read_text(encoding="utf-8")
    return template.replace('"@nav@"', ",\n  ".join(nav)).replace("@root@", ROOT.as_posix())


def write_for_programs(out: Path, navigation: list[Group], reference: dict[str, str]) -> None:
    """Put the Markdown of each page beside its HTML, and an index of them into llms.txt."""
    pages, html = out / "pages", out / "html"
    for page in pages.rglob("*.md"):
        copy = html / page.relative_to(pages)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(page, copy)
    start = (pages / "index.md").read_text(encoding="utf-8")
    about = next(part for part in start.split("\n\n") if not part.startswith("#"))
    lines = ["# perspective-broker", "", "> " + " ".join(about.split()), ""]
    for group in navigation:
        lines += [f"## {group.title}", ""]
        lines += [f"- [{title}]({page})" for page, title in group.pages.items()]
        lines.append("")
    lines += ["## Public names", ""]
    lines += [f"- [{title}]({page})" for title, page in reference.items()]
    (html / "llms.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def build(out: Path) -> None:
    """Build everything below ``out``; the site is in its folder ``html``.

    Raises:
        SystemExit: the generator warned, or a link leads nowhere.
    """
    began = time.monotonic()
    shutil.rmtree(out, ignore_errors=True)
    stage(out / "pages")
    reference = reference_pages(ROOT / "src", out)
    navigation = groups()
    config = out / "zensical.toml"
    config.write_text(configuration(navigation, reference), encoding="utf-8")
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict", "--config-file", str(config)]
    environment = os.environ | {"PYTHONPATH": str(HERE), "PB_SITE_NAMES": str(out / "names.json")}
    if subprocess.run(command, cwd=out, env=environment, check=False).returncode:
        raise SystemExit("error: the generator failed, see above")
    write_for_programs(out, navigation, reference)
    broken = broken_links(out / "html")
    for link in broken:
        print(f"error: {link}", file=sys.stderr)
    if broken:
        raise SystemExit(f"error: {len(broken)} links lead nowhere")
    pages = len(list((out / "html").rglob("index.html")))
    print(f"{pages} pages in {out / 'html'}, in {time.monotonic() - began:.1f} s; every link leads somewhere")


def main() -> None:
    """Build the site, and show it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--out", type=Path, default=OUT, help="the folder of all that is made (default: build/site)"
    )
    parser.add_argument("--serve", action="store_true", help="show the result on http://127.0.0.1:8000")
    options = parser.parse_args()
    build(options.out.resolve())
    if options.serve:
        handler = partial(SimpleHTTPRequestHandler, directory=str(options.out / "html"))
        print("http://127.0.0.1:8000 (Ctrl-C ends)", flush=True)
        ThreadingHTTPServer(("127.0.0.1", 8000), handler).serve_forever()


if __name__ == "__main__":
    main()
