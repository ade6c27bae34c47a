"""The chat itself: what its server and its clients must both know, and the rooms."""

from __future__ import annotations

import perspective_broker as pb


@pb.copier_for("demo.Roster")
class Roster(pb.Live, tag="demo.Roster"):
    """Who is in a room. One class for both ends: here it is changed, there a replica follows."""

    members: list[str]


class Chatter:
    """One person, as the chat sees him: the perspective. His ``perspective_*`` methods are what he can call."""

    def __init__(self, name: str, mind: pb.RemoteReference, rooms: dict[str, Room]) -> None:
        self.name = name
        self.mind = mind
        self.rooms = rooms

    async def perspective_join(self, name: str) -> tuple[pb.ViewPoint, Roster]:
        room = self.rooms[name]
        if room.guests is not None and self.name not in room.guests:
            raise pb.Error(f"{self.name} has no key for the room {name!r}")
        room.enter(self)
        return pb.ViewPoint(self, room), room.roster


class Room(pb.Viewable):
    """A room. Everybody holds a view of it, and each view says who is looking.

    Args:
        guests: who has a key; None leaves it open.
    """

    def __init__(self, guests: set[str] | None = None) -> None:
        self.guests = guests
        self.roster = Roster(members=[])
        self._inside: dict[str, Chatter] = {}
        self._games: dict[str, pb.RemoteReference] = {}

    def enter(self, who: Chatter) -> None:
        self._inside[who.name] = who
        self.roster.members = list(self._inside)  # assigning is all it takes: every replica follows

    async def view_say(self, who: Chatter, text: str) -> int:
        others = [chatter for chatter in self._inside.values() if chatter is not who]
        for chatter in others:
            await chatter.mind.call("hear", who.name, text)
        return len(others)

    def view_put_on_the_table(self, who: Chatter, thing: pb.RemoteReference) -> None:
        self._games[who.name] = thing

    async def view_roll(self, who: Chatter, owner: str) -> int:
        answer: int = await self._games[owner].call("roll", who.name)
        return answer

    def view_leave(self, who: Chatter) -> None:
        del self._inside[who.name]
        self._games.pop(who.name, None)
        self.roster.members = list(self._inside)
