"""Live: an object with fields, whose assignments reach every replica.

The convenience on top of :class:`Cacheable` that users reach for first. One class serves both ends: where it was
made it is the original, where it arrived it is a replica that follows.

A slow peer costs no memory. Up to :data:`WINDOW` updates are sent that it has not confirmed, so that one far away gets
each of them; while it has more to confirm, or does not read, what changes is merged, field by field, into the next one.
So it may miss values that were overtaken, never the last one, nor the order.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, Field, dataclass, field
from typing import ClassVar, Final, dataclass_transform
from weakref import WeakKeyDictionary, WeakSet

from ..errors import CallError, DeadReferenceError, DecodeError, SerializationError
from ..flavors import Cacheable, RemoteCache, replica_session
from ..flavors.annotations import annotations_of, is_class_variable
from ..flavors.fields import field_name
from ..ports import Perspective, SharedArguments, Value
from ..session import Broker
from .affinity import check_loop
from .references import RemoteCacheObserver, caller_of_observer

__all__ = ["Change", "Changes", "Live"]

#: Updates of one object that one replica has not confirmed. 64 are 200 a second to a peer whose answers take 320 ms.
WINDOW: Final = 64


@dataclass(frozen=True, slots=True)
class Change:
    """The fields of a replica that changed since the change before.

    Attributes:
        fields: the new values by field name.
    """

    fields: Mapping[str, Value]


@dataclass_transform(kw_only_default=True, field_specifiers=(field,))
class Live(Cacheable, RemoteCache):
    """A cacheable object with annotated fields, as strict about them as a dataclass whose arguments have names.

    ::

        @pb.copier_for("game.Score")
        class Score(pb.Live, tag="game.Score"):
            points: int = 0
            players: list[str] = dataclasses.field(default_factory=list)

        score.points += 1                         # where it was made: every replica follows
        async for change in replica.changes():    # where it arrived
            print(change.fields)

    A change *inside* a field's value is not seen; assign the field anew. Names with a leading underscore are
    not fields and do not cross; no other name that is not a field can be assigned. Values that are assigned in a row,
    without anything else being sent or awaited in between, arrive at once.

    Args:
        fields: values by name; the others have their class's default.

    Raises:
        TypeError: a field without a default is missing, or a name is not that of a field.
    """

    _tag: ClassVar[str | None] = None
    _factories: ClassVar[Mapping[str, Callable[[], Value]]] = {}
    _feeds: dict[RemoteCacheObserver, _Feed]
    _watchers: WeakSet[Changes]
    _updates_ended = False

    def __init_subclass__(cls, tag: str | None = None, **kwargs: Value) -> None:
        """Take the type tag under which the class crosses; its own qualified name when there is none.

        Raises:
            TypeError: a field has the name of something that every live object has.
            ValueError: a default is mutable.
        """
        super().__init_subclass__(**kwargs)
        for name in sorted(live_fields(cls)):
            if hasattr(Live, name):
                raise TypeError(
                    f"{cls.__name__} cannot have a field {name!r}: every live object has a {name} already"
                )
        cls._tag = tag
        inherited = {name: make for name, make in cls._factories.items() if name not in vars(cls)}
        cls._factories = inherited | _take_factories(cls)

    def __init__(self, **fields: Value) -> None:
        cls = type(self)
        names = live_fields(cls)
        if unknown := sorted(set(fields) - names):
            raise TypeError(f"{cls.__name__} has no field {unknown[0]!r}; it has {sorted(names)}")
        for name in sorted(names - set(fields)):
            if name in self._factories:
                fields[name] = self._factories[name]()
            elif not hasattr(cls, name):
                raise TypeError(f"{cls.__name__} needs the field {name!r}, which has no default")
        for name, value in fields.items():
            setattr(self, name, value)

    @property
    def is_replica(self) -> bool:
        """Whether this object follows a peer's."""
        return replica_session(self) is not None

    @property
    def _has_ended(self) -> bool:
        """Whether no more updates can come to this replica."""
        session = replica_session(self)
        return self._updates_ended or (isinstance(session, Broker) and session.lifecycle.ended)

    # -- the original

    def fields_for(self, perspective: Perspective) -> Collection[str]:
        """Return the names of the fields that one perspective may see; all of them unless overridden."""
        return live_fields(type(self))

    def __setattr__(self, name: str, value: Value) -> None:
        fields = live_fields(type(self))
        if name not in fields:
            if not name.startswith("_") and not _is_settable(type(self), name):
                raise AttributeError(
                    f"{type(self).__name__} has no field {name!r}; it has {sorted(fields)}, and what begins with _"
                )
            object.__setattr__(self, name, value)
            return
        if self.is_replica:
            raise AttributeError(f"a replica follows its original; {name!r} is changed there")
        feeds = list(self.__dict__.get("_feeds", {}).values())
        for feed in feeds:
            feed.check_loop()
        object.__setattr__(self, name, value)
        for feed in feeds:
            feed.change(name, value)

    def __delattr__(self, name: str) -> None:
        if name in live_fields(type(self)):
            raise AttributeError(f"the field {name!r} of a live object cannot be deleted; assign None")
        object.__delattr__(self, name)

    def __getstate__(self) -> dict[str, Value]:
        """Return what a copy or a pickle of an original keeps: without the observers of this one."""
        return {name: value for name, value in vars(self).items() if name != "_feeds"}

    def get_type_to_copy(self) -> str:
        return self._tag or super().get_type_to_copy()

    def get_state_to_copy_for(self, perspective: Perspective) -> Value:
        return {name: getattr(self, name) for name in self.fields_for(perspective) if hasattr(self, name)}

    def get_state_to_cache_and_observe_for(
        self, perspective: Perspective, observer: RemoteCacheObserver
    ) -> Value:
        feeds = self.__dict__.setdefault("_feeds", {})
        updates = next(iter(feeds.values())).updates if feeds else _Updates()
        feeds[observer] = _Feed(observer, frozenset(self.fields_for(perspective)), updates)
        return self.get_state_to_copy_for(perspective)

    def stopped_observing(self, perspective: Perspective, observer: RemoteCacheObserver) -> None:
        self._feeds.pop(observer, None)

    # -- the replica

    def set_copyable_state(self, state: Value) -> None:
        taken = self._take(state)
        for name, factory in self._factories.items():  # an older sender may lack a field
            if name not in taken:
                object.__setattr__(self, name, factory())

    def observe_changed(self, fields: Value) -> None:
        """Follow the original (called by the peer)."""
        taken = self._take(fields)
        for changes in list(self.__dict__.get("_watchers", ())):
            changes.put(taken)

    def _take(self, state: Value) -> dict[str, Value]:
        """Set the fields in ``state`` that this class declares, and return them."""
        if type(state) is not dict:
            raise DecodeError(f"the state of a {type(self).__name__} must be a dictionary")
        declared = live_fields(type(self))
        taken = {name: value for key, value in state.items() if (name := field_name(key)) in declared}
        for name, value in taken.items():
            object.__setattr__(self, name, value)
        return taken

    def changes(self) -> Changes:
        """Return what changes from now on: ``async for change in replica.changes()``.

        It ends when no change can come any more, because the connection has ended, or the original was given what
        cannot cross. A slow reader gets several changes as one.
        """
        if not self.is_replica:
            raise TypeError("only a replica has changes to wait for; the original is changed by you")
        return Changes(self)

    def updates_ended(self) -> None:
        object.__setattr__(self, "_updates_ended", True)
        for changes in list(self.__dict__.get("_watchers", ())):
            changes.end()


