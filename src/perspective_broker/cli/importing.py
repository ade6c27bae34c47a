"""Import the user's modules, from the current directory first, as ``python -m`` does."""

from __future__ import annotations

import difflib
import importlib
import logging
import os
import sys
import traceback
from types import ModuleType

from .status import CommandError, Status

__all__ = ["import_here", "import_object", "user_code_error"]

log: logging.Logger = logging.getLogger("perspective_broker")


def import_here(name: str) -> ModuleType:
    """Import a module, looking in the current directory first.

    Raises:
        CommandError: there is no module of that name, or importing it raises.
    """
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    if name.endswith(".py") or os.sep in name:
        raise CommandError(
            Status.USAGE, f"{name!r} is a file; give the module's name, such as {_module_of(name)!r}"
        )
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            text = f"there is no module {error.name!r} in {here}, nor installed"
            raise CommandError(Status.USAGE, text) from None
        raise user_code_error(f"the module {name!r} cannot be imported", error) from None
    except (Exception, SystemExit) as error:
        raise user_code_error(f"the module {name!r} cannot be imported", error) from None


def import_object(target: str) -> object:
    """Return the object for ``MODULE:OBJECT``; it may be an attribute of another object, ``module:a.b``.

    Raises:
        CommandError: there is no object of that name.
    """
    name, _, path = target.partition(":")
    if not name or not path:
        raise CommandError(
            Status.USAGE, f"{target!r} names no object; write MODULE:OBJECT, such as greeter:Greeter"
        )
    found: object = import_here(name)
    for attribute in path.split("."):
        try:
            found = getattr(found, attribute)
        except AttributeError:
            near = difflib.get_close_matches(attribute, [n for n in dir(found) if not n.startswith("_")])
            hint = f"; there is {' and '.join(near)}" if near else ""
            raise CommandError(Status.USAGE, f"{name!r} has no {path!r}{hint}") from None
    return found


def user_code_error(what: str, error: BaseException) -> CommandError:
    """Return the error for user's code that raised: one line with the position; the traceback goes to the debug log."""
    log.debug("%s", what, exc_info=error)
    frames = traceback.extract_tb(error.__traceback__)
    # The position that its author knows: the last one outside of installed packages and of this library.
    own = [frame for frame in frames if frame.filename.startswith(os.getcwd())]
    where = f" ({os.path.relpath(own[-1].filename)}, line {own[-1].lineno})" if own else ""
    if isinstance(error, SyntaxError) and error.filename:
        where = f" ({os.path.relpath(error.filename)}, line {error.lineno})"
        return CommandError(Status.USAGE, f"{what}: {error.msg}{where}")
    return CommandError(Status.USAGE, f"{what}: {type(error).__name__}: {error}{where}")


def _module_of(path: str) -> str:
    return os.path.normpath(path.removesuffix(".py")).replace(os.sep, ".").strip(".")
