"""What the tests of workers serve: it tells which process answers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import perspective_broker as pb


class Crew(pb.Root):
    """Fails to start while there is a file ``broken`` in the directory of the environment's ``CREW``."""

    def begin_serving(self) -> None:
        where = os.environ.get("CREW")
        if where and Path(where, "broken").exists():
            raise RuntimeError("the crew does not come aboard")

    def remote_process(self) -> int:
        return os.getpid()

    def remote_echo(self, value: Any) -> Any:
        return value

    async def remote_ask(self, client: pb.RemoteReference) -> Any:
        return await client.call("answer")


class Sailor(pb.Perspective):
    def perspective_process(self) -> int:
        return os.getpid()


async def make_ship() -> pb.Application:
    application = pb.Application("ship")
    service = application.add_service(pb.Service("deck", perspective_class=Sailor))
    await application.authorizer.create("alice", "secret")
    await application.authorizer.grant("alice", service.name)
    return application
