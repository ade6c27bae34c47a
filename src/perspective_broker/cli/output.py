"""The output of commands: values for people, for other programs, and as JSON.

A peer's text is never printed unchanged on a terminal: characters that would move its cursor, or worse, become escapes.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import json
import math
import select
import sys
from typing import Final

from rich.console import Console
from rich.highlighter import ReprHighlighter
from rich.pretty import Pretty
from rich.text import Text

from ..flavors import Reference
from ..flavors.values import Value

__all__ = ["is_output_closed", "one_line", "print_error", "printable", "show", "show_item", "show_json"]

#: Characters of an error's line, because a peer's text may be long.
_LINE: Final = 2000


def show(value: Value) -> None:
    """Print a value: text as it is, nothing for None, anything else as Python writes it.

    On a terminal it is coloured and laid out; otherwise it is one line, for another program.
    """
    if value is None:
        return
    if not sys.stdout.isatty():
        print(value if type(value) is str else repr(value))
    elif type(value) is str:
        print(printable(value, keep="\n\t"))
    else:
        Console().print(Pretty(value))


def show_item(value: Value) -> None:
    """Print one of many values, in one line that does not wait for the next: text as it is, if it is one line."""
    if type(value) is str and "\n" not in value:
        text = printable(value, keep="\t") if sys.stdout.isatty() else value
    else:
        text = repr(value)
    if not sys.stdout.isatty() or type(value) is str:
        print(text, flush=True)
    else:
        console = Console(soft_wrap=True)
        console.print(ReprHighlighter()(Text(printable(text))))
        console.file.flush()


def show_json(value: Value) -> None:
    """Print a value as one line of JSON, null for None.

    Raises:
        ValueError: the value contains itself.
    """
    print(json.dumps(_as_json(value, ()), allow_nan=False), flush=True)


def is_output_closed() -> bool:
    """Return whether standard output is a pipe whose reader has gone, if the system can report it."""
    if not hasattr(select, "poll"):
        return False
    poll = select.poll()
    poll.register(sys.stdout, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def print_error(who: str, text: str) -> None:
    """Print an error of the command ``who`` on standard error, in one line."""
    with contextlib.suppress(OSError):  # its reader has gone, and there is no other output
        print(f"{who}: {text}", file=sys.stderr, flush=True)


def one_line(text: str) -> str:
    """Return a text as one line that is safe to print anywhere, cut when it is very long."""
    shown = printable(text.strip())
    return shown if len(shown) <= _LINE else shown[: _LINE - 3] + "..."


def printable(text: str, keep: str = "") -> str:
    """Return ``text`` with escapes for what does not print, except the characters in ``keep``."""
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode()
        for char in text
    )


def _as_json(value: Value, inside: tuple[int, ...]) -> Value:
    """Return the nearest JSON value, as listed in docs/reference/cli.md."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, (bytes, bytearray)):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, Reference):
        return {"reference": repr(value)}
    if id(value) in inside:
        raise ValueError("a value that contains itself has no JSON form")
    inside = (*inside, id(value))
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value):
            return {key: _as_json(item, inside) for key, item in value.items()}
        return [[_as_json(key, inside), _as_json(item, inside)] for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return [_as_json(item, inside) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((_as_json(item, inside) for item in value), key=json.dumps)
    if hasattr(value, "__dict__"):  # a copy of the peer's object
        return {str(name): _as_json(item, inside) for name, item in vars(value).items()}
    return str(value)
