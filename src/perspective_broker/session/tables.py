"""Exports and imports of a connection: the objects we gave to the peer, and the references it gave to us.

Both tables count. The owner of an object keeps it while the other side owes releases; the holder of a reference owes a
release for every time the object was sent. So a release that crosses a re-send is safe.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from typing import Final

from ..errors import ProtocolError, SerializationError, UnknownObject
from ..flavors import (
    Exportable,
    Reference,
    Target,
    carries_on,
    entry_of,
    export_key,
    export_target,
    set_entry,
)
from ..flavors.guard import call_back
from ..flavors.message_receiver import MessageReceiver, foreign
from ..limits import Limits
from ..ports import ObjectId, Perspective, Value
from ..queues import NOTHING, own
from .host import Host
from .releases import Releases
from .weak import Received

__all__ = ["Export", "Exports", "Imports", "import_key"]


#: The name of the object that nearly every server has, and hardly any other.
_ROOT: Final = "root"


class Export(Target):
    """One object of ours that the peer can call, and the counts it holds on it.

    Attributes:
        luid: its id; 0 for a named object.
        key: what makes two sendings one object.
        count: releases that the peer owes.
        carries_on: whether calls of it are part of others that have begun before, see :class:`~.flavors.Exportable`.
    """

    __slots__ = ("carries_on", "count", "key", "luid")

    def __init__(self, luid: int, key: Hashable, target: Target, count: int) -> None:
        super().__init__(
            target.obj, target.holder, target.prefix, target.leading, target.perspective, target.offer
        )
        self.luid: int = luid
        self.key: Hashable = key
        self.count: int = count
        self.carries_on: bool = carries_on(target.holder)


class Exports:
    """Our objects that the peer holds references to, by LUID; and the named ones, which it cannot free.

    LUIDs count up from 1 and are never used twice, so a late message cannot reach another object.

    Args:
        limits: ``references_exported`` bounds them.
        takes_receivers: whether the driver can call a :class:`~.message_receiver.MessageReceiver`.

    Attributes:
        freed: what the last releases freed, by LUID. It cannot be called any more, but it can still come home: a
            Twisted peer releases an object right before the answer in which it sends the object back. The broker
            clears it when no such answer can follow.
    """

    def __init__(self, limits: Limits, takes_receivers: bool = True) -> None:
        self.limits: Limits = limits
        self._takes_receivers = takes_receivers
        self._by_luid: dict[int, Export] = NOTHING
        self._by_key: dict[Hashable, Export] = NOTHING
        self._root: Export | None = None  # a table for one entry takes 200 bytes
        self._named: dict[str, Export] = NOTHING  # the other ones
        self._next = 1
        self.freed: dict[int, Value] = NOTHING

    def use_limits(self, limits: Limits) -> None:
        """Go by other limits from now on."""
        self.limits = limits

    def __len__(self) -> int:
        """The objects that the peer holds, without the named ones."""
        return len(self._by_luid)

    def ids(self) -> list[int | str]:
        """Return the LUIDs of what the peer holds, and the names of what it always reaches."""
        root = () if self._root is None else (_ROOT,)
        return [*self._by_luid, *root, *self._named]

    def classes(self) -> dict[str, int]:
        """Return how many objects of each class the peer holds, by the names of the classes."""
        found: dict[str, int] = {}
        for export in self._by_luid.values():
            name = type(export.obj).__name__
            found[name] = found.get(name, 0) + 1
        return found

    def name(self, name: str, obj: Exportable) -> None:
        """Let the peer reach ``obj`` under ``name`` for as long as the connection lives."""
        export = Export(0, name, export_target(obj, None), 1)
        if name == _ROOT:
            self._root = export
        else:
            self._named = own(self._named)
            self._named[name] = export

    def add(self, obj: Exportable, perspective: Perspective) -> int:
        """Count one more sending of ``obj`` and return its LUID.

        Raises:
            SerializationError: the peer holds as many objects as it may.
        """
        key = export_key(obj, perspective)
        export = self._by_key.get(key)
        if export is not None:
            export.count += 1
            return export.luid
        if len(self._by_luid) >= self.limits.references_exported:
            raise SerializationError(
                f"the peer holds {len(self._by_luid)} objects, as many as Limits.references_exported allows"
            )
        target = export_target(obj, perspective)
        holder = target.holder
        if not self._takes_receivers and isinstance(holder, MessageReceiver) and holder.is_foreign:
            raise SerializationError(foreign(obj), culprit=obj)
        luid = self._next
        self._next += 1
        export = Export(luid, key, target, 1)
        self._by_luid, self._by_key = own(self._by_luid), own(self._by_key)
        self._by_luid[luid] = self._by_key[key] = export
        return luid

    def find(self, where: ObjectId) -> Export:
        """Return what the peer may call under an id.

        Raises:
            UnknownObject: there is no such object. Digits are not an id, and an id is not a name.
        """
        export = self._at(where)
        if export is None:
            raise UnknownObject("no object lives under that id")
        return export

    def _at(self, where: ObjectId) -> Export | None:
        if isinstance(where, int):
            return self._by_luid.get(where)
        return self._root if where == _ROOT else self._named.get(where)

    def come_home(self, where: ObjectId) -> Value:
        """Return our own object that the peer sends back.

        Raises:
            UnknownObject: it was never given to this peer, or is long released.
        """
        export = self._at(where)
        if export is not None:
            return export.obj
        if where in self.freed:
            return self.freed[where]
        raise UnknownObject("no object lives under that id")

    def retract(self, luid: int) -> None:
        """Undo one :meth:`add` whose message was never sent."""
        self._drop(self._by_luid[luid], 1)

    def release(self, where: ObjectId, count: int) -> bool:
        """Take ``count`` of the peer's counts off; False when the object was free already.

        Raises:
            ProtocolError: the peer releases what it never had.
        """
        if type(where) is not int or count < 1:
            raise ProtocolError("refcount", "a named object cannot be released")
        export = self._by_luid.get(where)
        if export is None:
            if 0 < where < self._next:
                return False
            raise ProtocolError("refcount", "an id was released that was never given")
        if count > export.count:
            raise ProtocolError("refcount", "an object was released more often than it was sent")
        if self._drop(export, count):
            self.freed = own(self.freed)
            self.freed[where] = export.obj
        return True

    def _drop(self, export: Export, count: int) -> bool:
        export.count -= count
        if export.count:
            return False
        del self._by_luid[export.luid]
        del self._by_key[export.key]
        _tell_forgotten(export.obj)
        return True

    def clear(self) -> list[Export]:
        """Forget everything, because the connection has ended, and return what the peer held."""
        held = list(self._by_luid.values())
        self._by_luid.clear()
        self._by_key.clear()
        for export in held:
            _tell_forgotten(export.obj)
        self._root = None
        self._named.clear()
        self.freed.clear()
        return held


def _tell_forgotten(obj: Value) -> None:
    if isinstance(obj, Reference):  # to an object of a third program, see Host.forwards
        return
    call_back(lambda: obj.forgotten(), "forgotten of a %s raised", type(obj).__name__)


class Imports:
    """References to the peer's objects, as long as the program holds them.

    When a reference is collected, its entry has the number of releases that are owed. A re-send that comes in between
    makes a new entry with a count of its own.

    Args:
        limits: ``references_received`` bounds them.
        host: makes references.
        releases: are notified when a reference is gone: where the collector runs, in any thread, in any other code.
    """

    def __init__(self, limits: Limits, host: Host, releases: Releases) -> None:
        self.limits: Limits = limits
        self._host = host
        self._releases = releases
        self._on_end: Callable[[Received], None] | None = None  # made with the first reference
        self._received: dict[Hashable, Received] = NOTHING
        self._named: dict[str, weakref.ref[Reference]] = NOTHING

    def use_limits(self, limits: Limits) -> None:
        """Go by other limits from now on."""
        self.limits = limits

    def __len__(self) -> int:
        """The references alive, or not yet known to be dead; without the named ones."""
        return len(self._received)

    def receive(self, luid: int, perspective: Perspective) -> Reference:
        """Return the reference to the peer's object ``luid``, counting one receipt.

        Under one perspective the same object is always the same reference.

        Raises:
            ProtocolError: the peer makes us hold more than ``Limits.references_received``.
        """
        key = import_key(luid, perspective)
        found = self._received.get(key)
        reference = found() if found is not None else None
        if reference is None:
            if len(self._received) >= self.limits.references_received:
                raise ProtocolError(
                    "limit-references", f"a peer may give {self.limits.references_received} references"
                )
            reference = self._host.make_reference(luid, perspective)
            if self._on_end is None:
                self._on_end = self._releases.reference_ended
            found = Received(reference, self._on_end)
            found.luid, found.key, found.count, found.held, found.dropped = luid, key, 0, 0, False
            self._received = own(self._received)
            self._received[key] = found
            set_entry(reference, found)
        assert found is not None
        found.count += 1
        return reference

    def count(self, luid: int, perspective: Perspective) -> bool:
        """Count one receipt of the reference to ``luid`` if it lives here; False when it does not."""
        found = self._received.get(import_key(luid, perspective))
        if found is None or found() is None:
            return False
        found.count += 1
        return True

    def named(self, name: str) -> Reference:
        """Return the reference to the peer's object that is always there under ``name``."""
        found = self._named.get(name)
        reference = found() if found is not None else None
        if reference is None:
            reference = self._host.make_reference(name, None)
            self._named = own(self._named)
            self._named[name] = weakref.ref(reference)
        return reference

    def forget(self, key: Hashable) -> None:
        """Drop an entry whose reference is gone (another may have taken its place already)."""
        found = self._received.get(key)
        if found is not None and found() is None:
            del self._received[key]

    def hold(self, reference: Reference) -> None:
        """A call waits here that refers to a reference, or is to it: it is not given back before :meth:`unhold`."""
        received = _entry(reference)
        if received is not None:
            received.held += 1

    def unhold(self, reference: Reference) -> bool:
        """Undo one :meth:`hold`; return whether the reference was to be given back meanwhile."""
        received = _entry(reference)
        if received is None:
            return False
        received.held -= 1
        return received.dropped and not received.held

    def give_back(self, reference: Reference) -> int:
        """Drop the entry of a reference that is given back while the program has it; return the releases it owes."""
        received = _entry(reference)
        if received is None:
            return 0
        if received.held:
            received.dropped = True
            return 0
        if self._received.get(received.key) is received:
            del self._received[received.key]
        owed, received.count = received.count, 0
        return owed

    def clear(self) -> list[Reference]:
        """Forget everything and return the references that are still alive: the connection has ended."""
        found = [ref() for ref in (*self._named.values(), *self._received.values())]
        self._received.clear()
        self._named.clear()
        return [reference for reference in found if reference is not None]


def _entry(reference: Reference) -> Received | None:
    entry = entry_of(reference)
    assert entry is None or isinstance(entry, Received)
    return entry


def import_key(luid: ObjectId, perspective: Perspective) -> Hashable:
    """Return the key of a reference in the table.

    Perspectives are compared by identity; a reference keeps its own alive, so the id stays its own.
    """
    return luid if perspective is None else (luid, id(perspective))
