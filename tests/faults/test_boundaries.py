"""Row 25: a forked child, another thread and another event loop get UsageError at once."""

from __future__ import annotations

import asyncio
import os
import threading
import warnings
from typing import Any

import perspective_broker as pb
from tests.loops import both_loops


def refused(*uses: Any) -> bool:
    for use in uses:
        try:
            use()
        except pb.UsageError:
            continue
        return False
    return True


@both_loops
async def test_a_forked_child_cannot_use_its_parents_references() -> None:
    async with (
        pb.serve(pb.Root(), "tcp://127.0.0.1:0") as server,
        pb.connect(server.urls[0]) as root,
        pb.connect(server.urls[0], reconnect=True) as lasting,
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that a process with threads forks
            pid = os.fork()
        if pid == 0:
            status = 1
            try:
                uses = [
                    lambda: root.call("x"),
                    lambda: root.tell("x"),
                    lambda: root.on_disconnect(print),
                    lambda: root.release(),
                    lambda: lasting.call("x"),
                    lambda: lasting.tell("x"),
                ]
                status = 0 if refused(*uses) else 2
            finally:
                os._exit(status)
        _, status = await asyncio.to_thread(os.waitpid, pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        # The child does not affect the parent.
        assert await root.connection.ping() > 0
        assert await lasting.connection.ping() > 0


async def test_other_threads_and_loops_cannot_use_them() -> None:
    async with pb.serve(pb.Root(), "memory:here"), pb.connect("memory:here") as root:
        before = root.connection.statistics()
        found: list[bool] = []

        async def in_another_loop() -> bool:
            return refused(lambda: root.call("x"), lambda: root.tell("x"))

        def in_another_thread() -> None:
            found.append(refused(lambda: root.call("x"), lambda: root.tell("x")))
            found.append(asyncio.run(in_another_loop()))

        thread = threading.Thread(target=in_another_thread)
        thread.start()
        thread.join()
        assert found == [True, True]
        assert root.connection.statistics() == before
