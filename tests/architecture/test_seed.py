"""docs/seed.md has every name of the 2002 documentation, and its files and tests exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SEED = (ROOT / "docs" / "seed.md").read_text(encoding="utf-8")

#: Every function and class that the documentation of Twisted 0.19's pb names.
NAMES = """
    _cbLogInRespond _cbLogInResponded _cbRespondToChallenge _connGotRoot authIdentity connect failure2Copyable
    getObjectAt logIn noOperation printTraceback print_excFullStack
    AsReferenceable AuthChallenger AuthRoot AuthServ Broker BrokerFactory CopiedFailure CopyableFailure Error
    IdentityWrapper Local Perspective ProtocolError RemoteMethod RemoteReference Service _Detacher
    _ObjectRetrieval _RemoteCacheDummy
""".split()

ROWS = {
    match[1]: match[0]
    for match in re.finditer(r"^\| `(\w+)` \|.*$", SEED, re.MULTILINE)
    if match[1] != "2002"
}


def test_every_name_has_a_row() -> None:
    assert set(ROWS) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_where_it_lives_and_what_shows_it(name: str) -> None:
    _, _, where, _, test, _ = (cell.strip() for cell in ROWS[name].split("|"))
    if where != "—":
        assert (ROOT / "src" / "perspective_broker" / where.strip("`")).is_file()
    path, _, function = test.strip("`").partition("::")
    assert (ROOT / path).is_file()
    if function:
        assert f"def {function}(" in (ROOT / path).read_text(encoding="utf-8")
