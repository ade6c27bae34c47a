"""The chat itself: an application with one service, whose perspectives are the people, and its rooms."""

from __future__ import annotations

from typing import Any

import perspective_broker as pb


@pb.copier_for("demo.Roster")
class Roster(pb.Live, tag="demo.Roster"):
    """Who is in a room. One class for both ends: here it is changed, there a replica follows."""

    members: list[str]


class Room(pb.Viewable):
    """A room. Everybody holds a view of it, and each view says who is looking."""

    def __init__(self) -> None:
        self.roster = Roster(members=[])
        self._inside: dict[str, Chatter] = {}
        self._table: dict[str, pb.RemoteReference] = {}

    def enter(self, who: Chatter) -> None:
        self._inside[who.name] = who
        self.roster.members = list(self._inside)  # assigning is all it takes: every replica follows

    def leave(self, who: Chatter) -> None:
        if self._inside.pop(who.name, None) is not None:
            self._table.pop(who.name, None)
            self.roster.members = list(self._inside)

    async def view_say(self, who: Chatter, text: str) -> None:
        for chatter in self._inside.values():
            if chatter is not who:
                await chatter.mind.call("hear", who.name, text)

    def view_put_on_the_table(self, who: Chatter, thing: pb.RemoteReference) -> None:
        self._table[who.name] = thing

    async def view_roll(self, who: Chatter, owner: str) -> int:
        fallen: int = await self._table[owner].call("roll", who.name)
        return fallen


class Chatter(pb.Perspective):
    """One person, as the chat sees him. The ``perspective_*`` methods are what he can call."""

    def attached(self, client: Any, identity: pb.Identity) -> None:
        self.mind = client
        self.identity = identity

    def detached(self, client: Any, identity: pb.Identity) -> None:
        for room in self.service.rooms.values():
            room.leave(self)

    def perspective_join(self, name: str) -> tuple[Room, Roster]:
        if not self.identity.has_key(name, self.name):
            raise pb.Error(f"{self.name} has no key for the {name}")
        room = self.service.rooms[name]
        room.enter(self)
        return room, room.roster  # the room crosses as this person's view of it, the roster as a replica


class Chat(pb.Service):
    def __init__(self) -> None:
        super().__init__("chat", perspective_class=Chatter)
        self.rooms = {"lobby": Room(), "vault": Room()}


async def make_application(authorizer: pb.Authorizer) -> pb.Application:
    """Return the chat, with two people who may use it."""
    application = pb.Application("demo", authorizer=authorizer)
    application.add_service(Chat())
    for name, password, rooms in [
        ("alice", "white rabbit", ["lobby", "vault"]),
        ("bob", "needle and thread", ["lobby"]),
    ]:
        await authorizer.create(name, password)
        for key in ("chat", *rooms):
            await authorizer.grant(name, key)
    return application
