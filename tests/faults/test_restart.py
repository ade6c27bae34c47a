"""Row 7: a server is killed and started again, over and over, under clients that reconnect."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path

import perspective_broker as pb
from tests.faults.processes import eventually, running

CLIENTS, KILLS = 20, 4


class Books:
    """The outcome of every call, as its caller sees it."""

    def __init__(self) -> None:
        self.answered: set[str] = set()
        self.unknown: set[str] = set()  # lost in mid-call
        self.not_sent: set[str] = set()

    def all_answered_since(self, before: set[str]) -> bool:
        """Whether every client has had another answer."""
        return len({entry.split("-")[0] for entry in self.answered - before}) == CLIENTS

    async def call_until(
        self, over: asyncio.Event, root: pb.annotations.ReconnectingReference, who: int
    ) -> None:
        """Call, one call after the other, each with an entry of its own."""
        number = 0
        while not over.is_set():
            entry = f"{who}-{number}"
            number += 1
            try:
                assert await root.call("enter", entry) == entry
                self.answered.add(entry)
            except pb.ConnectionLost as error:
                (self.not_sent if error.code == "not-sent" else self.unknown).add(entry)


async def test_every_call_is_made_at_most_once_and_every_client_comes_back() -> None:
    backoff = pb.Backoff(base=0.05, cap=0.2)
    with tempfile.TemporaryDirectory(prefix="pb-") as directory:
        ledger, url = Path(directory, "ledger"), f"unix://{directory}/socket"
        books, over, came_back = Books(), asyncio.Event(), 0

        def back(current: pb.RemoteReference) -> None:
            nonlocal came_back
            came_back += 1

        async with asyncio.TaskGroup() as callers:
            for life in range(KILLS + 1):
                async with running("serve", url, "--ledger", str(ledger)) as server:
                    await server.hear()
                    if not life:
                        roots = [await pb.connect(url, reconnect=backoff) for _ in range(CLIENTS)]
                        for who, root in enumerate(roots):
                            root.on_reconnect(back)
                            callers.create_task(books.call_until(over, root, who))
                    before = set(books.answered)
                    # Until everyone has had an answer in this life of the server.
                    await eventually(partial(books.all_answered_since, before))
                    if life < KILLS:
                        await server.kill()
                    else:
                        over.set()
                        await eventually(lambda: len(callers._tasks) == 0)
        for root in roots:
            await root.close()
        entered = Counter(ledger.read_text().split())
        assert max(entered.values()) == 1  # nothing was repeated
        assert books.answered <= set(entered)
        assert not books.not_sent & set(entered)
        assert set(entered) <= books.answered | books.unknown
        assert books.unknown
        assert came_back >= CLIENTS * KILLS
