"""Roots: the objects that a server offers by name, and what names are.

A peer reaches each of them under its name without having got it from anyone. The one object of most servers has the
name ``root``; for every dialect since 2002 that is a name like others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from ..cred import Perspective, Service
from ..cred.login import LoginRoot
from ..errors import SerializationError
from ..flavors import Exportable, export_target
from ..flavors.exporting import offer_of
from ..flavors.message_receiver import MessageReceiver, foreign
from ..ports import Value
from .connection import Connection

__all__ = ["ROOT", "MakeRoots", "Roots", "advice", "check_name"]

#: The name of an object that is served without one.
ROOT: Final = "root"

#: Every dialect ends the connection at a longer name.
_MOST_NAME_BYTES: Final = 256

#: Of names that belong to the library: nothing may live under the one that :meth:`Connection.ping` calls.
_RESERVED: Final = "pb-"

#: Makes what the peer of a connection reaches, by name.
MakeRoots: TypeAlias = Callable[[Connection], Mapping[str, Exportable]]


def check_name(name: str) -> None:
    """Check the name of an object that is served.

    Raises:
        TypeError: it is not text.
        ValueError: it is empty, too long, not UTF-8, or one of the library's own.
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of an object is text (str), not {type(name).__name__}")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise ValueError(f"the name of an object is text that UTF-8 can express, not {name!a:.80}") from None
    if not 1 <= size <= _MOST_NAME_BYTES:
        raise ValueError(f"the name of an object has 1 to {_MOST_NAME_BYTES} bytes, not {size}")
    if name.startswith(_RESERVED):
        raise ValueError(f"names that begin with {_RESERVED} belong to the library: {name!a:.80}")


class Roots:
    """The objects of one server, by name.

    Args:
        served: one object, or a mapping of names to objects.

    Raises:
        TypeError: one of them cannot be served, there is none, a name is not text, or two take logins.
        ValueError: a name is invalid.
    """

    def __init__(self, served: Value) -> None:
        if isinstance(served, Mapping) and not _is_root(served):
            if not served:
                raise TypeError(f"an empty {type(served).__name__} cannot be served: it names no object")
            for name in served:
                check_name(name)
            self._objects: dict[str, Value] = dict(served)
        else:
            self._objects = {ROOT: served}
        self._makers = {name: _maker(root) for name, root in self._objects.items()}
        logins = [name for name, root in self._objects.items() if isinstance(root, LoginRoot)]
        if len(logins) > 1:
            raise TypeError(
                f"{' and '.join(map(ascii, logins))} take logins, but a connection logs in at one object: "
                "add the services to one pb.Application"
            )
        self._begun: list[Value] = []

    def make(self, connection: Connection) -> Mapping[str, Exportable]:
        """Return what the peer of a new connection reaches, by name."""
        return {name: make(connection) for name, make in self._makers.items()}

    async def begin(self) -> None:
        """Call ``begin_serving`` of each object that has it, in their order, and once also under several names."""
        for root in {id(root): root for root in self._objects.values()}.values():
            await _hook(root, "begin_serving")
            self._begun.append(root)

    async def end(self) -> None:
        """Call ``end_serving`` of those that have begun, the last one first. When one raises, the others still end."""
        if self._begun:
            root = self._begun.pop()
            try:
                await _hook(root, "end_serving")
            finally:
                await self.end()


def _is_root(served: Value) -> bool:
    return isinstance(served, Exportable) or hasattr(served, "root_object")


def _maker(root: Value) -> Callable[[Connection], Exportable]:
    """Return what makes one root of each connection.

    Raises:
        TypeError: ``root`` cannot be served.
    """
    if isinstance(root, type):
        if issubclass(root, (Perspective, Service)):
            raise TypeError(f"the class {root.__name__} cannot be served; {advice(root)}")
        raise TypeError(f"an object is served, not its class: serve({root.__name__}(), ...)")
    offer_of(root)  # raises now, and not for each connection, where annotations cannot be looked up
    make_root: Callable[[Connection], Exportable] | None = getattr(root, "root_object", None)
    if make_root is not None:
        return make_root
    if not isinstance(root, Exportable):
        raise TypeError(f"a {type(root).__name__} cannot be served; {advice(type(root))}")
    try:
        holder = export_target(root, None).holder
    except SerializationError as error:  # a view without a perspective
        raise TypeError(f"a {type(root).__name__} cannot be served: {error}") from None
    if isinstance(holder, MessageReceiver):
        raise TypeError(foreign(root))
    return lambda connection: root


def advice(kind: type) -> str:
    """Return what to do with an object of a class that cannot be served."""
    if issubclass(kind, Perspective):
        return "a pb.Service makes one for each user: serve the pb.Application that has the service"
    if issubclass(kind, Service):
        return "add it to a pb.Application"
    return "derive it from pb.Root, or name its methods with pb.wrap"


async def _hook(root: Value, name: str) -> None:
    """Call a method that a root may have, and wait for it where it asks for that."""
    method = getattr(root, name, None)
    if method is not None:
        result = method()
        if hasattr(type(result), "__await__"):
            await result