class Changes:
    """An asynchronous iterator over what changes in one replica, see :meth:`Live.changes`."""

    def __init__(self, replica: Live) -> None:
        self._replica = replica
        self._fields: dict[str, Value] = {}
        self._ended = replica._has_ended
        self._waiter: asyncio.Future[None] | None = None
        replica.__dict__.setdefault("_watchers", WeakSet()).add(self)

    def put(self, fields: Mapping[str, Value]) -> None:
        """Something changed (called by the replica)."""
        for name in fields:  # a field that changes again moves to the end: order is that of the last change
            self._fields.pop(name, None)
        self._fields.update(fields)
        self._wake()

    def end(self) -> None:
        """Nothing will change any more (called by the replica)."""
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def close(self) -> None:
        """Stop watching."""
        self._replica._watchers.discard(self)
        self.end()

    def __aiter__(self) -> Changes:
        return self

    async def __anext__(self) -> Change:
        while not self._fields:
            if self._ended:
                self.close()
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        fields, self._fields = self._fields, {}
        return Change(fields)


#: Types of the values that are the same for every observer.
_ALIKE: Final = frozenset({type(None), bool, int, float, str, bytes})


class _Updates:
    """Has the last update of a live object encoded once for all observers that are sent the same."""

    __slots__ = ("_fields", "_shared")

    def __init__(self) -> None:
        self._fields: dict[str, Value] = {}
        self._shared = SharedArguments(())

    def arguments(self, fields: dict[str, Value]) -> tuple[Value, ...]:
        """Return the arguments of an update."""
        if not all(type(value) in _ALIKE for value in fields.values()):
            return (fields,)
        last = self._fields
        if list(last) != list(fields) or any(last[name] is not value for name, value in fields.items()):
            self._fields, self._shared = fields, SharedArguments((fields,))
        return self._shared


