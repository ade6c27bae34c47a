"""Guard: an exception of the application's code ends its own call or callback, and nothing else.

A method may raise anything, and so may all other code of an application that the library runs: properties, hooks that
return or set a state, ``__str__`` of an exception, callbacks. An exception that is not an :class:`Exception`
(``asyncio.CancelledError`` from the result of another task, ``SystemExit``, ``GeneratorExit``) is not meant for the
library: it becomes an ordinary error. So does a :class:`ProtocolError`, which can only be about another connection.
Only ``KeyboardInterrupt`` is raised again, because a person wants the program to end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import copy_context

from ..errors import ProtocolError, qualified_name

__all__ = ["call_back", "ordinary", "report", "text_of"]

log: logging.Logger = logging.getLogger("perspective_broker")


def ordinary(error: BaseException) -> BaseException:
    """Return an exception of the application's code as an error of its call; a KeyboardInterrupt unchanged."""
    if isinstance(error, (Exception, KeyboardInterrupt)) and not isinstance(error, ProtocolError):
        return error
    kind = qualified_name(type(error))
    text = text_of(error)
    plain = RuntimeError(
        f"code of the program raised {kind}: {text}" if text else f"code of the program raised {kind}"
    )
    plain.__cause__ = error
    return plain


def call_back(callback: Callable[[], object], line: str, *args: object) -> object:
    """Call a callback of the application, in a context of its own, and log its exception.

    Args:
        callback: takes no arguments.
        line: the log message for an exception, with its ``args``, as for a logger.

    Returns:
        The result of the callback; None when it raised.
    """
    try:
        return copy_context().run(callback)
    except BaseException as error:
        report(error, line, *args)
        return None


def report(error: BaseException, line: str, *args: object) -> None:
    """Log an exception of the application's code. (A KeyboardInterrupt is raised again.)"""
    plain = ordinary(error)
    if not isinstance(plain, Exception):
        raise plain
    log.error(line, *args, exc_info=plain)


def text_of(error: BaseException) -> str:
    """Return ``str(error)``, safe to call on any exception of an application."""
    try:
        return str(error)
    except KeyboardInterrupt:
        raise
    except BaseException:
        return "(its text could not be made)"
