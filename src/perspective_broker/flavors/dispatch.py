"""Dispatch: the only place where a name that a peer sent becomes a method.

Nothing else in the library uses a peer's text for attribute access. A peer reaches only methods with the prefix of the
object's flavor: ``remote_``, ``view_``, ``perspective_``, ``observe_``; and the methods that an interface of its class
declares (:mod:`.offer`). Those are found in a table, so that their names, too, come from the program.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from types import MethodType
from typing import Any, Final

from ..errors import BadArguments, NoSuchMethod
from ..ports import Method
from .annotations import parameters_text, signature_of
from .exposing import Wrapped
from .guard import ordinary
from .message_receiver import MessageReceiver
from .offer import Arguments, OfferedMethod
from .target import Target
from .values import Value

__all__ = [
    "blame",
    "find_call",
    "find_method",
    "find_offered",
    "is_property",
    "look_up",
    "no_such_method",
    "offers",
    "plain_function",
    "read_property",
    "stand_for",
]

#: The prefixes of the flavors.
_PREFIXES: Final = ("remote_", "view_", "perspective_", "observe_")

#: What stands in a class for a method, or a property.
_DESCRIPTORS: Final = (property, cached_property, staticmethod, classmethod)

#: Characters of a signature in an error.
_MOST_SPELLED: Final = 200


def find_method(holder: object, prefix: str, name: str) -> Method:
    """Return the method of ``holder`` that callers reach under ``name``.

    Args:
        holder: the object that was exported.
        prefix: the prefix of its flavor; never empty.
        name: the method's name as the peer sent it.

    Raises:
        NoSuchMethod: there is no such method. The text names the class, and at most 64 characters of ``name``.
    """
    method = look_up(holder, prefix, name)
    if method is None:
        raise no_such_method(holder, name)
    return method


def look_up(holder: object, prefix: str, name: str) -> Method | None:
    """Return the same as :func:`find_method`, or None: an exception costs as much as a call.

    Raises:
        NoSuchMethod: the holder is a MessageReceiver without such a method.
    """
    if isinstance(holder, MessageReceiver):
        return holder.find_message(name)
    try:
        method = getattr(holder, prefix + name, None) if prefix else None
    except BaseException as error:  # a property of the application
        raise ordinary(error)  # noqa: B904 # it has its own __cause__
    return method if callable(method) else None


def find_offered(holder: object, offered: OfferedMethod) -> Method:
    """Return the method of ``holder`` that an interface declares.

    Raises:
        NoSuchMethod: the object has hidden the method of its class.
    """
    try:
        method = getattr(holder, offered.attribute, None)
        if offered.is_sync and (plain := plain_function(method)) is not None:
            return MethodType(plain, holder)
    except BaseException as error:  # a property of the application
        raise ordinary(error)  # noqa: B904 # it has its own __cause__
    if not callable(method):
        raise no_such_method(holder, offered.attribute)
    found: Method = method
    return found


def offers(target: Target, name: str) -> bool:
    """Return whether a target has a method, or a property, of that name for its callers. No code of it runs."""
    if target.offer is not None and target.offer.find(name) is not None:
        return True
    if not target.prefix:
        return False
    found = inspect.getattr_static(target.holder, target.prefix + name, None)
    return callable(found) or isinstance(found, _DESCRIPTORS)


def is_property(target: Target, name: str) -> bool:
    """Return whether callers may read a property: one of the class, whose name has the prefix."""
    if not target.prefix:
        return False
    found = inspect.getattr_static(type(target.holder), target.prefix + name, None)
    return isinstance(found, (property, cached_property))


def read_property(target: Target, name: str) -> Value:
    """Return the value of a property, see :func:`is_property`.

    Raises:
        Exception: of the property.
    """
    try:
        return getattr(target.holder, target.prefix + name)
    except BaseException as error:  # a property of the application
        raise ordinary(error)  # noqa: B904 # it has its own __cause__


def find_call(
    target: Target, name: str, args: Sequence[Value], kwargs: Mapping[str, Value]
) -> tuple[Method, Arguments]:
    """Return the method for a call that is made in this program, and what it is called with.

    The session does the same for calls of the peer, step by step.

    Raises:
        NoSuchMethod: see :func:`find_method`.
        BadArguments: the arguments do not fit the interface that declares the method.
    """
    offered = None if target.offer is None else target.offer.find(name)
    if offered is None:
        return find_method(target.holder, target.prefix, name), ((*target.leading, *args), kwargs, None)
    method = find_offered(target.holder, offered)
    received, named, sender = offered.receive(args, kwargs, False)
    return method, ((*target.leading, *received), named, sender)


def stand_for(asynchronous: Callable[..., Value], plain: Callable[..., Value]) -> None:
    """Let the dispatch call the function ``plain`` in the place of ``asynchronous``, which only awaits it."""
    vars(asynchronous)["_pb_plain_function"] = plain


def plain_function(method: object) -> Callable[..., Value] | None:
    """Return the plain function for which an asynchronous one stands; None for any other."""
    plain: Callable[..., Value] | None = getattr(method, "_pb_plain_function", None)
    return plain


def no_such_method(holder: object, name: str) -> NoSuchMethod:
    """Return the error for a call of a method that ``holder`` does not have."""
    shown = name if len(name) <= 64 else name[:61] + "..."
    advice = getattr(
        type(holder), "advice_to_callers", ""
    )  # of the class, because an object may have any attribute
    if name.startswith(_PREFIXES):
        advice = f"; they leave {name.partition('_')[0]}_ out"
    kind = type(holder.exposed if isinstance(holder, Wrapped) else holder).__name__
    return NoSuchMethod(f"{kind} has no method {shown!a} for its callers{advice}")


def blame(
    error: TypeError, name: str, method: Method, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Exception:
    """Return the error of a call that raised TypeError: BadArguments if the caller's arguments do not fit.

    It runs only after such an error, so that other calls cost nothing.

    Args:
        error: the error as the caller of the method caught it.
        name: the method's name, as its callers know it.
        method: the method that was called with ``args`` and ``kwargs``.

    Returns:
        A BadArguments, if the arguments do not fit the method's signature; its text contains the signature, and nothing
        that the peer sent. Otherwise ``error``.
    """
    raised_at = error.__traceback__
    if raised_at is not None and raised_at.tb_next is not None:
        return error  # it was raised within the method, or within its decorator
    try:
        signature = signature_of(method)
    except KeyboardInterrupt:
        raise
    except BaseException:  # a method in C has no signature, and the application's code may compute one
        return error
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        return _misfit(name, method, signature)
    return error


def _misfit(name: str, method: Method, signature: inspect.Signature) -> Exception:
    """Return the error for arguments that do not fit the method."""
    parameters = list(signature.parameters.values())
    own_name = str(getattr(method, "__name__", ""))
    if (
        own_name.startswith("view_") and own_name != name
    ):  # a method of a wrapped object is called by its own name
        if not parameters:
            return TypeError(
                f"view_{name} takes no perspective, the first argument of every method of a view"
            )
        if parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL:
            del parameters[0]
    spelled = parameters_text(signature.replace(parameters=parameters))
    if len(spelled) > _MOST_SPELLED:
        spelled = f"{spelled[:_MOST_SPELLED]}...)"
    return BadArguments(f"{name:.64} takes {spelled}")
