"""Replies: a reply that is too large is replaced by a shorter one; a peer cannot make the core raise."""

from __future__ import annotations

from typing import Any

import pytest

import perspective_broker as pb

from .objects import make_pair

#: Fewer bytes than any encoded error has.
TINY = pb.Limits(message_bytes=200, string_bytes=20, large_string_bytes=20, nodes=48, depth=3)


class Talkative(pb.Root):
    def remote_refuse(self) -> None:
        raise pb.Error("é" * 60_000)

    def remote_break(self) -> Any:
        raise KeyError("nothing")


@pytest.mark.parametrize("name", ["refuse", "break", "missing"])
def test_an_error_is_reported_also_where_no_message_of_its_size_is_read(dialect: str, name: str) -> None:
    with make_pair(Talkative(), limits=TINY, client_limits=pb.Limits()) as pair:
        outcome = pair.root.call(name)
        pair.run()
        assert isinstance(outcome.error, pb.RemoteError if name != "missing" else pb.NoSuchMethod)
        assert pair.client.code == ""
