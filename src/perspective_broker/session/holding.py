"""What the two sides hold of each other: the ports through which a codec turns objects into ids and ids into objects,
and how what is not held any more is given back.
"""

from __future__ import annotations

from collections.abc import Hashable
from itertools import islice
from typing import Any, Final

from ..errors import SerializationError
from ..flavors import Cacheable, Exportable, Reference, RemoteCache
from ..ports import SENT_BEFORE, ObjectId
from .outgoing_calls import Content, Unready
from .speaking import Speaker
from .tables import import_key
from .weak import Received

__all__ = ["Holder"]

#: Objects that one message gives back, in 18 KB at most, which the peer reads within a millisecond. A program may drop
#: any number of references in one turn.
_RELEASED_AT_ONCE: Final = 1024


class Holder(Speaker):
    """:class:`~perspective_broker.ports.Exporter` and :class:`~perspective_broker.ports.Importer` of one connection."""

    def enqueue_release(self, received: Received) -> None:
        """Note that a reference is gone. Called where the collector runs: in any thread, in the middle of anything."""
        if received.count:
            self._enqueue((received.luid, received.key, received.count))

    def enqueue_decache(self, luid: int) -> None:
        """Note that a replica is gone. Called where the collector runs: in any thread, in the middle of anything."""
        self._enqueue((luid, None, 0))

    def _enqueue(self, release: tuple[ObjectId, Hashable | None, int]) -> None:
        if self.lifecycle.ended:
            return
        self._releases.append(release)
        if not self._releases_announced:
            self._releases_announced = True
            self._host.wake_from_anywhere()

    def _send_releases(self) -> None:
        self._releases_announced = False
        if self.lifecycle.ended:
            self._releases.clear()
            return
        # They leave at once: what a call in the queue mentions, or is to, is held until that has left.
        owed: dict[Any, int] = {}  # by LUID: what has a name is not given back
        while releases := self._releases[:]:
            del self._releases[: len(releases)]  # what another thread adds meanwhile stays for the next round
            for luid, key, receipts in releases:
                if key is not None:
                    self.imports.forget(key)
                    owed[luid] = owed.get(luid, 0) + receipts
                elif receipts := self.replicas.dropped(luid):  # type: ignore[arg-type]
                    self.send(self._dialect.encode_decache(luid, receipts))
        pairs = iter(owed.items())
        # A pair takes four nodes, and 18 bytes at most; the peer is taken to have the same limits.
        most = max(1, min(_RELEASED_AT_ONCE, self.limits.nodes // 4 - 2, self.limits.message_bytes // 20))
        while part := dict(islice(pairs, most)):
            self.send(self._dialect.encode_releases(part))

    def _noted(self) -> Content:
        """Return where to note what the message being encoded mentions."""
        if self._content is None:
            self._content = []
        return self._content

    def _unhold(self, reference: Reference) -> None:
        """A call that mentions a reference, or is to it, waits here no more."""
        if self.imports.unhold(reference):
            self.release(reference)

    def release(self, reference: Reference) -> None:
        """Give a reference back to its owner; it is dead from here on.

        The owner is told at once, or when the calls have left that wait here and mention it.
        """
        owed = self.imports.give_back(reference)
        if owed:
            self._enqueue((reference._luid, reference._received.key, owed))

    def root(self) -> Reference:
        """Return the reference to the peer's root object.

        Raises:
            DeadReferenceError: the connection has ended.
        """
        if self.lifecycle.ended:
            self._check_usable()
        return self.imports.named("root")

    def export(self, obj: Exportable, perspective: Any) -> int:
        self._check_open()
        luid = self.exports.add(obj, perspective)
        self._noted().append(luid)
        return luid

    def retract(self, luid: int) -> None:
        if not self.lifecycle.ended:  # a hook may have ended the connection
            self.exports.retract(luid)

    def adapt(self, value: Any) -> Any:
        return self._host.adapt(value)

    def home_id(self, reference: Reference) -> ObjectId:
        if reference._session is not self:
            raise SerializationError(
                "a reference to an object of a third program cannot cross; wrap it in an object of your own",
                culprit=reference,
            )
        if not reference._receipts and isinstance(reference._luid, int):
            raise SerializationError("a reference that was given back cannot cross", culprit=reference)
        self._noted().append(reference)
        return reference._luid

    def export_cache(self, obj: Cacheable, perspective: Any) -> tuple[int, Any]:
        self._check_open()
        observed = self.observers.add(obj, perspective)
        if observed.count > 1:
            self._mentions_replica = True
            self._noted().append(observed)
            return observed.luid, SENT_BEFORE
        try:
            if self._dependencies:
                # Updates must not overtake what introduces a replica, so that does not wait at the peer.
                raise Unready(next(iter(self._dependencies)))
            state = obj.get_state_to_cache_and_observe_for(perspective, observed.observer)
        except BaseException:
            self.retract_cache(observed.luid)
            raise
        observed.asked = True
        if self.lifecycle.ended:  # its hook ended the connection
            observed.stopped()
        self._check_open()
        self._noted().append(observed)
        return observed.luid, state

    def retract_cache(self, luid: int) -> None:
        if not self.lifecycle.ended and self.observers.retract(luid):
            self.send(self._dialect.encode_uncache(luid))

    def home_cache_id(self, replica: RemoteCache) -> int | None:
        session = getattr(replica, "_pb_session", None)
        if session is self:
            self._noted().append(replica)
            return replica._pb_luid
        if session is not None:
            raise SerializationError(
                "a replica of a third program's object cannot cross; send what it holds, or an object of your own",
                culprit=replica,
            )
        return None

    def introduce_cache(self, luid: int, cls: type[RemoteCache]) -> RemoteCache:
        return self.replicas.introduce(luid, cls)

    def spoil_cache(self, luid: int) -> None:
        self.replicas.spoil(luid)

    def import_cache(self, luid: int) -> RemoteCache:
        return self.replicas.receive(luid)

    def import_reference(self, luid: int, perspective: Any) -> Reference:
        if self._releases and len(self.imports) >= self.limits.references_received:
            self._send_releases()  # those that are gone already do not count
        return self.imports.receive(luid, perspective)

    def import_named(self, name: str) -> Reference:
        return self.imports.named(name)

    def pass_over(self, luid: int, perspective: Any) -> None:
        if not self.imports.count(luid, perspective):
            self._enqueue((luid, import_key(luid, perspective), 1))

    def _forget_freed(self) -> None:
        """Nothing that the peer has released can come home any more: it said something else since, or was not asked."""
        self._freed = False
        self.exports.freed.clear()
        self.observers.freed.clear()

    def on_uncache(self, luid: int) -> None:
        if not self.replicas.uncache(luid):
            self.ignored += 1
