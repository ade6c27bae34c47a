"""Fitting: whether a method takes every call that an interface declares."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

__all__ = ["fits"]

_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def fits(method: inspect.Signature, declared: inspect.Signature) -> bool:
    """Return whether a method takes every call of a declared signature; both without ``self``.

    Types are not compared.
    """
    return not any(_misfits(method, declared))


def _misfits(method: inspect.Signature, declared: inspect.Signature) -> Iterator[bool]:
    own = list(method.parameters.values())
    positional = [parameter for parameter in own if parameter.kind in _BY_POSITION]
    named = {parameter.name: parameter for parameter in own if parameter.kind in _BY_NAME}
    takes_more = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in own)
    takes_more_named = any(parameter.kind is parameter.VAR_KEYWORD for parameter in own)
    given: set[str] = set()
    for position, parameter in enumerate(declared.parameters.values()):
        if parameter.kind is parameter.VAR_POSITIONAL:
            yield not takes_more
        elif parameter.kind is parameter.VAR_KEYWORD:
            yield not takes_more_named
        else:
            optional = parameter.default is not parameter.empty
            if parameter.kind in _BY_POSITION:
                if position < len(positional):
                    mine = positional[position]
                    given.add(mine.name)
                    yield optional and mine.default is mine.empty
                    if parameter.kind in _BY_NAME and mine.name != parameter.name:
                        # Given by name it would be one of **kwargs, and this one would be missing.
                        yield not takes_more_named or mine.default is mine.empty
                else:
                    yield not takes_more
            if parameter.kind in _BY_NAME:
                found = named.get(parameter.name)
                if found is not None:
                    given.add(found.name)
                    yield optional and found.default is found.empty
                else:
                    yield not takes_more_named
    for parameter in own:
        if parameter.kind in (*_BY_POSITION, *_BY_NAME) and parameter.name not in given:
            yield parameter.default is parameter.empty
