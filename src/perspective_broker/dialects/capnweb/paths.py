"""Paths: what of a value, or of an object, a peer reaches by a list of names.

In a dictionary its own keys, in a list whole numbers, in an object what it offers: methods, and properties of its class
whose name has the prefix. What is not there is None, as JavaScript has it; a step from there is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final, cast

from ...errors import BadArguments, DecodeError
from ...flavors import Exportable, Reference, Target, callback, export_target
from ...flavors.dispatch import find_call, is_property, offers, read_property
from ...flavors.exposing import CALL, Callback
from ...ports import Perspective, Undecoded, Value
from .encoding import DROPPED_KEYS

__all__ = ["check_path", "follow", "spelling", "target_of"]

#: Steps of a path.
_MOST_STEPS: Final = 64


def check_path(path: Undecoded, most_bytes: int) -> Sequence[str | int]:
    """Return a path.

    Raises:
        DecodeError: it is not a list of names and whole numbers, or too long.
    """
    if type(path) is not list or len(path) > _MOST_STEPS:
        raise DecodeError(f"a path is a list of {_MOST_STEPS} names at most")
    for step in path:
        if type(step) is str:
            if len(step) > most_bytes:
                raise DecodeError(
                    f"a name of a path has {most_bytes} bytes at most (Limits.method_name_bytes)"
                )
        elif type(step) is not int or step < 0:
            raise DecodeError("a step of a path is a name, or a whole number")
    return path


def spelling(target: Target, name: str) -> str:
    """Return the name of the method that a peer means by ``fooBar``: itself or, where there is none, ``foo_bar``."""
    if name.islower() or not name.isidentifier() or offers(target, name):
        return name
    spelled = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
    return spelled if offers(target, spelled) else name


def follow(value: Value, path: Sequence[str | int], perspective: Perspective) -> Value:
    """Return what a path leads to.

    Args:
        value: where it begins; a Target stands for its object.
        path: checked.
        perspective: under which the objects in the value are seen.

    Raises:
        CallError: it leads nowhere.
        Exception: of a property of the program.
    """
    for step in path:
        value = _step(value, step, perspective)
    return value.obj if isinstance(value, Target) else value


def _step(value: Value, step: str | int, perspective: Perspective) -> Value:
    kind = type(value)
    if step in DROPPED_KEYS:
        return None
    if kind is dict:
        return value.get(step)
    if kind is list or kind is tuple:
        index = (
            int(step) if type(step) is str and step.isascii() and step.isdigit() and len(step) < 10 else step
        )
        return value[index] if type(index) is int and index < len(value) else None
    if isinstance(value, Target):
        return _read(value, str(step))
    if isinstance(value, Exportable):
        return _read(export_target(value, perspective), str(step))
    if value is None or isinstance(value, Reference):
        raise BadArguments("a path leads through what has no properties here")
    return None


def _read(target: Target, name: str) -> Value:
    """Return a property that an object offers, or one of its methods as a function."""
    name = spelling(target, name)
    if is_property(target, name):
        return read_property(target, name)
    return callback(partial(_call, target, name)) if offers(target, name) else None


def _call(target: Target, name: str, *args: Value) -> Value:
    """Call a method that was read as a function."""
    method, (received, kwargs, sender) = find_call(target, name, args, {})
    if sender is not None:
        raise BadArguments("a method that an interface declares is called by its name, not as a function")
    return method(*received, **kwargs)


def target_of(value: Value, path: Sequence[str | int], perspective: Perspective) -> tuple[Target, str]:
    """Return the object whose method a path with arguments calls, and the method's name.

    Raises:
        CallError: there is no such object.
        Exception: of a property of the program.
    """
    if path and isinstance(path[-1], str):
        value = _walk(value, path[:-1], perspective)
        name = path[-1]
        if isinstance(value, Target):
            return value, spelling(value, name)
        if isinstance(value, Exportable):
            target = export_target(value, perspective)
            return target, spelling(target, name)
        if isinstance(value, Reference):  # of the peer: the call goes there
            return export_target(callback(partial(cast(Any, value).call, name)), None), CALL
        path = path[-1:]
    function = _walk(value, path, perspective)
    if isinstance(function, Reference):
        return export_target(callback(partial(cast(Any, function).call, CALL)), None), CALL
    if isinstance(function, Exportable):
        function = export_target(function, perspective)
    if isinstance(function, Target) and isinstance(function.holder, Callback):
        return function, CALL
    raise BadArguments("what is called is not a function")


def _walk(value: Value, path: Sequence[str | int], perspective: Perspective) -> Value:
    for step in path:
        value = _step(value, step, perspective)
    return value
