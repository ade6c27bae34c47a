"""Endings: the callbacks for the end of a connection, in the order in which they were asked for.

A callback of a reference must not keep the reference: the peer would keep its object as long as the connection lives,
although the program has forgotten it. The reference keeps its callbacks instead, and they are forgotten with it::

    reference ──▶ list ──▶ Ending ──▶ callback          ──▶ keeps
        ▲                    ┊  ▲                       ┄┄▶ does not keep
        └┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┘  └┄┄ Endings

So a callback may refer to its reference: the two are one cycle, which the garbage collector ends.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["Ending", "Endings"]

_Subject = TypeVar("_Subject")


class Ending:
    """One callback, and what it is called with.

    Args:
        subject: returns what the callback is called with; None when that is gone.
        callback: called once, at the end.
    """

    __slots__ = ("__weakref__", "callback", "subject")

    def __init__(self, subject: Callable[[], Any], callback: Callable[[Any], object]) -> None:
        self.subject: Callable[[], Any] = subject
        self.callback: Callable[[Any], object] = callback


class Endings:
    """The callbacks for the end of one connection, and the tasks that wait until nothing of it is left.

    Most connections have neither, so nothing is made before the first.
    """

    __slots__ = ("_gone", "_in_order", "_is_gone", "_kept")

    def __init__(self) -> None:
        self._in_order: dict[weakref.ref[Ending], None] | None = None
        self._kept: list[Ending] | None = None  # what lives as long as the connection
        self._is_gone = False
        self._gone: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._in_order or ())

    def add(
        self, subject: _Subject, callback: Callable[[_Subject], object], own: list[Ending] | None = None
    ) -> None:
        """Have ``callback(subject)`` called at the end.

        Args:
            subject: what the callback is called with.
            callback: called after those that were added before.
            own: the subject's own list, which then keeps the callback in place of the connection.
        """
        if own is not None:
            ending = Ending(weakref.ref(subject), callback)
            own.append(ending)
        else:
            ending = Ending(lambda: subject, callback)
            if self._kept is None:
                self._kept = []
            self._kept.append(ending)
        if self._in_order is None:
            self._in_order = {}
        in_order = self._in_order
        # Called where the garbage collector runs, in any thread.
        in_order[weakref.ref(ending, lambda gone: in_order.pop(gone, None))] = None

    def remove(self, subject: object, callback: object, own: list[Ending] | None = None) -> None:
        """Undo one :meth:`add`.

        Raises:
            ValueError: there was none.
        """
        kept = (self._kept or []) if own is None else own
        for index, ending in enumerate(kept):
            if ending.callback == callback and ending.subject() is subject:
                del kept[index]
                return
        raise ValueError("that callback was not registered here")

    def take(self) -> list[tuple[Any, Callable[[Any], object]]]:
        """Return each subject that lives and its callback, in order, and forget them all.

        They live on in the list: one callback may let go of what the next one is called with.
        """
        found = [ending for known in list(self._in_order or ()) if (ending := known()) is not None]
        self._in_order = self._kept = None
        return [(subject, one.callback) for one in found if (subject := one.subject()) is not None]

    def set_gone(self) -> None:
        """Wake the tasks that wait: nothing is left of the connection."""
        self._is_gone = True
        if self._gone is not None:
            self._gone.set_result(None)

    async def wait_gone(self) -> None:
        """Wait until the connection has ended and nothing of it runs any more."""
        if self._is_gone:
            return
        if self._gone is None:
            self._gone = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._gone)
