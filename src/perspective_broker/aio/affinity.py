"""Loop affinity: what belongs to a connection is used in its event loop, and so in its thread and its process."""

from __future__ import annotations

import asyncio

from ..errors import UsageError

__all__ = ["check_asyncio", "check_loop", "wrong_loop"]


def check_asyncio() -> None:
    """Raise UsageError if no event loop of asyncio runs here: another library (trio) runs the coroutine."""
    if asyncio._get_running_loop() is None:
        raise UsageError(
            "this library runs on asyncio: start the program with pb.run(main()) or asyncio.run(main()); code without "
            "an event loop of asyncio may use perspective_broker.blocking"
        )


def check_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Raise UsageError if another loop runs here, or if ``loop`` runs elsewhere.

    A loop that does not run may be used from anywhere: before it runs, between two runs, when a program ends.

    Raises:
        UsageError: another loop runs here, or ``loop`` runs in another thread, or (in a forked child) in the parent.
    """
    running = asyncio._get_running_loop()
    if running is not loop and (running is not None or loop.is_running()):
        raise wrong_loop(loop)


def wrong_loop(loop: asyncio.AbstractEventLoop) -> UsageError:
    """Return the error for something that is used elsewhere than in its ``loop``."""
    if loop.is_closed():
        return UsageError(
            "its event loop is closed, and its connection with it; connect again in the one that runs"
        )
    return UsageError(
        "what belongs to a connection is used in its event loop, and so in its thread and process; from another thread "
        "let asyncio.run_coroutine_threadsafe run a coroutine of yours there that makes the call; in a forked child "
        "connect again"
    )
