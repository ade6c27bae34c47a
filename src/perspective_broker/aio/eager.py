"""Tasks whose first step runs where they are made.

A method that does not wait for anything has then ended in the turn in which it was called, as a plain one has. Python
has such tasks since 3.12. (Not compiled: mypyc would decide on the version when it compiles.)
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from contextvars import Context
from typing import NoReturn, TypeVar

from ..ports import Value

__all__ = ["begin_now", "begins_now"]

_T = TypeVar("_T")

if sys.version_info >= (3, 12):

    def begins_now(loop: asyncio.AbstractEventLoop) -> bool:
        """Return whether tasks of the loop can begin at once: the program has no task factory of its own."""
        return loop.get_task_factory() is None

    def begin_now(
        loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Value, Value, _T], context: Context
    ) -> asyncio.Task[_T]:
        """Run the first step of a new task of the running event loop, and return the task; it may have ended."""
        return asyncio.Task(coroutine, loop=loop, context=context, eager_start=True)

else:

    def begins_now(loop: asyncio.AbstractEventLoop) -> bool:
        """Return False: this version of Python has no such tasks."""
        return False

    def begin_now(
        loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Value, Value, _T], context: Context
    ) -> NoReturn:
        """Raise AssertionError: this version of Python has no such tasks."""
        raise AssertionError
