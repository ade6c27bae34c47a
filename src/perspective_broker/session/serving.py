"""The peer's calls: which run here, which wait for a free slot.

A slot is held until the method has ended, whatever the peer does meanwhile. Calls that find no slot, or whose
answers nobody reads, are kept until there is room; when the kept ones themselves grow too many,
the connection reads no further.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import ProtocolError
from ..flavors import Target
from ..limits import Limits
from ..ports import LARGE_MESSAGE, Method
from ..queues import Queue, put
from .expiry import Expiry
from .pipelining import PutOff

__all__ = ["IncomingCall", "Serving"]


class IncomingCall:
    """One call of the peer, from its arrival to its answer.

    Attributes:
        request: the peer's id of it.
        name: the method's name.
        wants_answer: whether the peer waits.
        size: encoded bytes; while it waits, as which it counts.
        method: what to run, with ``args`` and ``kwargs``; decoded when the call arrives, even if it has to wait,
            for what comes behind it may release what it mentions.
        perspective: under which the answer is coded.
        handle: the driver's own, such as the task that runs the method.
        done: whether it has ended.
        cancelled: whether the peer has withdrawn it.
        due: when its caller gives it up, by the driver's clock; None when it did not say.
        expired: whether it was stopped because of that.
        hangs_on: answers of ours that have to be there before it can start, by the calls they answer.
        undecoded: its target (None when that is an answer) and its arguments as they came, until these are there.
        put_off: what the peer gave back behind it while it was undecoded, for it may mention that.
    """

    __slots__ = (
        "args",
        "cancelled",
        "done",
        "due",
        "expired",
        "handle",
        "hangs_on",
        "kwargs",
        "method",
        "name",
        "perspective",
        "put_off",
        "request",
        "size",
        "undecoded",
        "wants_answer",
    )

    method: Method
    args: Sequence[Any]
    kwargs: Mapping[str, Any]

    def __init__(self, request: int, name: str, wants_answer: bool, size: int) -> None:
        self.request = request
        self.name = name
        self.wants_answer = wants_answer
        self.size = size
        self.perspective: Any = None
        self.handle: Any = None
        self.done = False
        self.cancelled = False
        self.due: float | None = None
        self.expired = False
        self.hangs_on: Sequence[int] = ()
        self.undecoded: tuple[Target | None, Any] | None = None
        self.put_off: PutOff | None = None


class Serving:
    """The calls of one peer that have begun and not ended, and those that wait to begin.

    Attributes:
        running: those that have begun.
        waiting: the others, in order.
        expiry: which of either have a deadline.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.running: dict[IncomingCall, None] = {}  # no set: an empty one takes 232 bytes, this 80
        self.waiting: Queue[IncomingCall] = ()
        self.expiry = Expiry()
        self._requests: dict[int, IncomingCall] = {}  # those whose answer the peer waits for
        self._waiting_bytes = 0
        self._running_bytes = 0
        self._last_undecoded: IncomingCall | None = None

    def arrive(self, call: IncomingCall) -> None:
        """Take note of a call that has come.

        Raises:
            ProtocolError: its id is that of a call which has not been answered yet.
        """
        if call.wants_answer:
            if call.request in self._requests:
                raise ProtocolError("duplicate-id", "a request id was used again before its answer")
            self._requests[call.request] = call

    def find(self, request: int) -> IncomingCall | None:
        """Return the call that the peer made under that id and waits for, or None."""
        return self._requests.get(request)

    def undecoded_before(self, call: IncomingCall) -> IncomingCall | None:
        """Return the youngest call that waits undecoded and came before ``call``, which waits."""
        found = None
        for other in self.waiting:
            if other is call:
                break
            if other.undecoded is not None:
                found = other
        return found

    def withdraw(self, call: IncomingCall) -> bool:
        """Take a call back that has not begun; False when it has."""
        if not self.waiting or call not in self.waiting:
            return False
        self.waiting.remove(call)
        self._left(call)
        return True

    def _left(self, call: IncomingCall) -> None:
        self._waiting_bytes -= call.size
        if call is self._last_undecoded:
            undecoded = (call for call in reversed(self.waiting) if call.undecoded is not None)
            self._last_undecoded = next(undecoded, None)

    @property
    def last_undecoded(self) -> IncomingCall | None:
        """The youngest call that waits for answers of ours before it can even be decoded."""
        return self._last_undecoded

    @property
    def has_slot(self) -> bool:
        """Whether one more method may run: a caller of this library has no more, and no larger, calls open at once."""
        return (
            len(self.running) < self.limits.calls_in_flight
            and self._running_bytes < 2 * self.limits.window_bytes
        )

    @property
    def is_full(self) -> bool:
        """Whether so much waits that reading must stop.

        The last arrival does not count: one large call is let in whole, the next one waits outside.
        """
        waiting = self.waiting
        if not waiting or len(waiting) == 1:
            return False
        return (
            len(waiting) > 2 * self.limits.calls_in_flight
            or self._waiting_bytes - waiting[-1].size >= 2 * self.limits.window_bytes
        )

    def wait(self, call: IncomingCall) -> None:
        """Keep a call until there is a slot."""
        call.size = min(call.size, LARGE_MESSAGE)  # as its caller counts it, see Questions
        self.waiting = put(self.waiting, call)
        self._waiting_bytes += call.size
        if call.undecoded is not None:
            self._last_undecoded = call

    def next_waiting(self) -> IncomingCall:
        """Return the call that waited longest."""
        assert self.waiting
        call = self.waiting.popleft()
        self._left(call)
        return call

    def start(self, call: IncomingCall) -> None:
        """The call's method is about to run."""
        self.running[call] = None
        self._running_bytes += min(call.size, LARGE_MESSAGE)

    def end(self, call: IncomingCall) -> bool:
        """The call is over; False when it had ended before."""
        if call.done:
            return False
        call.done = True
        if self.running.pop(call, self) is None:
            self._running_bytes -= min(call.size, LARGE_MESSAGE)
        if call.due is not None:
            self.expiry.remove(call)
        if call.wants_answer:
            self._requests.pop(call.request, None)
        return True

    def abandon(self) -> list[IncomingCall]:
        """Forget every call and return those whose methods run: the connection has ended."""
        running = list(self.running)
        for call in running:
            call.done = True
        self.running.clear()
        self.waiting = ()
        self.expiry.clear()
        self._requests.clear()
        self._last_undecoded = None
        self._waiting_bytes = self._running_bytes = 0
        return running
