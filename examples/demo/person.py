"""The process of one user, which obeys the director, and reports to the stage."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import chat

import perspective_broker as pb


class Mind(pb.Referenceable):
    """The object that a user passes at login, so that the chat can call the user."""

    def __init__(self, tell: Any) -> None:
        self._tell = tell

    async def remote_hear(self, who: str, text: str) -> None:
        await self._tell(f"hears  <{who}> {text}")


class Dice(pb.Referenceable):
    """An object of the user, which never leaves this process."""

    def __init__(self, tell: Any) -> None:
        self._tell = tell
        self._falls = iter((6, 4, 2))

    async def remote_roll(self, who: str) -> int:
        fallen = next(self._falls)
        await self._tell(f"my dice were rolled by {who}: {fallen}")
        return fallen


class Person(pb.Referenceable):
    """The object that the director calls."""

    def __init__(self, name: str, stage: pb.RemoteReference, directory: Path) -> None:
        self.name = name
        self._stage = stage
        self._ca = directory / "ca.pem"

    async def tell(self, text: str) -> None:
        await self._stage.call("tell", self.name, text)

    async def remote_connect_without_authority(self, url: str) -> None:
        try:
            await pb.connect(url)
        except pb.TLSError as error:
            await self.tell(f"did not connect: {error.reason}")

    async def remote_log_in(self, url: str, dialect: str, password: str) -> None:
        try:
            self.me = await pb.connect(
                url,
                username=self.name,
                password=password,
                service="chat",
                client=Mind(self.tell),
                tls=pb.ClientTLS(self._ca) if url.startswith("tls:") else None,
                dialects=[dialect],
            )
        except pb.LoginFailed as error:
            await self.tell(f"logs in as {self.name} with {password!r}: {error}")
            return
        connection = self.me.connection
        if connection.peer_certificate is not None:
            names = ", ".join(connection.peer_certificate.dns_names)
            how = f"over {connection.tls_version}, at a server that proved to be {names}"
            if connection.channel_binding() is not None:
                how += ", bound to the channel"
        else:
            how = "over a Unix socket"
        await self.tell(f"logged in {how}; we speak {connection.dialect}")

    async def remote_join(self, room: str) -> None:
        try:
            self.room, self.roster = await self.me.call("join", room)
        except pb.RemoteError as error:
            await self.tell(f"refused: {error.value}")
            return
        self.changes = self.roster.changes()
        await self.tell(f"holds the {room}: a reference to a view of its own")
        await self.tell(f"roster, all of it: {', '.join(self.roster.members)}")

    async def remote_watch(self) -> None:
        change = await anext(self.changes)
        await self.tell(f"roster, a change: {', '.join(change.fields['members'])}")

    async def remote_say(self, text: str) -> None:
        await self.tell(f"says   {text}")
        await self.room.call("say", text)

    async def remote_offer_dice(self) -> None:
        await self.room.call("put_on_the_table", Dice(self.tell))
        await self.tell("put my dice on the table: the object stays here, a reference goes")

    async def remote_roll(self, owner: str) -> None:
        fallen = await self.room.call("roll", owner)
        await self.tell(f"rolled the dice of {owner} and saw {fallen}")

    async def remote_try_method(self, name: str) -> None:
        try:
            await self.room.call(name)
        except pb.NoSuchMethod as error:
            await self.tell(f"called {name}: {error}")

    async def remote_hang_up(self) -> dict[str, Any]:
        connection = self.me.connection
        statistics = connection.statistics()
        await self.tell("hangs up")
        await connection.close()
        return {
            "dialect": statistics.dialect,
            "sent": statistics.bytes_sent,
            "received": statistics.bytes_received,
            "messages": statistics.messages_received,
        }


async def main(stage_url: str, directory: Path, name: str) -> None:
    assert chat.Roster  # importing the module registers the classes that may arrive
    async with pb.connect(stage_url) as stage:
        await stage.call("enter", name, Person(name, stage, directory), [])
        await stage.connection.wait_closed()


if __name__ == "__main__":
    pb.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
