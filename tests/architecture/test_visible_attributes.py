"""What help() and completion show of the objects that programs hold is what docs/reference/handles.md names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import perspective_broker as pb
from perspective_broker import annotations as names_of_types
from perspective_broker import remote
from perspective_broker.testing import memory_pair

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "handles.md"


def documented() -> dict[str, set[str]]:
    """Return the names in the tables of the page, by heading."""
    found = {}
    for part in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        heading, _, text = part.partition("\n")
        cells = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| `")]
        found[heading] = {name for cell in cells for name in re.findall(r"`(\w+)", cell)}
    return found


def visible(value: object) -> set[str]:
    return {name for name in dir(value) if not name.startswith("_")}


@pytest.mark.parametrize(("name", "names"), documented().items())
def test_a_class_shows_what_is_documented(name: str, names: set[str]) -> None:
    (cls,) = {
        vars(module)[name] for module in (pb, pb.streams, names_of_types, remote) if name in module.__all__
    }
    assert visible(cls) == names


def test_a_reader_of_pages_shows_what_a_reader_of_a_stream_does() -> None:
    assert visible(pb.streams.PageReader) == visible(pb.streams.StreamReader)


async def test_an_object_shows_what_its_class_does() -> None:
    async with memory_pair(pb.Root()) as pair:
        promise = pair.root.call("nothing")
        for handle in (pair.server, pair.client, pair.root, promise):
            assert visible(handle) == documented()[type(handle).__name__]
        promise.cancel()


async def test_a_server_shows_no_more_of_its_connections() -> None:
    """Logins can do more with them."""
    async with memory_pair(pb.Root()) as pair:
        assert visible(pair.accepted) == visible(pb.Connection)
