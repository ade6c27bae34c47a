"""`pb.run`: uvloop where it is installed, asyncio's own loop where it is not, asyncio.run's manners on both."""

from __future__ import annotations

import asyncio
import sys

import pytest

import perspective_broker as pb


async def _loop_module() -> str:
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


def test_runs_on_uvloop_when_it_is_installed() -> None:
    pytest.importorskip("uvloop")
    assert pb.run(_loop_module()) == "uvloop"


def test_runs_on_asyncio_when_uvloop_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)  # what an import of it then finds: nothing
    assert pb.run(_loop_module()) == "asyncio"


def test_what_the_coroutine_raises_is_raised() -> None:
    async def fail() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        pb.run(fail())


def test_debug_mode_is_the_callers_choice() -> None:
    async def in_debug_mode() -> bool:
        return asyncio.get_running_loop().get_debug()

    assert pb.run(in_debug_mode(), debug=True) is True
    assert pb.run(in_debug_mode(), debug=False) is False


def test_refuses_inside_a_running_loop() -> None:
    async def nested() -> None:
        pb.run(_loop_module())

    async def nested_awaitable() -> None:
        pb.run(pb.connect("memory:nobody"))  # type: ignore[arg-type]

    for inside in (nested, nested_awaitable):
        with pytest.raises(RuntimeError, match="await the coroutine"):
            pb.run(inside())


def test_what_is_not_a_coroutine_is_refused() -> None:
    for main in (pb.connect("memory:nobody"), _loop_module):
        with pytest.raises(TypeError, match=r"run takes a coroutine, such as main\(\)"):
            pb.run(main)  # type: ignore[arg-type]
