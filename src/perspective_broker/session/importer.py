"""The peer's objects on their way to us, our own objects that come home, and what we give back."""

from __future__ import annotations

from itertools import islice
from typing import Final

from .. import ports
from ..errors import UnknownObject
from ..flavors import Reference, RemoteCache, luid_of, perspective_of
from ..ports import ObjectId, Perspective, Value
from .connection_tables import ConnectionTables
from .context import Context
from .incoming_call import Pins
from .kept_answers import References
from .outbox import Outbox
from .releases import Releases
from .tables import import_key

__all__ = ["Importer"]

#: Objects that one message gives back, in 18 KB at most, which the peer reads within a millisecond. A program may drop
#: any number of references in one turn.
_RELEASED_AT_ONCE: Final = 1024


class Importer(ports.Importer):
    """The importer of one connection."""

    def __init__(
        self, context: Context, outbox: Outbox, releases: Releases, tables: ConnectionTables
    ) -> None:
        self._context = context
        self._host = context.host
        self._outbox = outbox
        self._releases = releases
        self._exports = tables.exports
        self._observers = tables.observers
        self._imports = tables.imports
        self._replicas = tables.replicas
        #: Of the call that is being decoded, when it has waited for answers: what it had pinned, and the answers.
        self._pins: Pins | None = None
        self._answers: References | None = None

    # -- ports.Importer

    def import_reference(self, luid: int, perspective: Perspective) -> Reference:
        if self._releases and len(self._imports) >= self._context.limits.references_received:
            self.send_releases()  # references that are gone already do not count
        return self._imports.receive(luid, perspective)

    def import_named(self, name: str) -> Reference:
        return self._imports.named(name)

    def pass_over(self, luid: int, perspective: Perspective) -> None:
        if not self._imports.count(luid, perspective):
            self._releases.add(luid, import_key(luid, perspective), 1)

    def kept_answer(self, request: int) -> Value:
        if self._answers is None:
            raise UnknownObject("an answer is mentioned that the call does not depend on")
        answer = self._answers.find(request)
        assert answer.message is not None
        assert answer.pins is not None
        return self._context.dialect.decode_kept(answer.message, answer.pins)

    def local_object(self, luid: ObjectId) -> Value:
        if self._pins is not None and luid in self._pins.objects:
            return self._pins.objects[luid]
        return self._exports.come_home(luid)

    def local_target(self, luid: ObjectId) -> Value:
        return self._exports.find(luid)

    def introduce_cache(self, luid: int, cls: type[RemoteCache]) -> RemoteCache:
        replica = self._replicas.introduce(luid, cls)
        self._host.on_replica(replica)
        return replica

    def spoil_cache(self, luid: int) -> None:
        self._replicas.spoil(luid)

    def import_cache(self, luid: int) -> RemoteCache:
        replica = self._replicas.receive(luid)
        self._host.on_replica(replica)
        return replica

    def local_cache(self, luid: int) -> Value:
        if self._pins is not None and luid in self._pins.caches:
            return self._pins.caches[luid]
        return self._observers.come_home(luid)

    def refer_to(self, pins: Pins | None, answers: References | None) -> None:
        """Decode from now on what refers to these; None when it refers to nothing that was kept."""
        self._pins = pins
        self._answers = answers

    # -- giving back

    def send_releases(self) -> None:
        """Give back what is queued. It leaves at once: what a waiting call refers to is held until that has left."""
        self._releases.begin_taking()
        if self._context.lifecycle.ended:
            self._releases.clear()
            return
        writer, limits = self._context.writer, self._context.limits
        owed: dict[int, int] = {}
        while releases := self._releases.take():
            for luid, key, receipts in releases:
                assert isinstance(luid, int), "a named object is not given back"
                if key is not None:
                    self._imports.forget(key)
                    owed[luid] = owed.get(luid, 0) + receipts
                elif receipts := self._replicas.dropped(luid):
                    self._outbox.send(writer.encode_decache(luid, receipts))
        pairs = iter(owed.items())
        # A pair takes four nodes, and 18 bytes at most; the peer is taken to have the same limits.
        most = max(1, min(_RELEASED_AT_ONCE, limits.nodes // 4 - 2, limits.message_bytes // 20))
        while part := dict(islice(pairs, most)):
            self._outbox.send(writer.encode_releases(part))

    def release(self, reference: Reference) -> None:
        """Give a reference back to its owner; it is dead from here on.

        The release is sent at once, or after the waiting calls that refer to it.
        """
        owed = self._imports.give_back(reference)
        if owed:
            luid = luid_of(reference)
            self._releases.add(luid, import_key(luid, perspective_of(reference)), owed)

    def hold(self, reference: Reference) -> None:
        """A call waits here that refers to ``reference``, or is to it: it is not given back before :meth:`unhold`."""
        self._imports.hold(reference)

    def unhold(self, reference: Reference) -> None:
        """That call does not wait any more."""
        if self._imports.unhold(reference):
            self.release(reference)
