"""Serves what the finger of Twisted's tutorial knows of one user."""

# mypy: ignore-errors

from finger import finger
from twisted.internet import defer, reactor
from twisted.spread import pb
from zope.interface import implementer


@implementer(finger.IFingerService)
class Users:
    def getUser(self, user):
        return defer.succeed(b"happy and well" if user == "moshez" else b"No such user")


reactor.listenTCP(8889, pb.PBServerFactory(finger.IPerspectiveFinger(Users())))
reactor.run()
