"""The arguments of a remote call, as they are written on a command line."""

from __future__ import annotations

import ast
import json
import re
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, NoReturn

from cyclopts import Parameter

from ..flavors.values import Value
from .status import CommandError, Status

__all__ = ["Arguments", "Data", "Texts", "parse_arguments", "parse_value", "read_arguments"]

#: The arguments of the command line that are those of the method.
Texts = Annotated[
    str, Parameter(help="An argument: a Python literal, or else text; name=value is a keyword.")
]

#: Arguments that another program has written.
Data = Annotated[
    str | None,
    Parameter(
        help="The arguments as JSON, - to read it from standard input: an object has keyword arguments, an array"
        " positional ones.",
        allow_leading_hyphen=True,  # for - alone
    ),
]

_KEYWORD: Final = re.compile(r"([^\W\d]\w*)=(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of a remote call.

    Attributes:
        args: the positional ones.
        kwargs: those with a name.
    """

    args: Sequence[Value]
    kwargs: dict[str, Value]


def read_arguments(texts: Sequence[str], data: str | None, *, stdin_taken: bool = False) -> Arguments:
    """Return the arguments of a command line.

    Args:
        texts: those without an option.
        data: those of ``--data``; None without it.
        stdin_taken: whether another option reads standard input.

    Raises:
        CommandError: they are given in both ways, or wrong.
    """
    if data is None:
        return Arguments(*parse_arguments(texts))
    if texts:
        raise CommandError(Status.USAGE, "--data holds all arguments: give none beside it")
    if data == "-":
        if stdin_taken:
            raise CommandError(Status.USAGE, "--data - and --password-file - both read standard input")
        text = sys.stdin.read()
    else:
        text = data
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        where = f" in line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise CommandError(Status.USAGE, f"--data is not JSON: {reason}{where}") from None
    if isinstance(value, dict):
        return Arguments((), value)
    if isinstance(value, list):
        return Arguments(value, {})
    raise CommandError(
        Status.USAGE, """--data takes a JSON object, '{"name": 1}', or an array, '[1, 2]', of arguments"""
    )


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


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
