"""Serves the quotes of Twisted's listings."""

# mypy: ignore-errors

from twisted.internet import reactor
from twisted.spread import pb
from TwistedQuotes import pbquote, quoters

quoter = quoters.StaticQuoter("An object a day keeps the copies away.")
reactor.listenTCP(pb.portno, pb.PBServerFactory(pbquote.QuoteReader(quoter)))
reactor.run()