class _Feed:
    """The changes of a live object that one observer has not been sent yet.

    Args:
        observer: the far end of a replica.
        fields: that it may see.
        updates: encoded for all observers of the object.
    """

    __slots__ = ("_changed", "_fields", "_observer", "_scheduled", "_unconfirmed", "updates")

    deadline = None  # an update is sent, however long it takes

    def __init__(self, observer: RemoteCacheObserver, fields: frozenset[str], updates: _Updates) -> None:
        self.updates = updates
        self._observer = observer
        self._fields = fields
        self._changed: dict[str, Value] = {}
        self._scheduled = False
        self._unconfirmed = 0

    def check_loop(self) -> None:
        check_loop(caller_of_observer(self._observer).loop)

    def change(self, name: str, value: Value) -> None:
        if name in self._fields:
            self._changed.pop(name, None)
            self._changed[name] = value
            if not self._scheduled and self._may_send:
                self._scheduled = True
                # with what is assigned right after this
                caller_of_observer(self._observer).update_soon(self._send)

    @property
    def _may_send(self) -> bool:
        """Whether the replica follows: otherwise the next confirmation sends what has changed until then."""
        if not self._unconfirmed:
            return True
        return self._unconfirmed < WINDOW and not caller_of_observer(self._observer).buffer.is_full

    def _send(self) -> None:
        self._scheduled = False
        fields, self._changed = self._changed, {}
        if not fields:
            return  # a confirmation has sent them
        self._unconfirmed += 1
        args = self.updates.arguments(fields)
        try:
            caller_of_observer(self._observer).outgoing.update(self._observer, "changed", args, {}, self)
        except DeadReferenceError:
            self._unconfirmed -= 1  # stopped_observing is about to be called

    # ports.Answerable: the peer has taken the update

    def succeed(self, value: Value) -> None:
        self._unconfirmed -= 1
        if self._changed and not self._scheduled and self._may_send:
            self._send()

    def fail(self, error: Exception) -> None:
        if isinstance(error, (SerializationError, CallError)):
            # A replica is either true or gone.
            self._report("%r is given up: an update of its live object cannot cross: %.512a", error)
            caller_of_observer(self._observer).give_up_replica(self._observer)
            return
        if not isinstance(error, (ConnectionError, DeadReferenceError)):
            self._report("%r had trouble with an update of its live object: %.512a", error)
        self.succeed(None)

    def abandon(self) -> None:
        self.fail(SerializationError("a promise that was given up cannot cross"))

    def _report(self, text: str, error: Exception) -> None:
        caller_of_observer(self._observer).report_error(text, self._observer, str(error))


def _take_factories(cls: type[Live]) -> dict[str, Callable[[], Value]]:
    """Return what makes the defaults of the class's own fields; leave plain defaults in the class.

    Raises:
        ValueError: a default is mutable, so all objects would share it.
    """
    factories: dict[str, Callable[[], Value]] = {}
    for name in live_fields(cls) & vars(cls).keys():
        default = vars(cls)[name]
        if isinstance(default, Field):
            if default.default_factory is not MISSING:
                factories[name] = default.default_factory
            if default.default is MISSING:
                delattr(cls, name)
                continue
            default = default.default
            setattr(cls, name, default)
        if type(default).__hash__ is None:
            raise ValueError(
                f"mutable default {type(default)} for field {name} is not allowed: "
                "use dataclasses.field(default_factory=...)"
            )
    return factories


def _is_settable(cls: type, name: str) -> bool:
    """Return whether a class has something of its own that takes assignments to ``name``, such as a property."""
    return hasattr(type(inspect.getattr_static(cls, name, None)), "__set__")


_fields_of: WeakKeyDictionary[type, frozenset[str]] = WeakKeyDictionary()


def live_fields(cls: type) -> frozenset[str]:
    """Return the names of the fields that ``cls`` and its bases annotate."""
    found = _fields_of.get(cls)
    if found is None:
        own = set(Live.__mro__)
        found = _fields_of[cls] = frozenset(
            name
            for base in cls.__mro__
            if base not in own
            for name, annotation in annotations_of(base).items()
            if not name.startswith("_") and not is_class_variable(annotation)
        )
    return found
