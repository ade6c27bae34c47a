"""Dispatch: the only place where a name that a peer sent becomes a method.

Nothing else in the library uses a peer's text for attribute access. A peer reaches only methods with the prefix of the
object's flavor: ``remote_``, ``view_``, ``perspective_``, ``observe_``.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..errors import BadArguments, NoSuchMethod
from ..ports import Method
from .annotations import signature_of
from .exposing import Wrapped
from .guard import ordinary
from .message_receiver import MessageReceiver

__all__ = ["bare", "blame", "find_method", "look_up", "no_such_method"]

#: The prefixes of the flavors.
_PREFIXES: Final = ("remote_", "view_", "perspective_", "observe_")

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
    spelled = str(
        signature.replace(parameters=[*map(bare, parameters)], return_annotation=inspect.Signature.empty)
    )
    if len(spelled) > _MOST_SPELLED:
        spelled = f"{spelled[:_MOST_SPELLED]}...)"
    return BadArguments(f"{name:.64} takes {spelled}")


def bare(parameter: inspect.Parameter) -> inspect.Parameter:
    """Return a parameter without its annotation and the value of its default."""
    empty = inspect.Parameter.empty
    return parameter.replace(annotation=empty, default=empty if parameter.default is empty else _DEFAULT)


class _Default:
    def __repr__(self) -> str:
        return "..."


_DEFAULT: Final = _Default()
