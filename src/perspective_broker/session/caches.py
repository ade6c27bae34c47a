"""The replicas that the peer keeps of our objects, and the replicas of the peer's objects that live here.

An owner counts how often an object was sent; the holder of the replica owes a ``decache`` for each. At zero the
owner forgets the observer and sends ``uncache``; only then may the holder forget the state, because until then the
object may be sent again, as nothing but its id.
"""

from __future__ import annotations

from collections.abc import Hashable

from ..errors import DecodeError, ProtocolError, SerializationError, UnknownObject
from ..flavors import Cacheable, RemoteCache
from ..flavors.guard import call_back
from ..limits import Limits
from ..ports import Perspective, Value
from ..queues import NOTHING, own
from .host import Host
from .observed import Observed
from .releases import Releases
from .weak import Current

__all__ = ["Observers", "Replicas", "tell_end"]


class Observers:
    """Our cacheable objects that the peer keeps replicas of.

    Attributes:
        freed: those whose last replica was just dropped, by its id, see :attr:`Exports.freed`.
    """

    def __init__(self, limits: Limits, host: Host) -> None:
        self.limits: Limits = limits
        self._host = host
        self._by_luid: dict[int, Observed] = NOTHING
        self._by_key: dict[Hashable, Observed] = NOTHING
        self._new: dict[int, Observed] = NOTHING  # in the message that is being encoded, by id
        self._next = 1
        self.freed: dict[int, Cacheable] = NOTHING

    def use_limits(self, limits: Limits) -> None:
        """Go by other limits from now on."""
        self.limits = limits

    def __len__(self) -> int:
        return len(self._by_luid)

    def ids(self) -> list[int]:
        """Return the ids of the replicas that the peer keeps."""
        return list(self._by_luid)

    def add(self, obj: Cacheable, perspective: Perspective) -> Observed:
        """Count one more sending of ``obj`` to ``perspective``.

        Raises:
            SerializationError: the peer keeps as many objects as it may.
        """
        key = (id(obj), id(perspective))
        observed = self._by_key.get(key)
        if observed is None:
            if len(self._by_luid) >= self.limits.references_exported:
                raise SerializationError(
                    "the peer keeps as many replicas as Limits.references_exported allows"
                )
            luid = self._next
            self._next += 1
            observed = Observed(luid, key, obj, perspective, self._host.make_observer(luid, perspective))
            self._by_luid, self._by_key = own(self._by_luid), own(self._by_key)
            self._by_luid[luid] = self._by_key[key] = observed
            self._new = own(self._new)
            self._new[luid] = observed
        observed.count += 1
        return observed

    def begin(self) -> None:
        """A message is about to be encoded."""
        if self._new:
            self._new = NOTHING

    @property
    def introduces(self) -> bool:
        """Whether the peer first hears of a replica in the message that is being encoded."""
        return bool(self._new)

    def find(self, luid: int) -> Observed | None:
        """Return the entry of the peer's replica ``luid``, or None when it is gone."""
        return self._by_luid.get(luid)

    def come_home(self, luid: int) -> Cacheable:
        """Return the object of ours whose replica the peer sends back.

        Raises:
            UnknownObject: the peer keeps no such replica.
        """
        observed = self._by_luid.get(luid)
        if observed is not None:
            return observed.obj
        if luid in self.freed:
            return self.freed[luid]
        raise UnknownObject("no replica is kept under that id")

    def retract(self, luid: int) -> bool:
        """Undo one :meth:`add` whose message was never sent.

        Returns:
            Whether that was the last count of a replica that the peer has heard of, so that ``uncache`` is due: the
            peer gave back its own counts meanwhile.
        """
        observed = self._by_luid[luid]
        return self._drop(observed, 1) and self._new.pop(luid, None) is None

    def release(self, luid: int, count: int) -> bool | None:
        """Take ``count`` off the counts of the peer.

        Returns:
            True when the replica is gone, so that ``uncache`` is due; False when it lives on; None when it was
            gone before.

        Raises:
            ProtocolError: the peer gives back what it never had.
        """
        observed = self._by_luid.get(luid)
        if observed is None:
            if 0 < luid < self._next:
                return None
            raise ProtocolError("refcount", "a replica was dropped that was never sent")
        if not 1 <= count <= observed.count:
            raise ProtocolError("refcount", "a replica was dropped more often than it was sent")
        gone = self._drop(observed, count)
        if gone:
            self.freed = own(self.freed)
            self.freed[luid] = observed.obj
        return gone

    def _drop(self, observed: Observed, count: int) -> bool:
        observed.count -= count
        if observed.count:
            return False
        del self._by_luid[observed.luid]
        del self._by_key[observed.key]
        observed.stopped()
        return True

    def abandon(self) -> list[Observed]:
        """Forget everything and return the observers, which must be notified: the connection has ended."""
        observed = list(self._by_luid.values())
        self._by_luid.clear()
        self._by_key.clear()
        self._new.clear()
        self.freed.clear()
        return observed


