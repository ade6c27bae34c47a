"""`connect` in its three forms: awaited, entered, and never used."""

from __future__ import annotations

import asyncio
import gc
import inspect
from typing import get_overloads

import perspective_broker as pb


class Echo(pb.Root):
    def remote_echo(self, value: int) -> int:
        return value


def test_awaited_it_stays_open_until_it_is_closed() -> None:
    async def main() -> int:
        async with pb.serve(Echo(), "memory:connect-awaited") as server:
            root = await pb.connect(server.urls[0])
            try:
                answer: int = await root.call("echo", 7)
                return answer
            finally:
                await root.connection.close()

    assert asyncio.run(main()) == 7


def test_entered_it_is_closed_at_the_end_of_the_block() -> None:
    async def main() -> pb.annotations.CloseCause | None:
        async with pb.serve(Echo(), "memory:connect-entered") as server:
            async with pb.connect(server.urls[0]) as root:
                assert await root.call("echo", 7) == 7
            return root.connection.close_cause

    cause = asyncio.run(main())
    assert cause is not None
    assert cause.code == "closed"


def test_never_used_it_begins_nothing() -> None:
    async def main() -> None:
        pb.connect("memory:connect-unused")
        gc.collect()  # a coroutine never awaited is a warning, and warnings are errors here

    asyncio.run(main())


def test_never_used_and_collected_with_others_it_begins_nothing() -> None:
    async def main() -> None:
        cycle: list[object] = [pb.connect("memory:connect-unused")]
        cycle.append(cycle)
        del cycle
        gc.collect()

    asyncio.run(main())


def test_every_form_takes_the_same_options() -> None:
    forms = [inspect.signature(form).parameters for form in get_overloads(pb.connect)]
    options = set(inspect.signature(pb.connect).parameters)
    assert len(forms) == 3
    assert [options - set(form) for form in forms if "interface" in form] == [set()]
    assert [options - set(form) for form in forms if "interface" not in form] == [{"interface"}] * 2
