"""The password of a command, from a prompt or a file.

It never comes from the arguments or the environment, which others on the machine can read.
"""

from __future__ import annotations

import getpass
import sys
import warnings
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from .status import CommandError, Status, system_text

__all__ = ["PasswordFile", "obtain_password"]

PasswordFile = Annotated[
    Path | None,
    Parameter(
        help="Read the password from the first line of this file (- for standard input) instead of prompting for it.",
        allow_leading_hyphen=True,  # for - alone
    ),
]

#: Bytes of the line with the password; passwords of identities are much shorter.
_LONGEST: Final = 4096


def obtain_password(file: Path | None, prompt: str, *, twice: bool = False) -> str:
    """Return a password.

    Args:
        file: its first line is the password; ``-`` is standard input. None prompts at the terminal.
        prompt: the text of the prompt.
        twice: whether to prompt again, because the typed characters are not shown.

    Raises:
        CommandError: no password was given, or it cannot be read.
    """
    # A terminal must not show the line while it is typed.
    if file is None or (str(file) == "-" and sys.stdin.isatty()):
        return _asked(prompt, twice)
    return _read(file)


def _asked(prompt: str, twice: bool) -> str:
    try:
        with warnings.catch_warnings():
            # Without a terminal, getpass would warn and then read standard input.
            warnings.simplefilter("error", getpass.GetPassWarning)
            password = getpass.getpass(f"{prompt}: ")
            if twice and getpass.getpass("The same again: ") != password:
                raise CommandError(Status.USAGE, "the two passwords differ; nothing was changed")
    except getpass.GetPassWarning:
        text = "no terminal to prompt for the password; use --password-file FILE"
        raise CommandError(Status.USAGE, text) from None
    except EOFError:
        raise CommandError(Status.USAGE, "no password was given") from None
    return password


def _read(file: Path) -> str:
    name = "standard input" if str(file) == "-" else str(file)
    try:
        if str(file) == "-":
            line = sys.stdin.buffer.readline(_LONGEST)  # a line and no more: pb shell reads on
        else:
            with file.open("rb") as opened:
                line = opened.readline(_LONGEST)
        password = line.decode("utf-8-sig").rstrip("\r\n")
    except OSError as error:
        raise CommandError(Status.USAGE, f"{name}: {system_text(error)}") from None
    except UnicodeDecodeError:  # it contains the password
        raise CommandError(Status.USAGE, f"{name}: the first line is not UTF-8 text") from None
    if not password:
        raise CommandError(Status.USAGE, f"{name}: the first line is empty, and should be the password")
    return password
