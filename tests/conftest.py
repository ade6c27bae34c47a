"""How the project's tests run: ``async def`` tests on a fresh event loop each, and nothing may be left behind.

``PB_TEST_LOOP=uvloop`` runs all of them on uvloop; a test or module marked with ``both_loops`` (from
tests.loops) runs on either; a module with ``LOOP = "virtual"`` runs on a clock of its own. A test has 180 seconds
(``@pytest.mark.seconds(n)`` for more): this only ends what hangs, and judges nothing.
"""

from __future__ import annotations

import asyncio
import faulthandler
import functools
import inspect
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import hypothesis
import pytest

from perspective_broker.testing import assert_all_closed
from tests.heap import freeze
from tests.loops import LOOPS

AsyncTest = Callable[..., Coroutine[Any, Any, None]]

#: Seconds for one asynchronous test, and a little later for one that blocks its loop.
SECONDS = 180

hypothesis.settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=2000)
hypothesis.settings.load_profile(os.environ.get("PB_TEST_HYPOTHESIS", "ci"))


def pytest_collection_finish() -> None:
    """Objects from before the first test are never a test's leak: leak checks skip them (1.7 s instead of 5.6)."""
    freeze()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "seconds(n): the time after which an asynchronous test is taken to hang, instead of 180 s"
    )
    # A job that a script runs in the background ignores Ctrl-C, and the programs that tests start inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def loop_name(request: pytest.FixtureRequest) -> str:
    """The event loop under an ``async def`` test, of those in :data:`tests.loops.LOOPS`."""
    of_module = getattr(request.module, "LOOP", None) or os.environ.get("PB_TEST_LOOP", "asyncio")
    return str(getattr(request, "param", of_module))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Make plain functions of ``async def`` tests; pytest then calls them as any other."""
    mark = pyfuncitem.get_closest_marker("seconds")
    seconds = mark.args[0] if mark is not None else SECONDS
    loop_name = str(pyfuncitem.funcargs["loop_name"])
    test = pyfuncitem.obj
    if inspect.iscoroutinefunction(test):
        pyfuncitem.obj = _on_a_loop(test, loop_name, seconds)
    elif (given := getattr(test, "hypothesis", None)) and inspect.iscoroutinefunction(given.inner_test):
        given.inner_test = _on_a_loop(given.inner_test, loop_name, seconds)
    return None


def _on_a_loop(test: AsyncTest, loop_name: str, seconds: float) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def timed() -> None:
            async with asyncio.timeout(seconds):
                await test(*args, **kwargs)
            await assert_all_closed()

        faulthandler.dump_traceback_later(seconds + 10, exit=True)  # a blocked loop cannot time itself out
        try:
            with asyncio.Runner(loop_factory=LOOPS[loop_name]) as runner:
                runner.run(timed())
        finally:
            faulthandler.cancel_dump_traceback_later()

    return run
