"""A demo of all features: four processes that hold references to each other's objects. Run it with ``make demo``.

This process is the stage: it starts a broker and two users, directs them, and shows their reports, all through
references. Read first: demo/chat.py, the server; demo/person.py, a client.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

import perspective_broker as pb

try:
    from rich.console import Console
except ImportError:  # then without colours
    Console = None  # type: ignore[assignment,misc]

PARTS = Path(__file__).resolve().parent / "demo"
#: Seconds after which the demo gives up; it takes about two.
PATIENCE = 25

COLOURS = {"broker": "yellow", "alice": "magenta", "bob": "cyan"}


class Screen:
    """Prints, in colours if rich is installed."""

    def __init__(self) -> None:
        self._console = Console(highlight=False) if Console is not None else None
        self._scene = 0

    def line(self, text: str = "", style: str = "") -> None:
        if self._console is not None:
            self._console.print(text, style=style, markup=False, soft_wrap=True)
        else:
            print(text)

    def scene(self, title: str, *lines: str) -> None:
        """Begin a scene: print its title and its explanation."""
        self._scene += 1
        self.line()
        self.line(f"{self._scene}. {title}", "bold")
        for text in lines:
            self.line(f"   {text}", "dim")

    def tell(self, who: str, text: str) -> None:
        self.line(f"   {who:>8} | {text}", COLOURS.get(who, ""))


class Stage(pb.Root):
    """The root for the other processes: they enter, and report events."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._entered: dict[str, asyncio.Future[tuple[Any, list[str]]]] = {}

    def _slot(self, name: str) -> asyncio.Future[tuple[Any, list[str]]]:
        return self._entered.setdefault(name, asyncio.get_running_loop().create_future())

    def remote_enter(self, name: str, actor: pb.RemoteReference | None, urls: list[str]) -> None:
        self._slot(name).set_result((actor, urls))

    def remote_tell(self, who: str, text: str) -> None:
        self._screen.tell(who, text)

    async def entered(self, name: str) -> tuple[Any, list[str]]:
        """Return the object and the urls of a process, once it has entered."""
        return await self._slot(name)


async def play(stage: Stage, screen: Screen) -> None:
    """Direct the parts, one step after the other."""
    _, urls = await stage.entered("broker")
    alice, _ = await stage.entered("alice")
    bob, _ = await stage.entered("bob")

    screen.scene(
        "A broker opens",
        "Its certificate was signed a moment ago, by an authority that exists for this demo only. SQLite stores the",
        "users: names, keys, and verifiers that recognise a password without containing it.",
    )
    for url in urls:
        screen.tell("broker", f"serving the chat on {url}")

    screen.scene(
        "Two people log in",
        "bob lacks the authority's file, so the client refuses the certificate, and then uses the Unix socket.",
        "The password is never sent (SCRAM), over TLS the login is bound to the channel, a refusal has no reason.",
        "alice speaks this library's dialect, bob the one of Twisted since 2002: the broker knows both.",
    )
    await bob.call("connect_without_authority", urls[0])
    await bob.call("log_in", urls[1], "pb", "open sesame")
    await bob.call("log_in", urls[1], "pb", "needle and thread")
    await alice.call("log_in", urls[0], "pb7", "white rabbit")

    screen.scene(
        "One room, two views of it",
        "The room stays in the broker. The roster is sent once; after that only its changes are sent.",
    )
    await alice.call("join", "lobby")
    await bob.call("join", "lobby")
    await alice.call("watch")

    screen.scene(
        "They talk",
        "A client that talks calls the room; the broker then calls the objects that the clients passed at login.",
        "The room knows the speaker from the view that was called, never from the speaker's message.",
    )
    await alice.call("say", "hello, bob")
    await bob.call("say", "hello. I am alice, by the way!")

    screen.scene(
        "Objects of their own", "alice calls the broker, the broker calls bob's process: no object moves."
    )
    await bob.call("offer_dice")
    await alice.call("roll", "bob")

    screen.scene("Only offered objects and methods can be used")
    await bob.call("join", "vault")
    await bob.call("try_method", "burn_down")
    await bob.call("try_method", "__class__")

    screen.scene(
        "They leave", "alice hangs up. The chat is notified once, the roster changes, and bob sees it."
    )
    accounts = {"alice": await alice.call("hang_up")}
    await bob.call("watch")
    accounts["bob"] = await bob.call("hang_up")
    screen.line()
    for name, account in accounts.items():
        screen.tell(
            name,
            "{dialect}: {sent} bytes sent, {received} received, {messages} messages read".format(**account),
        )


async def main() -> int:
    """Run the play in processes of its own; return the exit code."""
    screen = Screen()
    screen.line("Four processes that hold references to each other's objects", "bold")
    with tempfile.TemporaryDirectory(prefix="pb-demo-") as directory:
        stage = Stage(screen)
        async with pb.serve(stage, f"unix://{directory}/stage.sock") as server:
            parts = [("broker.py",), ("person.py", "alice"), ("person.py", "bob")]
            children = [
                await asyncio.create_subprocess_exec(
                    *(sys.executable, str(PARTS / part), server.urls[0], directory, *arguments),
                    start_new_session=True,  # only this process gets Ctrl-C; the others end when the stage is gone
                )
                for part, *arguments in parts
            ]
            playing = asyncio.ensure_future(play(stage, screen))
            ends = [asyncio.ensure_future(child.wait()) for child in children]
            try:
                await asyncio.wait({playing, *ends}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
                if not playing.done():
                    early = any(end.done() for end in ends)
                    print("a process ended too early" if early else "it takes too long", file=sys.stderr)
                    return 1
                await playing
                await server.close()  # the other processes end when this connection does
                await asyncio.wait(ends, timeout=PATIENCE)
            finally:
                playing.cancel()
                # The users first, because they would log the broker's end.
                for child in reversed(children):
                    if child.returncode is None:
                        child.kill()
                await asyncio.wait(ends)
            codes = [end.result() for end in ends]
    screen.line()
    screen.line("All processes have ended." if not any(codes) else f"Exit codes: {codes}", "dim")
    return 0 if not any(codes) else 1


if __name__ == "__main__":
    try:
        sys.exit(pb.run(main()))
    except KeyboardInterrupt:
        sys.exit(130)
