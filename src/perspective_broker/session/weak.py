"""What lives here and is the peer's, held weakly: references, and the objects of replicas.

Not compiled, for a compiled class does not derive from :class:`weakref.ref`.
"""

from __future__ import annotations

import weakref
from collections.abc import Hashable

from ..flavors import Reference, RemoteCache

__all__ = ["Current", "Received"]


class Received(weakref.ref[Reference]):
    """A reference that lives here, held weakly, and how often it was received.

    Its callback tells that the reference is gone: in any thread, in the middle of anything. It is no finaliser of the
    reference, for while one runs, and the loop's thread runs beside it, the reference can still be found: it would be
    handed out again, and counted, after it was counted as gone. A weak reference is dead before its callback begins.

    Attributes:
        luid: the owner's id of the object.
        key: of the entry.
        count: releases that are owed.
        held: calls that wait here and mention the reference, or are to it.
        dropped: whether it was given back while it was held. All of these are set where an entry is made.
    """

    __slots__ = ("count", "dropped", "held", "key", "luid")

    luid: int
    key: Hashable
    count: int
    held: int
    dropped: bool


class Current(weakref.ref[RemoteCache]):
    """The replica object that there is now; see :class:`Received` for why its end is told by a callback.

    Attributes:
        luid: the replica's id; set by whoever makes one.
    """

    __slots__ = ("luid",)

    luid: int
