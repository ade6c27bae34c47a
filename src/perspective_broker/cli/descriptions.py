"""Descriptions of the peer's objects, for people to read."""

from __future__ import annotations

import difflib

from rich.console import Console
from rich.text import Text

from ..aio import Description, MethodDescription, Remote, RemoteReference, describe
from ..errors import UsageError
from .output import one_line, printable
from .status import CommandError, Status

__all__ = ["ask", "brief", "missing", "print_text", "whole", "whole_method"]


async def ask(reference: RemoteReference | Remote) -> Description:
    """Return the peer's description of an object.

    Raises:
        CommandError: the peer does not describe its objects.
    """
    try:
        return await describe(reference)
    except UsageError as error:
        hint = "it speaks pb7, and knows the user or is of this machine, where it does"
        raise CommandError(Status.REMOTE, f"{error} ({hint})") from None


def missing(description: Description, name: str) -> CommandError:
    """Return the error for a method that an object does not have."""
    close = difflib.get_close_matches(name, [method.name for method in description.methods], 1)
    advice = f"; did you mean {close[0]!a}?" if close else ""
    return CommandError(Status.REMOTE, f"{description.name} has no method {name!a:.80}{advice}")


def brief(description: Description) -> Text:
    """Return the name of the class, and the signature of each method with the first line of its documentation."""
    shown = Text(one_line(description.name), style="bold")
    for method in description.methods:
        for signature in _signatures(method):
            shown.append("\n  ").append_text(signature)
        first = one_line(method.doc.strip().partition("\n")[0])
        if first:
            shown.append(f"\n      {first}", style="dim")
    if not description.methods:
        shown.append("\n  (no methods)", style="dim")
    return shown


def whole(description: Description) -> Text:
    """Return all that is known of an object."""
    shown = Text(one_line(description.name), style="bold")
    if description.interfaces:
        shown.append(f" ({', '.join(map(one_line, description.interfaces))})")
    if description.doc:
        shown.append(f"\n{_block(description.doc, '')}")
    for method in description.methods:
        shown.append("\n\n").append_text(whole_method(method))
    if not description.methods:
        shown.append("\n\n(no methods)", style="dim")
    return shown


def whole_method(method: MethodDescription) -> Text:
    """Return all that is known of a method."""
    shown = Text("\n").join(_signatures(method))
    if method.doc:
        shown.append(f"\n{_block(method.doc, '    ')}", style="dim")
    return shown


def print_text(text: Text) -> None:
    """Print a text, in colours on a terminal."""
    Console(soft_wrap=True, highlight=False).print(text)


def _signatures(method: MethodDescription) -> list[Text]:
    """Return the forms of a method in colours: its name, and its parameters."""
    shown = []
    for text in method.signatures or (f"{method.name}(...)",):
        name, bracket, rest = one_line(text).partition("(")
        form = Text(name, style="bold cyan").append(f"{bracket}{rest}", style="not bold")
        if method.stream and " -> " not in rest:
            form.append(" -> stream", style="magenta")
        shown.append(form)
    return shown


def _block(doc: str, indent: str) -> str:
    lines = printable(doc.strip(), keep="\n").split("\n")
    return "\n".join(f"{indent}{line}".rstrip() for line in lines)
