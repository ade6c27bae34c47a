"""Topic: something is told to many listeners, and encoded once.

A one-way call costs its encoding, a turn of the connection and a write. For a topic the arguments are encoded once, and
each message is written where it is made, so what is left is the write::

    Topic.tell ──▶ SharedArguments ──▶ Caller.tell_shared ──▶ head and shared bytes ──▶ write
                                   ──▶ Caller.tell_shared ──▶ head and shared bytes ──▶ write
                                   ...

A listener that does not read costs no memory. It is passed over while its write buffer is full, and is then told how
much it has lost.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable

from ..errors import BrokerError, DeadReferenceError, SerializationError
from ..interfaces import Interface, underlying
from ..ports import SharedArguments, Value
from .affinity import check_loop
from .held import caller_of, usable
from .references import RemoteReference

__all__ = ["Topic"]


class _Listener:
    """What a topic keeps of one listener."""

    __slots__ = ("catching_up", "missed")

    def __init__(self) -> None:
        self.missed = 0
        self.catching_up: asyncio.Task[None] | None = None


class Topic:
    """Objects of peers to which the same is told, by one-way calls.

    ::

        news = pb.Topic("news")
        news.add(reader)            # a reference that a client has passed
        news.tell("hear", text)     # calls reader's method "hear", and that of every other listener

    A listener is forgotten when its connection ends. One that reads too slowly is passed over while its write buffer is
    full (``Limits.write_buffer_high``); when there is room again, its method ``lost`` is called with the name of the
    topic and the number of messages that it has not got. It gets no message twice, and none after a later one.

    Args:
        name: of the topic, for ``lost``.
    """

    def __init__(self, name: str = "") -> None:
        self.name: str = name
        self._loop: asyncio.AbstractEventLoop | None = None  # of the first listener, and so of all
        self._listeners: dict[RemoteReference, _Listener] = {}
        self._forget = _forgetting(self)

    def __len__(self) -> int:
        """Return the number of listeners."""
        return len(self._listeners)

    def __contains__(self, listener: object) -> bool:
        return underlying(listener) in self._listeners

    def __repr__(self) -> str:
        return f"<Topic {self.name!r} with {len(self)} listeners>"

    def add(self, listener: RemoteReference | Interface) -> None:
        """Tell ``listener`` from now on. Nothing happens when it is a listener already.

        Args:
            listener: a reference, or an object that calls one by an interface.

        Raises:
            TypeError: it is no reference to an object of a peer.
            DeadReferenceError: its connection has ended, or the reference was released.
            UsageError: its connection, or that of the other listeners, belongs to another event loop.
        """
        reference = underlying(listener)
        if not isinstance(reference, RemoteReference):
            raise TypeError(
                f"a listener is a reference to an object of a peer, not a {type(reference).__name__}"
            )
        loop = usable(reference).loop
        if self._loop is None:
            self._loop = loop
        check_loop(self._loop)
        if reference not in self._listeners:
            reference.on_disconnect(self._forget)
            self._listeners[reference] = _Listener()

    def discard(self, listener: RemoteReference | Interface) -> None:
        """Stop telling ``listener``, if it is told."""
        reference = underlying(listener)
        found = self._listeners.pop(reference, None)
        if found is not None:
            if found.catching_up is not None:
                found.catching_up.cancel()
            reference.dont_notify_on_disconnect(self._forget)

    def tell(self, name: str, /, *args: Value, **kwargs: Value) -> None:
        """Call the method ``name`` of every listener, and ask for no answer.

        The arguments are values, and copied objects, which are asked for their state once and under no perspective.

        Raises:
            SerializationError: the arguments cannot cross, or something among them crosses as a reference. (On several
                dialects: those listeners were told on whose dialect the arguments can cross.)
            UsageError: the listeners belong to another event loop; none was told.
        """
        if self._loop is None:
            return  # nobody was ever added
        check_loop(self._loop)
        shared = SharedArguments(args)
        refusal: SerializationError | None = None
        for reference, listener in list(self._listeners.items()):
            caller = caller_of(reference)
            if caller is None:  # it was released
                del self._listeners[reference]
                continue
            try:
                if listener.missed or not caller.tell_shared(reference, name, shared, kwargs):
                    self._pass_over(reference, listener)
            except SerializationError as error:
                refusal = error
            except DeadReferenceError:
                self._listeners.pop(reference, None)
        if refusal is not None:
            raise refusal

    def _pass_over(self, reference: RemoteReference, listener: _Listener) -> None:
        listener.missed += 1
        if listener.catching_up is None:
            listener.catching_up = asyncio.get_running_loop().create_task(self._catch_up(reference, listener))

    async def _catch_up(self, reference: RemoteReference, listener: _Listener) -> None:
        """Tell a listener what it has lost, as soon as there is room."""
        try:
            caller = usable(reference)
            await caller.buffer.drain
            missed, listener.missed = listener.missed, 0
            caller.tell(reference, "lost", (self.name, missed), {})
        except BrokerError:
            pass  # the connection has ended
        finally:
            listener.catching_up = None


def _forgetting(topic: Topic) -> Callable[[RemoteReference], None]:
    """Return a callback for the end of a listener's connection that does not keep the topic alive."""
    reference = weakref.ref(topic)

    def forget(listener: RemoteReference) -> None:
        topic = reference()
        if topic is not None:
            topic._listeners.pop(listener, None)

    return forget
