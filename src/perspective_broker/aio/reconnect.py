"""References that outlive their connection: calls wait for the next one, and logins and fetches are made again.

Calls are never repeated. A call that was sent and not answered when the connection was lost fails as
``ConnectionLost``, because it is unknown whether its method ran; one that was not sent waits for the next connection,
and fails with the code ``not-sent`` when none comes in time. How connections are made is in :mod:`.client`, how they
are kept in :mod:`.keeping`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import overload

from ..errors import ConnectionLost, DeadReferenceError
from ..flavors.handle import Name
from ..interfaces import Callee, Form
from ..ports import Value
from .calls import Promise
from .connection import Connection
from .keeping import Derived, Keeper, Resolver
from .references import RemoteMethod, RemoteReference
from .streams import StreamReader
from .waiting_calls import Lasting

__all__ = ["ReconnectingReference", "keep_connected"]


class ReconnectingReference(Name, Callee):
    """The peer's root, or the perspective or avatar of a login, on whatever connection there is at the moment.

    Made by ``pb.connect(..., reconnect=True)``. It is called like a :class:`RemoteReference`; among the arguments of a
    call it crosses as the reference that it is at that moment. Other references that were got through it belong to the
    connection they came by, and end with it.

    :meth:`derive` gives references that are fetched again with each connection.

    It ends by :meth:`close`, when a login is refused, and when the same user has logged in elsewhere and replaced
    it (a service with ``second_login="replace"``; pb7 only). Every later use raises ``DeadReferenceError``.

    Args:
        keeper: of the connection.
        target: what is called; the root of the keeper or derived of it.
    """

    def __init__(self, keeper: Keeper, target: Lasting) -> None:
        self._keeper = keeper
        self._target = target

    # -- what a reference has

    def call(self, name: str, /, *args: Value, **kwargs: Value) -> Promise[Value]:
        """Call the object's method ``name``, now or as soon as there is a connection.

        The arguments of a call that waits are read when it is sent. The promise fails with ``ConnectionLost``, of the
        code ``not-sent`` when no connection came in time.

        Raises:
            DeadReferenceError: the reference has ended. (At once.)
            UsageError: from another thread or event loop than its own. (At once.)
        """
        ready = self._keeper.ready(self._target)
        return ready.call(name, *args, **kwargs) if ready else self._wait(name, args, kwargs, True)

    def tell(self, name: str, /, *args: Value, **kwargs: Value) -> Awaitable[None]:
        """Call the object's method ``name`` and ask for no answer, now or as soon as there is a connection.

        Returns:
            An awaitable that waits until it was sent and the connection can take more. It raises ConnectionLost when no
            connection came in time.

        Raises:
            DeadReferenceError: the reference has ended.
            SerializationError: the arguments cannot cross; nothing was sent.
            LimitExceeded: the write buffer is full and no task waits for it to drain.
            UsageError: from another thread or event loop than its own.
        """
        ready = self._keeper.ready(self._target)
        return ready.tell(name, *args, **kwargs) if ready else self._wait(name, args, kwargs, False)

    def method(self, name: str) -> RemoteMethod:
        """Return the method ``name`` of the object, to be called like a function."""
        return RemoteMethod(self, name)

    def on_disconnect(self, callback: Callable[[ReconnectingReference], object]) -> None:
        """Call ``callback(reference)`` each time that a connection ends, from now on; it may be ``async``.

        Raises:
            DeadReferenceError: the reference has ended.
        """
        self._keeper.check_usable(self._target)
        self._keeper.on_disconnect(self, callback)

    def dont_notify_on_disconnect(self, callback: Callable[[ReconnectingReference], object]) -> None:
        """Undo one :meth:`on_disconnect`.

        Raises:
            ValueError: it was not asked for.
        """
        self._keeper.dont_notify_on_disconnect(self, callback)

    def on_reconnect(
        self, callback: Callable[[RemoteReference], object], *, first: bool = False, retry: bool = False
    ) -> None:
        """Call ``callback(current)`` each time that there is a new connection.

        Here a program subscribes again. ``current`` is the new connection's own reference. Callbacks run in the order
        in which they were asked for, ``async`` ones one after the other, and calls that waited are sent when all have
        ended: they find everything as the callbacks left it. A callback that raises is logged.

        Args:
            callback: it may be ``async``. One of a derived reference is not called while that cannot be fetched.
            first: call it for the connection that there is now as well; calls that are made after this one wait for it.
            retry: call it again after a pause when it has raised, on the same connection, as long as that lives. False
                ends the connection, when the other callbacks have run, and makes it again after a while.

        Raises:
            DeadReferenceError: the reference has ended.
        """
        self._keeper.check_usable(self._target)
        self._keeper.on_reconnect(self._target, callback, first, retry)

    def dont_notify_on_reconnect(self, callback: Callable[[RemoteReference], object]) -> None:
        """Undo one :meth:`on_reconnect`.

        Raises:
            ValueError: it was not asked for.
        """
        self._keeper.dont_notify_on_reconnect(self._target, callback)

    @overload
    def derive(self, name: str, /, *args: Value, **kwargs: Value) -> ReconnectingReference: ...

    @overload
    def derive(self, resolve: Resolver, /) -> ReconnectingReference: ...

    def derive(self, what: str | Resolver, /, *args: Value, **kwargs: Value) -> ReconnectingReference:
        """Return a reference to what a method returns, which is fetched again with each connection.

        ``room = me.derive("room", "lobby")`` calls ``room("lobby")`` now and whenever there is a new connection, before
        the callbacks of :meth:`on_reconnect`. Calls on the result wait for that; when it fails they fail with its
        error, and the next call fetches again. It is fetched as long as the program holds the result.

        Args:
            what: the name of the method, which returns an object; or a function, plain or ``async``, which gets this
                reference of the new connection and returns one.
            args: of the method.
            kwargs: of the method.

        Raises:
            DeadReferenceError: the reference has ended.
            TypeError: a function takes no arguments besides.
        """
        if isinstance(what, str):
            label = f"{what} of {self._target.label}"
            resolve: Resolver = partial(_call, what, args, kwargs)
        elif args or kwargs or not callable(what):
            raise TypeError("derive: takes the name of a method with its arguments, or a function alone")
        else:
            label, resolve = f"what is derived of {self._target.label}", what
        return ReconnectingReference(self._keeper, self._keeper.derive(self._target, resolve, label))

    @property
    def connected(self) -> bool:
        """Whether there is a connection at the moment."""
        return self._keeper.root.current is not None

    @property
    def waiting(self) -> int:
        """How many calls on this reference wait for a connection."""
        return self._keeper.waiting.count(self._target)

    @property
    def current(self) -> RemoteReference:
        """The reference of the connection that there is at the moment; it ends with that.

        Raises:
            DeadReferenceError: there is none.
        """
        current = self._target.current
        if current is None:
            raise DeadReferenceError(f"there is {self._target.missing} at the moment")
        return current

    @property
    def connection(self) -> Connection:
        """The connection that there is at the moment.

        Raises:
            DeadReferenceError: there is none.
        """
        return self.current.connection

    async def close(self) -> None:
        """End the connection, and connect no more; of a derived reference: fetch it no more. May be called twice.

        Calls without an answer, and those that wait, fail with ConnectionLost. (On a derived reference those that
        wait.)
        """
        if isinstance(self._target, Derived):
            self._keeper.end_derived(self._target, ConnectionLost("closed", "the program closed it"))
        else:
            await self._keeper.close()

    def _wait(
        self,
        name: str,
        args: tuple[Value, ...],
        kwargs: dict[str, Value],
        wants_answer: bool,
        form: Form | None = None,
    ) -> Promise[Value]:
        return self._keeper.waiting.add(self._target, name, args, kwargs, wants_answer, form)

    # -- calls by an interface

    def _pb_call(self, form: Form, args: tuple[Value, ...], kwargs: dict[str, Value]) -> Promise[Value]:
        ready = self._keeper.ready(self._target)
        return (
            ready._pb_call(form, args, kwargs) if ready else self._wait(form.name, args, kwargs, True, form)
        )

    def _pb_tell(self, form: Form, args: tuple[Value, ...], kwargs: dict[str, Value]) -> Awaitable[None]:
        return self.tell(form.name, *args, **kwargs)

    def _pb_read(self, form: Form, args: tuple[Value, ...], kwargs: dict[str, Value]) -> StreamReader:
        return StreamReader(self._pb_call(form, args, kwargs), form)

    def __repr__(self) -> str:
        ended = self._target.end or self._keeper.root.end
        state = "ended" if ended is not None else "connected" if self.connected else "not connected"
        return f"<ReconnectingReference to {self._target.label}, {state}>"


def _call(
    name: str, args: tuple[Value, ...], kwargs: dict[str, Value], parent: RemoteReference
) -> Promise[Value]:
    return parent.call(name, *args, **kwargs)


async def keep_connected(keeper: Keeper) -> ReconnectingReference:
    """Make the first connection, and keep one from then on. Raises what making it raises."""
    await keeper.start()
    return ReconnectingReference(keeper, keeper.root)
