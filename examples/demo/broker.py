"""The broker's process: serves the chat over TLS and on a Unix socket, until the stage is gone."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from certificates import make_certificates
from chat import make_application

import perspective_broker as pb


async def main(stage_url: str, directory: Path) -> None:
    # Whoever runs a server reads who logs in and who is refused. Here the screen belongs to the play.
    logging.basicConfig(filename=directory / "broker.log", level=logging.INFO)
    async with (
        pb.connect(stage_url) as stage,
        pb.SQLAuthorizer(f"sqlite:///{directory}/identities.db") as authorizer,
    ):
        _, certificate = make_certificates(directory)
        async with pb.serve(
            await make_application(authorizer),
            "tls://localhost:0",
            f"unix://{directory}/chat.sock",
            tls=pb.ServerTLS(certificate),
        ) as server:
            tls, unix = server.urls[0], server.urls[-1]
            await stage.call("enter", "broker", None, [tls, unix])
            await stage.connection.wait_closed()


if __name__ == "__main__":
    pb.run(main(sys.argv[1], Path(sys.argv[2])))
