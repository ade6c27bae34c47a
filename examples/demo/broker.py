"""The broker's process: serves the chat over TLS and on a Unix socket, until the stage is gone."""

from __future__ import annotations

import sys
from pathlib import Path

from certificates import make_certificates
from chat import Chatter, Room

import perspective_broker as pb


class Door(pb.Root):
    """What everybody reaches who connects."""

    def __init__(self) -> None:
        self.rooms = {"lobby": Room(), "vault": Room(guests={"alice"})}

    def remote_come_in(self, name: str, mind: pb.RemoteReference) -> pb.AsReferenceable:
        return pb.AsReferenceable(Chatter(name, mind, self.rooms), "perspective")


async def main(stage_url: str, directory: Path) -> None:
    async with pb.connect(stage_url) as stage:
        _, certificate = make_certificates(directory)
        socket = directory / "chat.sock"
        async with pb.serve(
            Door(), "tls://localhost:0", f"unix://{socket}", tls=pb.ServerTLS(certificate)
        ) as server:
            tls, unix = server.urls[0], server.urls[-1]
            await stage.call("enter", "broker", None, [tls, unix])
            await stage.connection.wait_closed()


if __name__ == "__main__":
    pb.run(main(sys.argv[1], Path(sys.argv[2])))
