"""Serve an object that returns its argument: python examples/echo_server.py [URL...]"""

import sys
from typing import Any

import perspective_broker as pb


class Echo(pb.Root):
    """The root object of every client, which can call its remote_ methods and no others."""

    def remote_echo(self, value: Any) -> Any:
        return value

    async def remote_shout_back(self, listener: pb.RemoteReference, text: str) -> Any:
        # The client passed an object of its own: here it is a reference, and a call on it calls the client.
        return await listener.call("hear", text.upper())


async def main(*urls: str) -> None:
    async with pb.serve(Echo(), *urls) as server:
        print(*server.urls, sep="\n", flush=True)
        await server.serve_until_stopped()  # by Ctrl-C or SIGTERM


if __name__ == "__main__":
    pb.run(main(*(sys.argv[1:] or ["tcp://127.0.0.1:8787"])))