class _Replica:
    """One object of the peer's that is replicated here.

    The state outlives the replica object: an instance made later shares its ``__dict__``.

    Attributes:
        spoiled: whether its state could not be read, so that it is nothing but what we have to give back.
    """

    __slots__ = ("cls", "current", "owed", "spoiled", "state")

    def __init__(self, cls: type[RemoteCache]) -> None:
        self.cls = cls
        self.state: dict[str, Value] = {}
        self.current: Current | None = None
        self.owed = 0
        self.spoiled = False


class Replicas:
    """The replicas, here, of the peer's objects.

    Args:
        limits: ``references_received`` bounds them.
        session: the broker; replicas carry it as the mark of their connection.
        releases: are notified when a replica is gone: where the collector runs, in any thread.
    """

    def __init__(self, limits: Limits, session: object, releases: Releases) -> None:
        self.limits: Limits = limits
        self._session = session
        self._releases = releases
        self._by_luid: dict[int, _Replica] = NOTHING

    def use_limits(self, limits: Limits) -> None:
        """Go by other limits from now on."""
        self.limits = limits

    def __len__(self) -> int:
        return len(self._by_luid)

    def ids(self) -> list[int]:
        """Return the ids of the replicas that live here, or whose state is still kept."""
        return list(self._by_luid)

    def introduce(self, luid: int, cls: type[RemoteCache]) -> RemoteCache:
        """Return a replica, still without state, of an object that is sent for the first time.

        Raises:
            ProtocolError: the id is taken, or the peer makes us keep more than it may.
        """
        if luid in self._by_luid:
            raise ProtocolError("bad-id", "a replica's id was used again before it was given up")
        if len(self._by_luid) >= self.limits.references_received:
            raise ProtocolError(
                "limit-references", f"a peer may give {self.limits.references_received} replicas"
            )
        self._by_luid = own(self._by_luid)
        entry = self._by_luid[luid] = _Replica(cls)
        try:
            return self.receive(luid)
        except BaseException:  # a class of the application that cannot be made: another is, to be given back
            self.spoil(luid)
            self._instance(luid, entry)
            raise

    def spoil(self, luid: int) -> bool:
        """Its state, or an update, could not be decoded: it is not handed out until it is given up and sent again.

        Returns:
            Whether the program may have had it until now.
        """
        entry = self._by_luid.get(luid)
        if entry is None or entry.spoiled:
            return False
        entry.spoiled = True
        entry.cls = RemoteCache
        return True

    def receive(self, luid: int) -> RemoteCache:
        """Return the replica of an object that is sent again, counting one receipt.

        Raises:
            UnknownObject: it was never sent, or was given up.
            DecodeError: its first state could not be read. The receipt is counted.
        """
        entry = self._by_luid.get(luid)
        if entry is None:
            raise UnknownObject("no replica lives under that id")
        entry.owed += 1
        if entry.spoiled:
            self._instance(luid, entry)  # made and dropped, which gives it back
            raise _spoiled()
        return self._instance(luid, entry)

    def find(self, luid: int) -> RemoteCache:
        """Return the replica of an update.

        Raises:
            UnknownObject: there is no such replica.
            DecodeError: its first state could not be read.
        """
        entry = self._by_luid.get(luid)
        if entry is None:
            raise UnknownObject("no replica lives under that id")
        if entry.spoiled:
            raise _spoiled()
        return self._instance(luid, entry)

    def _instance(self, luid: int, entry: _Replica) -> RemoteCache:
        replica = entry.current() if entry.current is not None else None
        if replica is None:
            replica = entry.cls.__new__(entry.cls)
            object.__setattr__(replica, "_pb_session", self._session)  # which a frozen class allows as well
            object.__setattr__(replica, "_pb_luid", luid)
            object.__setattr__(replica, "__dict__", entry.state)
            entry.current = Current(replica, self._on_end)
            entry.current.luid = luid
        return replica

    def _on_end(self, current: Current) -> None:
        """A replica object is gone (called where the collector runs, in any thread)."""
        self._releases.replica_ended(current.luid)

    def dropped(self, luid: int) -> int:
        """A replica was collected: return how many decaches are owed now (0 when another took its place)."""
        entry = self._by_luid.get(luid)
        if entry is None or (entry.current is not None and entry.current() is not None):
            return 0
        owed, entry.owed = entry.owed, 0
        return owed

    def uncache(self, luid: int) -> bool:
        """The owner will send nothing more for this id; False when there was nothing.

        Normally the program does not have the replica any more. An owner that cannot keep it true gives it up as well.
        """
        entry = self._by_luid.pop(luid, None)
        if entry is None:
            return False
        replica = entry.current() if entry.current is not None else None
        if replica is not None and not entry.spoiled:
            tell_end(replica)
        return True

    def abandon(self) -> list[RemoteCache]:
        """Forget everything and return the replicas that are still held: the connection has ended."""
        held = [
            entry.current()
            for entry in self._by_luid.values()
            if entry.current is not None and not entry.spoiled
        ]
        self._by_luid.clear()
        return [replica for replica in held if replica is not None]


def tell_end(replica: RemoteCache) -> None:
    """Notify a replica that no update can arrive any more."""
    call_back(lambda: replica.updates_ended(), "updates_ended of a %s raised", type(replica).__name__)


def _spoiled() -> DecodeError:
    return DecodeError("a replica whose state could not be read")
