"""Our answers to the peer's pushes, which are kept until it releases them, and what waits for answers and promises."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ...errors import BadArguments, CallError, ProtocolError, SerializationError, Unavailable
from ...flavors import from_within
from ...limits import Limits
from ...ports import Exporter, Importer, Perspective, Receiver, Undecoded, Value
from .encoding import to_json
from .failures import error_tree
from .ids import Ids
from .settlements import KEPT_BYTES, Settlement, Waiting, kept_copy
from .writer import Outcomes, reject, resolve

__all__ = ["Answers"]


class Answers(Outcomes):
    """The answers of one connection.

    Args:
        exporter: turns our objects into ids of the session.
        receiver: gets what is ready.
        importer: finds the main object.
        ids: of our objects.
        limits: what the peer may make us keep.

    Attributes:
        last_push: the number of pushes of the peer.
    """

    def __init__(
        self, exporter: Exporter, receiver: Receiver, importer: Importer, ids: Ids, limits: Limits
    ) -> None:
        self._exporter = exporter
        self._receiver = receiver
        self._importer = importer
        self._ids = ids
        self._limits = limits
        self.last_push: int = 0
        self._kept: dict[int, Settlement] = {}  # the peer's pushes that it has not released
        self._running: dict[int, Settlement] = {}  # those, and nested calls, that the broker knows
        self._ready: deque[Waiting] = deque()
        self._kept_bytes = 0
        self._waiting_bytes = 0

    def use_limits(self, limits: Limits) -> None:
        """Go by other limits from now on."""
        self._limits = limits

    def find(self, number: int) -> Settlement | None:
        """Return the answer of a push, if it is kept."""
        return self._kept.get(number)

    def run(self, number: int, kept: Settlement) -> None:
        """The broker gets the call of a push."""
        kept.is_running = True
        self._running[number] = kept

    def take_ready(self) -> Waiting | None:
        """Return what has waited, and is ready."""
        if not self._ready:
            return None
        waiting = self._ready.popleft()
        self._waiting_bytes -= waiting.size
        return waiting

    def keep(self, number: int, kept: Settlement) -> None:
        """Keep the answer of a push that has come."""
        kept.weight = KEPT_BYTES
        self._kept_bytes += KEPT_BYTES
        self._kept[number] = kept
        if self._kept_bytes > 4 * self._limits.message_bytes:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        """Forget answers that were never asked for, the oldest first: many programs never release what they drop."""
        for number, kept in list(self._kept.items()):
            if kept.is_settled and not kept.is_pulled and kept.waiting is None:
                self._drop(number, kept)
                if self._kept_bytes <= 3 * self._limits.message_bytes:
                    return
        if self._kept_bytes > 4 * self._limits.message_bytes:
            raise ProtocolError(
                "limit-kept", "the answers that are kept are larger than 4 times Limits.message_bytes"
            )

    def _drop(self, number: int, kept: Settlement) -> None:
        del self._kept[number]
        kept.is_released = True
        self._kept_bytes -= kept.weight

    def when_settled(
        self, needed: list[Settlement], act: Callable[[], None], size: int, may_refuse: bool
    ) -> None:
        """Act now, or when all of ``needed`` are settled.

        Args:
            needed: promises.
            act: is called.
            size: bytes of the message.
            may_refuse: whether it can be refused.

        Raises:
            Unavailable: too much waits already.
        """
        missing = [one for one in needed if not one.is_settled]
        if not missing:
            act()
            return
        size = max(size, 256)
        if self._waiting_bytes + size > self._limits.waiting_bytes and may_refuse:
            raise Unavailable("too many calls wait for promises (Limits.waiting_bytes)", code="slots")
        self._waiting_bytes += size
        waiting = Waiting(act, size)
        waiting.missing = len(missing)
        for one in missing:
            if one.waiting is None:
                one.waiting = []
            one.waiting.append(waiting)

    # -- outcomes of pushes

    def is_wanted(self, request: int) -> bool:
        """Whether the peer wants to be sent the outcome of a push now."""
        kept = self._running.get(request)
        return kept is not None and kept.is_pulled and not kept.is_released

    def succeeded(self, request: int, value: Value, perspective: Perspective) -> None:
        """A method has returned."""
        kept = self._running.pop(request, None)
        if kept is not None:
            kept.is_running = False
            self.settle(request, kept, value, perspective)

    def failed(self, request: int, error: bytes) -> None:
        """A method has raised, or was not called."""
        kept = self._running.pop(request, None)
        if kept is not None:
            kept.is_running = False
            self.settle(request, kept, None, None, error)

    def settle(
        self,
        number: int,
        kept: Settlement,
        value: Value,
        perspective: Perspective,
        error: bytes | None = None,
    ) -> None:
        if not (kept.is_stream or (kept.is_released and kept.waiting is None)):
            weight = len(error or b"") + KEPT_BYTES
            if error is None:
                value, weight = kept_copy(value)
            kept.value, kept.perspective, kept.error = value, perspective, error
            if number in self._kept:
                self._kept_bytes += weight - kept.weight
                kept.weight = weight
        kept.is_settled = True
        if kept.waiting is not None:
            self.wake(kept)

    def wake(self, kept: Settlement) -> None:
        """A promise is settled: what waits for it alone is ready."""
        waiting, kept.waiting = kept.waiting or (), None
        for one in waiting:
            one.missing -= 1
            if not one.missing:
                self._ready.append(one)
        if self._ready:
            self._receiver.go_on()

    def settle_here(self, number: int, kept: Settlement, value: Value, perspective: Perspective) -> None:
        """Settle a push for which no method was called."""
        self.settle(number, kept, value, perspective)
        if kept.is_pulled and not kept.is_released:
            self._send_value(number, kept)

    def settle_error(self, number: int, kept: Settlement, error: bytes) -> None:
        """The same with an error."""
        self.settle(number, kept, None, None, error)
        if kept.is_pulled and not kept.is_released:
            self._receiver.send(reject(number, error))

    def _send_value(self, number: int, kept: Settlement) -> None:
        """Send a value that is known; hooks of the program may run."""

        def make() -> bytes:
            try:
                return resolve(self._exporter, number, kept.value, kept.perspective)
            except SerializationError as error:
                return reject(number, to_json(error_tree(from_within(error))))
            except Exception as error:
                return reject(number, to_json(error_tree(error)))

        self._receiver.send_made(make)

    # -- pulls and releases

    def pull(self, number: int) -> None:
        """The peer wants to be sent the outcome of a push.

        Raises:
            ProtocolError: of one that it never made.
        """
        if number == 0:
            root = Settlement()
            root.value = self._importer.local_object("root")
            self._send_value(0, root)
            return
        kept = self._kept.get(number)
        if kept is None:
            if 0 < number <= self.last_push:  # it was forgotten here (_forget_oldest)
                self._receiver.send(reject(number, to_json(error_tree(_forgotten()))))
                return
            raise ProtocolError("bad-id", "a pull of what was never pushed, or was released")
        if kept.is_pulled:
            return
        kept.is_pulled = True
        if not kept.is_settled:
            return
        if kept.error is not None:
            self._receiver.send(reject(number, kept.error))
        else:
            self._send_value(number, kept)

    def release(self, wire: int, count: Undecoded) -> None:
        """The peer lets go of an object of ours, or of an answer.

        Raises:
            ProtocolError: of what it does not have.
        """
        if type(count) is not int or count < 1:
            raise ProtocolError("refcount", "a release has a count of at least one")
        if wire < 0:
            luid = self._ids.exports.pop(wire, None)
            if luid is None or count != 1:  # each sending has an id of its own
                raise ProtocolError("refcount", "an object was released more often than it was sent")
            self._receiver.on_release(luid, 1)
            return
        if wire == 0:
            return  # the main object is there as long as the connection
        kept = self._kept.get(wire)
        if kept is None or count != 1:
            if 0 < wire <= self.last_push and count == 1:
                return  # it was forgotten here
            raise ProtocolError("refcount", "an answer was released that is not kept")
        self._drop(wire, kept)
        # Somebody waited for it, and does not any more. What was never pulled is "do it, I need no answer".
        if kept.is_running and kept.is_pulled and kept.waiting is None:
            self._receiver.on_cancel(wire)


def _forgotten() -> CallError:
    return BadArguments("the answer was not asked for in time, and is not kept any more")
