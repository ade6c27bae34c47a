"""Hooks: asynchronous code of the application, whose errors end only its own call or callback (:mod:`.flavors.guard`).

When the task that waits for a hook is cancelled, the cancellation is raised. When a hook raises a ``CancelledError`` of
its own, such as that of another task's result, the hook has failed.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

from .flavors.guard import ordinary, report

__all__ = ["HookResult", "contained", "finish", "is_ours", "maybe_await", "run"]

#: What a hook returns: a value, or an awaitable of one when it is ``async``. Any, because a subclass may make it
#: either.
HookResult: TypeAlias = Any

_Result = TypeVar("_Result")


def is_ours(error: BaseException, task: asyncio.Task[Any] | None) -> bool:
    """Return whether ``error`` ends a task of the library, and was not raised by a hook.

    Args:
        error: the error that was caught.
        task: the task that waits for the hook.
    """
    if isinstance(error, asyncio.CancelledError):
        return task is not None and task.cancelling() > 0
    if isinstance(error, GeneratorExit):  # a coroutine is closed from outside of its task
        return _current_task() is not task
    return isinstance(error, KeyboardInterrupt)


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no loop runs any more
        return None


async def maybe_await(result: Awaitable[_Result] | _Result) -> _Result:
    """Return the result of a hook, and await it if the hook is ``async``."""
    return await result if inspect.isawaitable(result) else result


async def contained(awaitable: Awaitable[_Result]) -> _Result:
    """Return the result of an ``async`` hook, in a task of its own; raise only errors that end this task alone."""
    task = asyncio.current_task()
    try:
        return await awaitable
    except BaseException as error:
        if is_ours(error, task):
            raise
        raise ordinary(error)  # noqa: B904 # it has its own __cause__


async def finish(awaitable: Awaitable[Any], line: str, *args: object) -> bool:
    """Wait for an ``async`` callback; return whether it raised nothing.

    Args:
        awaitable: the result of the callback.
        line: the log message for an error, with its ``args``, as for a logger.
    """
    task = asyncio.current_task()
    try:
        await awaitable
    except BaseException as error:
        if is_ours(error, task):
            raise
        report(error, line, *args)
        return False
    return True


async def run(callback: Callable[[], Any], line: str, *args: object) -> bool:
    """Run a callback, plain or ``async``, as :func:`finish` does."""

    async def whole() -> None:
        await maybe_await(callback())

    return await finish(whole(), line, *args)
