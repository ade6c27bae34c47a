"""A Twisted client of an object with an interface: ``typed_client.py PORT``. It prints what its calls end with."""

# mypy: ignore-errors

import sys

from twisted.internet import defer, reactor
from twisted.spread import pb


class Guest(pb.Referenceable):
    def __init__(self):
        self.seen = []

    def remote_arrived(self, who):
        self.seen.append(who)


def told(failure):
    kind = failure.type.decode() if isinstance(failure.type, bytes) else failure.type
    return f"{kind}: {failure.getErrorMessage()}"


@defer.inlineCallbacks
def talk(port):
    factory = pb.PBClientFactory()
    reactor.connectTCP("127.0.0.1", port, factory)
    root = yield factory.getRootObject()
    guest = Guest()
    room = yield root.callRemote("join", "kitchen", guest)
    yield root.callRemote("join", b"cellar", loud=True)
    print((yield room.callRemote("say", "hello")))
    print((yield room.callRemote("history", last=1)))
    print((yield root.callRemote("note", {"text": "a", "tags": ["b"]})))
    print(guest.seen)
    for name, args in (("join", [5]), ("join", []), ("get", [1.5]), ("guests", [])):
        print((yield root.callRemote(name, *args).addErrback(told)))
    factory.disconnect()


@defer.inlineCallbacks
def main():
    try:
        yield talk(int(sys.argv[1]))
    finally:
        reactor.stop()


reactor.callWhenRunning(lambda: main().addErrback(lambda failure: failure.printTraceback()))
reactor.run()
