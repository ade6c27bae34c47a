"""The arguments of a remote call, as they are written on a command line."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Sequence
from typing import Final

from ..flavors.values import Value
from .status import CommandError, Status

__all__ = ["parse_arguments", "parse_value"]

_KEYWORD: Final = re.compile(r"([^\W\d]\w*)=(.*)", re.DOTALL)


def parse_arguments(texts: Sequence[str]) -> tuple[list[Value], dict[str, Value]]:
    """Return the positional and the keyword arguments for ``texts``.

    ``name=value`` is a keyword argument; to send such a text itself, quote it as Python does: ``'"a=b"'``.

    Raises:
        CommandError: a keyword is given twice.
    """
    args: list[Value] = []
    kwargs: dict[str, Value] = {}
    for text in texts:
        keyword = _KEYWORD.fullmatch(text)
        if keyword is None:
            args.append(parse_value(text))
        elif keyword[1] in kwargs:
            raise CommandError(Status.USAGE, f"the keyword argument {keyword[1]!r} is given twice")
        else:
            kwargs[keyword[1]] = parse_value(keyword[2])
    return args, kwargs


def parse_value(text: str) -> Value:
    """Return the value of a Python literal (``1``, ``None``, ``[1, "two"]``, ``b"raw"``), or the text itself."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about an odd escape in the user's literal
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text
