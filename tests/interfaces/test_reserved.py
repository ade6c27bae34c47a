"""The reserved names are those of the classes that have methods of interfaces."""

from __future__ import annotations

import perspective_broker as pb
from perspective_broker.interfaces.proxies import Proxy, RemoteFunction
from perspective_broker.interfaces.reserved import RESERVED


def public(cls: type) -> set[str]:
    return {name for name in dir(cls) if not name.startswith("_")}


def test_every_name_is_reserved() -> None:
    taken = public(pb.RemoteReference) | public(pb.Root) | public(pb.Viewable) | public(pb.Interface)
    taken |= public(Proxy) | public(RemoteFunction)
    assert taken == set(RESERVED)
