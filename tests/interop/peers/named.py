"""Objects by name, and functions that are called, with unmodified Twisted.

    python -m tests.interop.peers.named call 8787
    python -m tests.interop.peers.named serve

started in the checkout. The first is a client of our server on that port of 127.0.0.1; it prints one line per step, as
`client.py` does. The second serves a desk by the name ``desk`` and prints the port; it ends when its standard input is
closed.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from twisted.internet import defer, reactor, stdio, task
from twisted.spread import pb

from tests.interop.peers.client import outcome_of
from tests.interop.peers.server import UntilInputEnds

_reactor: Any = reactor


@defer.inlineCallbacks
def call(port: int) -> Any:
    factory: Any = pb.PBClientFactory()
    _reactor.connectTCP("127.0.0.1", port, factory, timeout=10)
    root = yield factory.getRootObject()  # only a name, whether there is such an object or not
    calculator, lobby, nobody = map(root.broker.remoteForName, ("calculator", "lobby", "nobody"))
    hear = yield lobby.callRemote("listener")
    for step, called in [
        ("add", lambda: calculator.callRemote("add", 1, two=2)),
        ("later", lambda: calculator.callRemote("later", 1)),
        ("misfit", lambda: calculator.callRemote("add")),
        ("not named", lambda: calculator.callRemote("secret")),
        ("hear", lambda: hear.callRemote("call", "x", loud=True)),
        ("hear misfit", lambda: hear.callRemote("call")),
        ("hear fails", lambda: hear.callRemote("call", 1)),
        ("hear otherwise", lambda: hear.callRemote("hear", "x")),
        ("no root", lambda: root.callRemote("add", 1)),
        ("nobody", lambda: nobody.callRemote("add", 1)),
    ]:
        outcome = yield called().addErrback(outcome_of)
        print(json.dumps([step, outcome]), flush=True)
    factory.disconnect()


class Desk(pb.Referenceable):
    def remote_add(self, one: int, two: int = 0) -> int:
        return one + two

    def remote_ask(self, function: Any, *args: Any) -> Any:
        return function.callRemote("call", *args)


class Factory(pb.PBServerFactory):
    def buildProtocol(self, addr: Any) -> Any:
        broker = super().buildProtocol(addr)
        broker.setNameForLocal("desk", Desk())
        return broker


def serve() -> None:
    port = _reactor.listenTCP(0, Factory(pb.Root()), interface="127.0.0.1")
    print(port.getHost().port, flush=True)
    stdio.StandardIO(UntilInputEnds())
    _reactor.run()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        task.react(lambda _: call(int(sys.argv[2])))
