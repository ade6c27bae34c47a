"""Writing: hands bytes to a transport in ways that no event loop makes costly, and learns when it is full.

The transports of asyncio changed in Python 3.12. They keep what was written as a list of pieces and no longer copy it
into one buffer, which saves a copy of everything large. Three things follow, and this module deals with each:

- ``writelines`` does not report that the buffer is full (3.12.0 to 3.12.8, 3.13.0 and 3.13.1: CVE-2024-12254).
- ``writelines`` fails on a transport that is closing (to 3.12, 3.13.5), where ``write`` does not.
- The size of the buffer is the sum over all pieces, computed anew for each ``write``. A peer that reads nothing, and
  asks one small thing after the other, made each answer cost milliseconds: 10,000 answers took 1 s, the next 10,000
  took 3 s. So a transport never holds many pieces here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from ..session import Capacity

__all__ = ["MOST_PIECES", "Writer"]

#: Bytes that what is written together has on average, if it is not joined.
_LARGE: Final = 4096

#: Pieces that may be written before the buffer has to be seen empty. To add up so many takes 6 µs.
MOST_PIECES: Final = 256


class Writer(Capacity):
    """Writes to one transport, and keeps its write buffer within limits.

    Args:
        transport: which calls ``pause_writing`` and ``resume_writing`` of its protocol.
        high: bytes from which on the buffer is full.
        low: bytes at which a full buffer takes more again.
    """

    def __init__(self, transport: asyncio.Transport, high: int, low: int) -> None:
        self._transport = transport
        self._high = high
        self._low = low
        self._pieces = 0  # written since the buffer was known to be empty
        self.resumed()

    def resumed(self) -> None:
        """The transport takes more again: a full buffer has drained."""
        self._pieces = 0
        self._transport.set_write_buffer_limits(high=self._high, low=self._low)

    def capacity(self) -> int:
        """Return how many bytes may be written before the buffer is full."""
        return self._high - self._transport.get_write_buffer_size()

    def takes_more(self) -> bool:
        """Whether more may be written. If not, the protocol was paused, until the buffer is empty."""
        if self._pieces < MOST_PIECES:
            return True
        self._pieces = 0
        if not self._transport.get_write_buffer_size():
            return True
        # This pauses the protocol now, because the buffer is larger than 0.
        self._transport.set_write_buffer_limits(high=0)
        return False

    def write(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Write ``pieces``, which are not empty."""
        transport = self._transport
        if len(pieces) == 1:
            self._pieces += 1
            transport.write(pieces[0])
        # Fresh memory for a large copy costs more than the copy: echoing 1 MiB took 2.5 ms of processor time with
        # this one and one where frames are read, and takes 1.2 ms without.
        elif sum(map(len, pieces)) < _LARGE * len(pieces) or transport.is_closing():
            self._pieces += 1
            transport.write(b"".join(pieces))
        else:
            self._pieces += len(pieces)
            transport.writelines(pieces)
            # This looks at the size of the buffer, and pauses the protocol if need be.
            transport.set_write_buffer_limits(high=self._high, low=self._low)
