"""A Twisted program that calls the object of echo_server.py: python examples/twisted_client.py HOST PORT

It does not know this library: the two programs speak the classic dialect.
"""

import sys
from typing import Any

from twisted.internet import defer, endpoints, task
from twisted.spread import pb


@defer.inlineCallbacks
def main(reactor: Any, host: str, port: str) -> Any:
    factory = pb.PBClientFactory()
    endpoint = endpoints.TCP4ClientEndpoint(reactor, host, int(port))
    yield endpoint.connect(factory)
    echo = yield factory.getRootObject()
    print((yield echo.callRemote("echo", ["from", "Twisted"])))
    factory.disconnect()


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
