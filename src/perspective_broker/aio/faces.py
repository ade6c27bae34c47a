"""Faces: how the connections of an event loop meet a program that does not run in that loop.

A loop without a face is asyncio's own: methods run in it, and references are used in it. A face that waits in threads
(:mod:`perspective_broker.blocking`) registers itself for its loop, and each connection of that loop gets a link::

    Host ── a method that the peer calls ──▶ link.method
         ── an object of the peer ─────────▶ link.make_reference
         ── a value that has no form ──────▶ link.adapt
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Final
from weakref import WeakKeyDictionary

from ..ports import Method, ObjectId, Perspective, Value
from ..session import Broker
from .caller import Caller
from .references import RemoteReference

__all__ = ["Face", "Link", "face_of", "set_face"]


class Link(ABC):
    """What one connection asks of a face."""

    @abstractmethod
    def opened(self, transport: asyncio.BaseTransport) -> None:
        """The connection has its transport."""

    @abstractmethod
    def method(self, method: Method, args: Sequence[Value], kwargs: Mapping[str, Value]) -> Method:
        """Return what is called in the event loop in place of a method of the program."""

    @abstractmethod
    def make_reference(
        self, caller: Caller, broker: Broker, luid: ObjectId, perspective: Perspective
    ) -> RemoteReference:
        """Return what the program holds of an object of the peer."""

    @abstractmethod
    def adapt(self, value: Value) -> Value:
        """Return a value that has a form on the wire, or ``value`` itself."""


class Face(ABC):
    """What a loop asks of a face."""

    @abstractmethod
    def link(self) -> Link:
        """Return the link of a new connection."""

    @abstractmethod
    def method(self, method: Method, args: Sequence[Value], kwargs: Mapping[str, Value]) -> Method:
        """Do the same as a link, for a call that this program makes of its own object (see calls_here)."""


def face_of(loop: asyncio.AbstractEventLoop) -> Face | None:
    """Return the face of a loop; None for asyncio's own."""
    return _faces.get(loop)


def set_face(loop: asyncio.AbstractEventLoop, face: Face) -> None:
    """Have the connections that are made in ``loop`` meet the program by ``face``."""
    _faces[loop] = face


_faces: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, Face]] = WeakKeyDictionary()
