"""Our objects on their way to the peer, and what the peer gives back of them."""

from __future__ import annotations

from .. import ports
from ..errors import SerializationError
from ..flavors import (
    Cacheable,
    Exportable,
    Observer,
    Reference,
    RemoteCache,
    luid_of,
    observer_luid,
    receipts_of,
    replica_luid,
    replica_session,
    session_of,
)
from ..ports import SENT_BEFORE, ObjectId, Perspective, Value
from .connection_tables import ConnectionTables
from .context import Context
from .encoding import Encoding
from .outbox import Outbox
from .outgoing_call import Unready

__all__ = ["Exporter"]


class Exporter(ports.Exporter):
    """The exporter of one connection: counts in the tables, and notes what the message being encoded refers to.

    Attributes:
        has_freed: whether an object was released that may still come home in the peer's next answer.
    """

    def __init__(
        self, context: Context, outbox: Outbox, encoding: Encoding, tables: ConnectionTables
    ) -> None:
        self._context = context
        self._host = context.host
        self._lifecycle = context.lifecycle
        self._outbox = outbox
        self._encoding = encoding
        self._exports = tables.exports
        self._observers = tables.observers
        self.has_freed: bool = False

    # -- ports.Exporter

    def export(self, obj: Exportable, perspective: Perspective) -> int:
        self._lifecycle.check_open()
        luid = self._exports.add(obj, perspective)
        self._encoding.note(luid)
        return luid

    def retract(self, luid: int) -> None:
        if not self._lifecycle.ended:  # a hook may have ended the connection
            self._exports.retract(luid)

    def adapt(self, value: Value) -> Value:
        return self._host.adapt(value)

    def home_id(self, reference: Reference) -> ObjectId | None:
        if session_of(reference) is not self._context.session:
            if self._host.forwards:
                return None
            raise SerializationError(
                "a reference to an object of a third program cannot cross unless this program forwards its calls "
                "(forward=True of serve and connect); or wrap it in an object of your own",
                culprit=reference,
            )
        if not receipts_of(reference) and isinstance(luid_of(reference), int):
            raise SerializationError("a reference that was given back cannot cross", culprit=reference)
        self._encoding.note(reference)
        return luid_of(reference)

    def export_cache(self, obj: Cacheable, perspective: Perspective) -> tuple[int, Value]:
        self._lifecycle.check_open()
        observed = self._observers.add(obj, perspective)
        if observed.count > 1:
            self._encoding.refer_to_replica()
            self._encoding.note(observed)
            return observed.luid, SENT_BEFORE
        try:
            if self._encoding.dependencies:
                # Updates must not overtake the message that introduces a replica: it must not wait at the peer.
                raise Unready(next(iter(self._encoding.dependencies)))
            state = obj.get_state_to_cache_and_observe_for(perspective, observed.observer)
        except BaseException:
            self.retract_cache(observed.luid)
            raise
        observed.asked = True
        if self._lifecycle.ended:  # its hook ended the connection
            observed.stopped()
        self._lifecycle.check_open()
        self._encoding.note(observed)
        return observed.luid, state

    def retract_cache(self, luid: int) -> None:
        if not self._lifecycle.ended and self._observers.retract(luid):
            self._outbox.send(self._context.writer.encode_uncache(luid))

    def home_cache_id(self, replica: RemoteCache) -> int | None:
        session = replica_session(replica)
        if session is self._context.session:
            self._encoding.note(replica)
            return replica_luid(replica)
        if session is not None:
            raise SerializationError(
                "a replica of a third program's object cannot cross; send what it holds, or an object of your own",
                culprit=replica,
            )
        return None

    # -- what the peer gives back

    def release(self, luid: ObjectId, count: int, may_come_home: bool) -> bool:
        """The peer releases ``count`` of its counts on an object of ours; False when the object was free already.

        Args:
            luid: the object's id.
            count: of counts.
            may_come_home: whether an answer may follow that refers to the object, see :attr:`.Exports.freed`.
        """
        known = self._exports.release(luid, count)
        if known and luid in self._exports.freed:
            self._host.on_freed(self._exports.freed[luid])
        self._note_freed(may_come_home)
        return known

    def decache(self, luid: int, count: int, may_come_home: bool) -> bool:
        """The same for replicas of our object."""
        gone = self._observers.release(luid, count)
        if gone:
            self._outbox.send(self._context.writer.encode_uncache(luid))
        self._note_freed(may_come_home)
        return gone is not None

    def give_up_replica(self, observer: Observer) -> None:
        """Send nothing more to a replica: it has missed an update, and is not true any more."""
        observed = self._observers.find(observer_luid(observer))
        if observed is not None:
            self.decache(observed.luid, observed.count, True)

    def _note_freed(self, may_come_home: bool) -> None:
        self.has_freed = True
        if not may_come_home:
            self.forget_freed()

    def forget_freed(self) -> None:
        """No released object can come home any more: the peer sent something else since, or has no call of ours."""
        self.has_freed = False
        self._exports.freed.clear()
        self._observers.freed.clear()
