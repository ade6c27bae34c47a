"""Remote: an object of the peer that is called like one of this program, without an interface.

What a method answers is a Remote already while it is on its way, so calls on it are sent behind the first one::

    Remote ──.join("lobby")──▶ RemoteAnswer ──.say("hi")──▶ RemoteAnswer      one round trip
                                    └── await ──▶ the answer; a Remote where it is an object of the peer

Any public name is a method of the peer but ``call`` and ``tell``. So everything else that belongs to a Remote is a
function of this module.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Generator, Iterable
from typing import Any, Protocol

from ..flavors.handle import Name
from ..interfaces import Interface, underlying
from ..ports import Value
from .calls import Promise
from .references import RemoteReference

__all__ = [
    "Remote",
    "RemoteAnswer",
    "UntypedMethod",
    "UntypedObject",
    "name_methods",
    "names_of",
    "target_of",
]


class _Target(Protocol):
    """A reference of any kind, or a promise of one."""

    def call(self, name: str, /, *args: Value, **kwargs: Value) -> Promise[Value]: ...

    def tell(self, name: str, /, *args: Value, **kwargs: Value) -> Awaitable[None] | None: ...


class UntypedObject(Name):
    """Base of objects whose attributes are the methods of an object elsewhere; subclasses have ``call``."""

    __slots__ = ("_pb_names", "_pb_target")

    def __init__(self, target: Any) -> None:
        self._pb_target: Any = target
        self._pb_names: tuple[str, ...] = ()

    def call(self, name: str, /, *args: Value, **kwargs: Value) -> Any:
        """Call the method ``name``, which may be any text."""
        raise NotImplementedError

    def __getattr__(self, name: str) -> UntypedMethod:
        if name.startswith("_"):  # a program asks for these to learn what kind of object it has
            raise AttributeError(f"a {type(self).__name__} has no attribute {name!r}", name=name, obj=self)
        return UntypedMethod(self, name)

    def __dir__(self) -> Iterable[str]:
        """Name the methods too, as far as they are known."""
        own = (name for name in super().__dir__() if not name.startswith("_pb_"))
        return sorted({*own, *self._pb_names})

    def __eq__(self, other: object) -> bool:
        return self._pb_target == other._pb_target if isinstance(other, UntypedObject) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._pb_target)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._pb_target!r}>"


class UntypedMethod:
    """A method of an untyped object, to be called."""

    __slots__ = ("__name__", "__self__")

    def __init__(self, owner: UntypedObject, name: str) -> None:
        self.__self__: UntypedObject = owner
        self.__name__: str = name

    def __call__(self, *args: Value, **kwargs: Value) -> Any:
        return self.__self__.call(self.__name__, *args, **kwargs)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, UntypedMethod):
            return NotImplemented
        return self.__self__ == other.__self__ and self.__name__ == other.__name__

    def __hash__(self) -> int:
        return hash((self.__self__, self.__name__))

    def __repr__(self) -> str:
        return f"<method {self.__name__} of {self.__self__!r}>"


class Remote(UntypedObject):
    """An object of the peer, called without an interface: ``await remote.greet("x")``.

    Each public attribute is a method of the peer's object, except ``call`` and ``tell``. What it returns can be awaited
    any number of times, and is a :class:`Remote` at once: ``await remote.join("lobby").say("hi")`` takes one round trip
    on pb7. An object of the peer in the answer, by itself or in a list, a tuple or a dictionary, is a Remote too. A
    Remote that is passed as an argument crosses as its reference. ``asyncio.gather`` and ``asyncio.ensure_future`` take
    answers; ``create_task`` does not.

    ``dir(remote)`` has the names of its methods after ``await pb.describe(remote)``.

    Args:
        target: a :class:`~perspective_broker.RemoteReference`, a reconnecting one, a promise of one, or
            an object that calls one.

    Raises:
        TypeError: ``target`` is none of these.
    """

    __slots__ = ()

    def __init__(self, target: _Target | Remote | Interface) -> None:
        found = target_of(target) if isinstance(target, Remote) else underlying(target)
        if not callable(getattr(type(found), "call", None)) or not callable(
            getattr(type(found), "tell", None)
        ):
            raise TypeError(f"Remote takes a reference, not a {type(found).__name__}")
        super().__init__(found)

    def call(self, name: str, /, *args: Value, **kwargs: Value) -> RemoteAnswer:
        """Call the method ``name``, which may be any text. Raises as ``reference.call`` does."""
        return RemoteAnswer(self._pb_target.call(name, *args, **kwargs))

    def tell(self, name: str, /, *args: Value, **kwargs: Value) -> Awaitable[None] | None:
        """Call the method ``name`` and ask for no answer. Raises, and returns, as ``reference.tell`` does."""
        told: Awaitable[None] | None = self._pb_target.tell(name, *args, **kwargs)
        return told

    async def __aiter__(self) -> AsyncIterator[Value]:
        """Read the stream that the object is."""
        target = self._pb_target
        async for item in (await target) if isinstance(target, Promise) else target:
            yield _untyped(item)


class RemoteAnswer(Remote):
    """What a method of a :class:`Remote` answers. It can be awaited, and called if it is an object."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, Value]:
        return _untyped((yield from self._pb_target.__await__()))


def _untyped(value: Value) -> Value:
    """Return an answer with a Remote for each reference, as far as :class:`Remote` promises."""
    kind = type(value)
    if kind is RemoteReference:
        return Remote(value)
    if kind is dict:
        if RemoteReference in map(type, value.values()):
            return {key: _of_reference(item) for key, item in value.items()}
    elif (kind is list or kind is tuple) and RemoteReference in map(type, value):
        return kind(map(_of_reference, value))
    return value


def _of_reference(value: Value) -> Value:
    return Remote(value) if type(value) is RemoteReference else value


def target_of(remote: UntypedObject) -> Any:
    """Return the reference, or the promise, that an untyped object calls."""
    return remote._pb_target


def names_of(remote: UntypedObject) -> tuple[str, ...]:
    """Return the names that ``dir(remote)`` has besides its own."""
    return remote._pb_names


def name_methods(remote: UntypedObject, names: Iterable[str]) -> None:
    """Let ``dir(remote)`` have those of these names that are attributes."""
    remote._pb_names = tuple(name for name in names if name.isidentifier() and not name.startswith("_"))
