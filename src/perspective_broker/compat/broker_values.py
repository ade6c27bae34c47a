"""The values and tables of a connection, under the names that Twisted's programs and their own objects use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from twisted.internet import defer
from twisted.python import failure

from ..errors import UnknownObject
from ..ports import SENT_BEFORE
from ..session import Broker
from .failures import CopyableFailure
from .flavors import Received, exportable
from .references import Local, RemoteReference

__all__ = ["BrokerValues", "Serialized"]


class Serialized:
    """A result to send, and the perspective under which it crosses."""

    __slots__ = ("perspective", "value")

    def __init__(self, value: Any, perspective: Any) -> None:
        self.value: Any = value
        self.perspective: Any = perspective


class _Table(Mapping[Any, Any]):
    """A live view of one of the core's tables, by id."""

    def __init__(self, find: Callable[[Any], Any], ids: Callable[[], Sequence[Any]]) -> None:
        self._find = find
        self._ids = ids

    def __getitem__(self, luid: Any) -> Any:
        found = self._find(luid)
        if found is None:
            raise KeyError(luid)
        return found

    def __iter__(self) -> Iterator[Any]:
        return iter(self._ids())

    def __len__(self) -> int:
        return len(self._ids())


class BrokerValues:
    """The part of a broker that turns values into messages and ids into objects.

    Attributes:
        localObjects: our objects that the peer holds, by id.
        remotelyCachedObjects: our objects of which the peer keeps replicas, by id.
        locallyCachedObjects: replicas of the peer's objects, by id.
        waitingForAnswers: our calls that have no answer yet, by id.
    """

    #: The core's broker.
    session: Broker
    #: The perspective under which an object that jellies itself is being jellied, or unjellied.
    serializingPerspective: Any = None
    unserializingPerspective: Any = None

    localObjects: Mapping[Any, Local]
    remotelyCachedObjects: Mapping[Any, Local]
    locallyCachedObjects: Mapping[Any, Any]
    waitingForAnswers: Mapping[int, Any]

    def _make_tables(self, session: Broker) -> None:
        self._localCleanup: dict[Any, Callable[[], object]] = {}
        self._exports: list[int] | None = None  # what an object that jellies itself has exported
        self._caches: list[int] | None = None
        tables, questions = session.tables, session.questions
        self.localObjects = _Table(self._find_local, tables.exports.ids)
        self.remotelyCachedObjects = _Table(self._find_observed, tables.observers.ids)
        self.locallyCachedObjects = _Table(self._find_replica, tables.replicas.ids)
        self.waitingForAnswers = _Table(questions.find, questions.ids)

    def serialize(
        self, object: Any, perspective: Any = None, method: Any = None, args: Any = None, kw: Any = None
    ) -> Any:
        """Return a method's result in the form in which ``remoteMessageReceived`` returns it.

        Args:
            object: the result, or a Deferred of it; then the form is that Deferred.
            perspective: under which it crosses.
            method: taken and not used, like ``args`` and ``kw``.
        """
        if isinstance(object, defer.Deferred):
            return object.addCallback(self.serialize, perspective, method, args, kw)
        if isinstance(object, failure.Failure) and not isinstance(object, CopyableFailure):
            # A method that returns a failure has failed, as a Deferred does that has one.
            return defer.fail(object)
        return Serialized(object, perspective)

    def unserialize(self, sexp: Any, perspective: Any = None) -> Any:
        """Return the value of the arguments or keywords that ``remoteMessageReceived`` was handed."""
        if isinstance(sexp, Received):
            return sexp.value
        return self.session.dialect.decode_value(sexp, perspective)

    @property
    def importer(self) -> Any:
        """The object that makes references for ids."""
        return self.session.importer

    @contextmanager
    def serializing(self, perspective: Any, exports: list[int], caches: list[int]) -> Iterator[None]:
        """Record the exports within the block in these lists, to undo them if the message cannot be sent."""
        before = self.serializingPerspective, self._exports, self._caches
        self.serializingPerspective, self._exports, self._caches = perspective, exports, caches
        try:
            yield
        finally:
            self.serializingPerspective, self._exports, self._caches = before

    def registerReference(self, object: Any) -> int:
        """Give the peer a count on one of our objects and return its id."""
        luid = self.session.exporter.export(exportable(object), self.serializingPerspective)
        if self._exports is not None:
            self._exports.append(luid)
        return luid

    def cache_for(self, object: Any) -> tuple[int, Any]:
        """Give the peer a count on its replica of an object; return its id, and its state in a :class:`Received`.

        The state is None when the peer has it already.
        """
        luid, state = self.session.exporter.export_cache(object, self.serializingPerspective)
        if self._caches is not None:
            self._caches.append(luid)
        return luid, None if state is SENT_BEFORE else Received(state)

    def setNameForLocal(self, name: Any, object: Any) -> None:
        """Give an object a name by which the peer can call it."""
        self.session.tables.exports.name(
            name.decode() if isinstance(name, bytes) else name, exportable(object)
        )

    def remoteForName(self, name: Any) -> RemoteReference:
        """Return the reference to the peer's object of that name, whether there is one or not."""
        reference = self.session.tables.imports.named(name.decode() if isinstance(name, bytes) else name)
        assert isinstance(reference, RemoteReference)
        return reference

    def localObjectForID(self, luid: Any) -> Any:
        """Return our object that the peer holds under an id, or None."""
        found = self._find_local(luid)
        return None if found is None else found.object

    def clean_up(self, object: Any) -> None:
        """The peer has released an object: run what was left in ``_localCleanup`` for it."""
        clean = self._localCleanup.pop(object.processUniqueID(), None)
        if clean is not None:
            clean()

    def _find_local(self, luid: Any) -> Local | None:
        try:
            export = self.session.tables.exports.find(luid.decode() if isinstance(luid, bytes) else luid)
        except UnknownObject:
            return None
        return Local(export.obj, export.perspective, export.count)

    def _find_observed(self, luid: Any) -> Local | None:
        observed = self.session.tables.observers.find(luid)
        return None if observed is None else Local(observed.obj, observed.perspective, observed.count)

    def _find_replica(self, luid: Any) -> Any:
        return self.session.tables.replicas.find(luid) if luid in self.session.tables.replicas.ids() else None
