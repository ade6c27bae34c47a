"""The ids of one connection, which both sides count in step.

Positive ids are not in the messages that take them: each push takes the next one, in the order in which pushes leave.
So an id is given when its message leaves, not when it is made: a call may wait for a slot, and be given up there. Ids
of our objects are given then, too, a new one for every sending (specification, section 4).
"""

from __future__ import annotations

import re
from typing import Final

from ...errors import UnknownObject
from ...queues import NOTHING, own

__all__ = ["Ids"]

_MARK: Final = re.compile(rb"\0([ep])(\d+)\0")


class Ids:
    """The ids that this side gives.

    Attributes:
        exports: wire ids of our objects, and the session's ids of these.
        asked: wire ids of our calls that have no answer, with the session's requests.
    """

    def __init__(self) -> None:
        self.exports: dict[int, int] = NOTHING
        self.asked: dict[int, int] = NOTHING
        self._kept: dict[int, int] = (
            NOTHING  # requests whose answers the peer keeps until we forget them -> wire id
        )
        self._last_push = 0
        self._last_export = 0

    def fill_in(self, message: bytes) -> bytes:
        """Return a message with ids in the place of its marks."""
        return _MARK.sub(self._id, message) if b"\0" in message else message

    def _id(self, found: re.Match[bytes]) -> bytes:
        number = int(found[2])
        if found[1] == b"p":
            return b"%d" % self._kept[number]
        self._last_export -= 1
        self.exports = own(self.exports)
        self.exports[self._last_export] = number
        return b"%d" % self._last_export

    def push(self, request: int, wants_answer: bool, is_kept: bool) -> int:
        """Return the id of a push that leaves now."""
        self._last_push += 1
        if wants_answer:
            self.asked = own(self.asked)
            self.asked[self._last_push] = request
        if is_kept:
            self._kept = own(self._kept)
            self._kept[request] = self._last_push
        return self._last_push

    def answered(self, wire: int) -> tuple[int, bool] | None:
        """Return the request that the peer answers, and whether its answer is kept; None when none waits for that."""
        request = self.asked.pop(wire, None)
        return None if request is None else (request, request in self._kept)

    def forget(self, request: int) -> int | None:
        """Return the id of an answer that the peer has kept, and need not keep any longer."""
        return self._kept.pop(request, None)

    def exported(self, wire: int) -> int:
        """Return the session's id of an object of ours.

        Raises:
            UnknownObject: it was never given, or was released.
        """
        luid = self.exports.get(wire)
        if luid is None:
            raise UnknownObject("no object lives under that id")
        return luid

    def was_exported(self, wire: int) -> bool:
        """Whether an id of an object of ours was ever given."""
        return self._last_export <= wire < 0
