"""What programs do with proxies: look at the reference under one, call ahead of an answer, and send without one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar

from .. import interfaces
from ..errors import UsageError
from ..interfaces import Interface
from .calls import Promise
from .pending import form_of
from .reconnect import ReconnectingReference
from .references import RemoteReference
from .untyped import Remote, target_of

__all__ = ["pipeline", "reference", "tell"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


def reference(proxy: Interface | Remote | Callable[..., Awaitable[Any]], /) -> RemoteReference:
    """Return the reference that an object by an interface calls: for its connection, ``on_disconnect``, ``release``.

    Args:
        proxy: of a reference, or a function of the peer, or a :class:`~perspective_broker.remote.Remote`. For one that
            reconnects, the reference of the connection that there is now is returned; for :func:`pipeline`, the answer
            when it has come.

    Raises:
        TypeError: the object lives in this program.
        DeadReferenceError: there is no connection at the moment.
        UsageError: the answer has not come.
    """
    callee = target_of(proxy) if isinstance(proxy, Remote) else interfaces.underlying(proxy)
    if callee is proxy:
        raise TypeError(f"reference: takes an object that lives at the peer, not {type(proxy).__name__}")
    if isinstance(callee, ReconnectingReference):
        return callee.current
    if isinstance(callee, Promise):
        if not callee.done():
            raise UsageError("reference: the answer has not come; await it first")
        callee = interfaces.underlying(callee.result())
    if not isinstance(callee, RemoteReference):
        raise TypeError(f"reference: takes an object that lives at the peer, not {type(callee).__name__}")
    return callee


def pipeline(answer: Awaitable[_T | None], /) -> _T:
    """Return an object that calls what ``answer`` will be: ``await pb.pipeline(lobby.join("me")).say("hi")``.

    The calls on it are sent behind the one that it comes from, without waiting for its answer (see
    :meth:`Promise.call`). It may be an argument of a call as well.

    Raises:
        TypeError: ``answer`` is not the answer of a method that an interface declares to return an interface.
    """
    form = form_of(answer)
    interface = None if form is None else form.answer_interface
    if interface is None:
        raise TypeError(
            "pipeline: takes the answer, not awaited, of a method of an interface that returns an interface"
        )
    made: _T = interfaces.by_interface(interface, answer)
    return made


def tell(method: Callable[_P, Any], /, *args: _P.args, **kwargs: _P.kwargs) -> Awaitable[None]:
    """Call a method of an object by an interface and ask for no answer: ``pb.tell(room.say, "hi")``.

    Returns:
        An awaitable that waits until the connection can take more.

    Raises:
        TypeError: it is not a method of an object that lives at the peer.
        SerializationError: the arguments cannot cross; nothing was sent.
        Exception: see :meth:`RemoteReference.tell`.
    """
    return interfaces.tell(method, args, kwargs)
