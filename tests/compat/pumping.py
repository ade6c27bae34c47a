"""Two brokers of the face without a reactor: a test carries the bytes of each to the other."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from perspective_broker.compat import pb


class Pump:
    """A client and a server, connected.

    Args:
        server: makes the server's broker.
        client: makes the client's.
    """

    def __init__(self, server: Any, client: Any = None) -> None:
        self.factory = client if client is not None else pb.PBClientFactory()
        self.server: Any = server.buildProtocol(None)
        self.client: Any = self.factory.buildProtocol(None)
        self._ends = {self.client: StringTransport(), self.server: StringTransport()}
        for broker, transport in self._ends.items():
            broker.makeConnection(transport)
        self.run()

    def run(self) -> None:
        """Carry everything, both ways, until nothing moves any more."""
        moved = True
        while moved:
            moved = False
            for broker, other in ((self.client, self.server), (self.server, self.client)):
                transport = self._ends[broker]
                data = transport.value()
                transport.clear()
                if data:
                    moved = True
                    other.dataReceived(data)
                if transport.disconnecting and not other.disconnected:
                    self.cut()

    def cut(self) -> None:
        """End the connection, on both sides."""
        for broker in self._ends:
            if not broker.lost:
                broker.connectionLost(Failure(ConnectionDone()))

    def result(self, deferred: Any) -> Any:
        """Carry all bytes, and return the result of ``deferred``, or raise its failure's exception."""
        outcome: list[Any] = []
        deferred.addBoth(outcome.append)
        self.run()
        assert outcome, "the call has not ended"
        if isinstance(outcome[0], Failure):
            outcome[0].raiseException()
        return outcome[0]

    def failure(self, deferred: Any) -> Any:
        """Carry everything, and return the failure that ``deferred`` has fired with."""
        outcome: list[Any] = []
        deferred.addErrback(outcome.append)
        self.run()
        assert outcome, "the call has not failed"
        return outcome[0]

    def call(self, name: str, /, *args: Any, **kw: Any) -> Any:
        """Call a method of the server's root, and return the answer."""
        return self.result(self.client.remoteForName("root").callRemote(name, *args, **kw))
