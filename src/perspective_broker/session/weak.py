"""References and replicas that live here and belong to the peer, held weakly.

Not compiled, because a compiled class does not derive from :class:`weakref.ref`.
"""

from __future__ import annotations

import weakref
from collections.abc import Hashable

from ..flavors import Reference, RemoteCache

__all__ = ["Current", "Received"]


class Received(weakref.ref[Reference]):
    """A reference that lives here, held weakly, and how often it was received.

    Its callback reports that the reference is gone: in any thread, in the middle of other code. It is not a finaliser
    of the reference, because while a finaliser runs, the loop's thread can still find the reference: it would be
    handed out again, and counted, after it was counted as gone. A weak reference is dead before its callback begins.

    Attributes:
        luid: the owner's id of the object.
        key: of the entry.
        count: releases that are owed.
        held: calls that wait here and refer to the reference, or are to it.
        dropped: whether it was given back while it was held. All of these are set where an entry is made.
    """

    __slots__ = ("count", "dropped", "held", "key", "luid")

    luid: int
    key: Hashable
    count: int
    held: int
    dropped: bool


class Current(weakref.ref[RemoteCache]):
    """The replica object that there is now; see :class:`Received` for the reason of the callback.

    Attributes:
        luid: the replica's id; set by the code that makes one.
    """

    __slots__ = ("luid",)

    luid: int
