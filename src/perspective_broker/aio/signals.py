"""Signals of the system to a program that serves."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Mapping

from ..errors import UsageError

__all__ = ["on_signals"]


@contextlib.contextmanager
def on_signals(handlers: Mapping[str, Callable[[], object]]) -> Iterator[None]:
    """Call what belongs to a signal within the block, where the platform lets an event loop have it.

    Args:
        handlers: name of a signal, such as ``"SIGTERM"`` -> a function that is called in the running event loop.
            Functions that were called before are not called again afterwards.

    Raises:
        UsageError: in another thread than the main one; only that one gets signals.
    """
    if threading.current_thread() is not threading.main_thread():
        raise UsageError("signals are heard in the main thread only; in another one use serve_forever()")
    loop = asyncio.get_running_loop()
    numbers = [number for name in handlers if (number := getattr(signal, name, None)) is not None]
    try:
        for number in numbers:
            loop.add_signal_handler(number, handlers[number.name])
    except NotImplementedError:  # Windows: Ctrl-C cancels the program's main task instead
        yield
        return
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
