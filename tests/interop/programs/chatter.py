"""Sends a greeting to a group of twisted.words with Twisted's own client, and prints each of its steps."""

# mypy: ignore-errors

import functools

import pb_client
from twisted.internet import reactor


def told(step):
    @functools.wraps(step)
    def run(*args):
        print(step.__name__, *args)
        return step(*args)

    return run


for name in ("loggedIn", "joinedGroup", "sentMessage", "leftGroup", "quitServer", "errorOccurred"):
    setattr(pb_client, name, told(getattr(pb_client, name)))
pb_client.run("localhost", 8800, "alice", "wonder", "zoo")
reactor.run()
