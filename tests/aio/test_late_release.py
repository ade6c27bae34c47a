"""A reference may outlive its connection and even the event loop: dropping it then has no effect."""

from __future__ import annotations

import asyncio
import gc

import perspective_broker as pb


class Thing(pb.Referenceable):
    pass


class Keeper(pb.Root):
    def __init__(self) -> None:
        self.thing = Thing()

    def remote_thing(self) -> Thing:
        return self.thing


def test_a_reference_is_dropped_after_its_loop_was_closed() -> None:
    async def fetch() -> pb.RemoteReference:
        async with pb.serve(Keeper(), "memory:late-release") as server, pb.connect(server.urls[0]) as root:
            thing: pb.RemoteReference = await root.call("thing")
            return thing

    thing = asyncio.run(fetch())
    del thing
    gc.collect()  # an exception in the finaliser is a warning, and warnings are errors here


def test_a_reference_is_dropped_after_its_loop_was_closed_under_its_connection() -> None:
    async def fetch() -> pb.RemoteReference:
        server = await pb.serve(Keeper(), "memory:late-release-leaked")
        root = await pb.connect(server.urls[0])
        thing: pb.RemoteReference = await root.call("thing")
        return thing

    thing = asyncio.run(fetch())
    del thing
    gc.collect()
