"""Call the object of echo_server.py: python examples/echo_client.py [URL]"""

import sys

import perspective_broker as pb


class Listener(pb.Referenceable):
    """An object of the client that the server calls."""

    def remote_hear(self, text: str) -> str:
        print(f"heard {text!r}")
        return "thank you"


async def main(url: str) -> None:
    async with pb.connect(url) as echo:
        print(await echo.call("echo", {"numbers": [1, 2.5], "pair": ("a", b"raw")}))

        # Calls are sent when they are made; await the answers later.
        promises = [echo.call("echo", n) for n in range(3)]
        print([await promise for promise in promises])

        print(await echo.call("shout_back", Listener(), "hello"))


if __name__ == "__main__":
    pb.run(main(sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:8787"))
