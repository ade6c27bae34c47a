"""Two classes of users of one service: ``attached`` returns the perspective that a client gets.

Both sides are in this one program: python examples/moderators.py
"""

from typing import Any

import perspective_broker as pb

MODERATORS = {"alice"}


class Member(pb.Perspective):
    """A user of the chat, with the methods for all users."""

    def attached(self, client: Any, identity: pb.Identity) -> pb.Perspective:
        print(identity.name, "comes")
        return Moderator(self.name) if identity.name in MODERATORS else self

    def detached(self, client: Any, identity: pb.Identity) -> None:
        print(identity.name, "goes")

    def perspective_say(self, text: str) -> str:
        return f"{self.name} says {text} in {self.service.name}"


class Moderator(Member):
    """A moderator, with more methods. Two clients of one moderator share one object."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.banned: list[str] = []

    def perspective_ban(self, name: str) -> list[str]:
        self.banned.append(name)
        return self.banned


async def make_application() -> pb.Application:
    users = pb.MemoryAuthorizer()
    for name in ("alice", "bob"):
        await users.create(name, "white rabbit")
        await users.grant(name, "chat")
    application = pb.Application("demo", authorizer=users)
    application.add_service(pb.Service("chat", perspective_class=Member))
    return application


async def main() -> None:
    async with pb.serve(await make_application(), "tcp://127.0.0.1:0") as server:

        def log_in(name: str) -> Any:
            return pb.connect(server.urls[0], username=name, password="white rabbit", service="chat")

        async with log_in("alice") as desktop, log_in("alice") as phone:
            await desktop.call("ban", "eve")
            print(await phone.call("ban", "mallory"))
            print(await phone.call("say", "hello"))
        async with log_in("bob") as bob:
            try:
                await bob.call("ban", "alice")
            except pb.NoSuchMethod as error:
                print(error)


if __name__ == "__main__":
    pb.run(main())
