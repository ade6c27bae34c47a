"""Forwarders: a reference of one connection crosses another, and calls go through this program.

::

    A ── call ──▶ Forwarder ── reference.call ──▶ B        in the turn in which the call arrives
    A ◀── answer ── Methods ◀── promise ────────── B        arguments and answers are translated on the way:
                                                            a reference becomes a forwarder, and back

There is one forwarder for each reference, so what is equal stays equal. The export table holds the forwarder as what is
called, and the reference as what comes home: the program in the middle gets its own reference back, and that goes home
over its own connection in turn. When the last peer has released the forwarder, nothing holds the reference any more,
and its own connection releases the object.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Final
from weakref import WeakValueDictionary

from ..flavors import Exportable, Target
from ..flavors.describing import DESCRIBE
from ..flavors.message_receiver import MessageReceiver
from ..ports import Feature, Perspective, Value
from .calls import Promise
from .connection import driver_of
from .held import caller_of, usable
from .methods import Passage
from .references import RemoteReference
from .write_buffer import WriteBuffer

__all__ = ["Forwarder", "forwarder_of"]


class Forwarder(Exportable, MessageReceiver):
    """What crosses instead of a reference to an object of a third program."""

    is_foreign = False

    def __init__(self, reference: RemoteReference) -> None:
        self._reference = reference

    def _pb_export_key(self, perspective: Perspective) -> Hashable:
        return id(self)

    def _pb_export_target(self, perspective: Perspective) -> Target:
        return Target(self._reference, self, "")

    def find_message(self, name: str) -> Passage | None:
        return None if name == DESCRIBE else _Passage(self._reference, name)

    def describing(self) -> Passage | None:
        """Return what asks the owner to describe its object, None if it describes none. The host decides who may."""
        caller = caller_of(self._reference)
        if caller is None or not driver_of(caller.connection).broker.dialect.writer.has(Feature.DESCRIBE):
            return None
        return _Passage(self._reference, DESCRIBE)


class _Passage(Passage):
    """A method of an object of a third program."""

    def __init__(self, reference: RemoteReference, name: str) -> None:
        self._reference = reference
        self._name = name

    def __call__(self, *args: Value, **kwargs: Value) -> Promise[Value]:
        return self._reference.call(self._name, *args, **kwargs)

    def tell(self, args: Sequence[Value], kwargs: Mapping[str, Value]) -> WriteBuffer | None:
        caller = usable(self._reference)
        caller.outgoing.tell(self._reference, self._name, tuple(args), dict(kwargs))
        return caller.buffer if caller.buffer.is_full else None


#: Reference -> its forwarder, which keeps the reference alive.
_forwarders: Final[WeakValueDictionary[RemoteReference, Forwarder]] = WeakValueDictionary()


def forwarder_of(reference: RemoteReference) -> Forwarder:
    """Return the forwarder of a reference."""
    found = _forwarders.get(reference)
    if found is None:
        found = _forwarders[reference] = Forwarder(reference)
    return found
