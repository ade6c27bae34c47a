"""Asks the server of Twisted's listings for one value of every kind, and prints what comes."""

# mypy: ignore-errors

from twisted.internet import defer, reactor
from twisted.spread import flavors, pb


class Greeter(pb.Referenceable):
    def remote_hello(self):
        return "hello, world"


class Copy(pb.RemoteCopy):
    pass


pb.setUnjellyableForClass(flavors.Copyable, Copy)


@defer.inlineCallbacks
def ask(root):
    for name in ("int", "string", "unicode", "float", "list", "recursive", "dict", "reference"):
        value = yield root.callRemote(name)
        print(name, value)
    for name, argument in (
        ("local", Greeter()),
        ("receive", [1, 1.5, "hi", "hi", {1: 2}]),
        ("self", root),
        ("copy", 3),
        ("receive", "something else"),
        ("nothing", None),
    ):
        try:
            value = yield root.callRemote(name, argument)
            print(name, vars(value) if isinstance(value, Copy) else value)
        except pb.RemoteError as error:
            print(name, error.remoteType, error)
    reactor.stop()


factory = pb.PBClientFactory()
reactor.connectTCP("localhost", 8789, factory)
factory.getRootObject().addCallback(ask)
reactor.run()
