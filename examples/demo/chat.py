"""The chat itself: an application with one service, a perspective for each user, and the rooms."""

from __future__ import annotations

from typing import Any

import perspective_broker as pb


@pb.copier_for("demo.Roster")
class Roster(pb.Live, tag="demo.Roster"):
    """The users in a room. One class for both ends: the server changes it, and replicas at the clients follow."""

    members: list[str]


class Room(pb.Viewable):
    """A room. Each user holds a view of it, and the view identifies the user."""

    def __init__(self) -> None:
        self.roster = Roster(members=[])
        self._inside: dict[str, Chatter] = {}
        self._table: dict[str, pb.RemoteReference] = {}

    def enter(self, who: Chatter) -> None:
        self._inside[who.name] = who
        self.roster.members = list(self._inside)  # the assignment is sent to every replica

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
    """One user of the chat, whose clients can call its ``perspective_*`` methods."""

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
        return room, room.roster  # the room arrives as this user's view of it, the roster as a replica


class Chat(pb.Service):
    def __init__(self) -> None:
        super().__init__("chat", perspective_class=Chatter)
        self.rooms = {"lobby": Room(), "vault": Room()}


async def make_application(authorizer: pb.Authorizer) -> pb.Application:
    """Return the chat, with two users."""
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
