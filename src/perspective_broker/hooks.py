"""Hooks: asynchronous code of the application. What it raises ends its own call or callback, see :mod:`.flavors.guard`.

Here the library may itself be told to stop: the task that waits for a hook is cancelled. That goes on. A hook that
raises a ``CancelledError`` of its own, such as that of another task's result, has only failed.
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
    """Return whether ``error`` ends a task of the library, and is not what a hook has raised.

    Args:
        error: as it was caught.
        task: which waits for the hook.
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
    """Return what a hook returned, or what it will have returned when it is ``async``."""
    return await result if inspect.isawaitable(result) else result


async def contained(awaitable: Awaitable[_Result]) -> _Result:
    """Return what an ``async`` hook returns, for a task of its own; it raises nothing that ends more than that."""
    task = asyncio.current_task()
    try:
        return await awaitable
    except BaseException as error:
        if is_ours(error, task):
            raise
        raise ordinary(error)  # noqa: B904 # which says itself what caused it


async def finish(awaitable: Awaitable[Any], line: str, *args: object) -> bool:
    """Wait for an ``async`` callback; return whether it raised nothing.

    Args:
        awaitable: what the callback returned.
        line: what the log says when it raises, with its ``args``, as for a logger.
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
