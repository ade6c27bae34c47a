"""Serves the chat of twisted.words, whose users and groups are made when they are asked for."""

# mypy: ignore-errors

from twisted.cred import checkers, portal
from twisted.internet import reactor
from twisted.spread import pb
from twisted.words import service

realm = service.InMemoryWordsRealm("here")
realm.createUserOnRequest = realm.createGroupOnRequest = True
users = checkers.InMemoryUsernamePasswordDatabaseDontUse(alice="wonder")
reactor.listenTCP(8800, pb.PBServerFactory(portal.Portal(realm, [users])))
reactor.run()
