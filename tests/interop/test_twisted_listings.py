"""Twisted's own listings on perspective broker print the same, whichever of both sides runs on our modules."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import pytest

from tests.interop.rig import peer_environment
from tests.interop.twisted_env import CHECKOUT, on_our_face, today
from tests.interop.twisted_listings import READY, listings

#: Seconds after which a listing that does not end, or print what it should, is ended.
SECONDS = 60.0

PB: Final = "core/howto/listings/pb/"
EXAMPLES: Final = "core/examples/"
OURS: Final = CHECKOUT / "tests/interop/programs"
#: The modules that listings import.
PATHS: Final = ("core/howto/listings", "core/howto/tutorial/listings/finger", "words/examples")


@dataclass(frozen=True)
class Listing:
    """A server and a client.

    Attributes:
        server: its script; "" for a client that needs none.
        client: its script.
        server_until: how the last line starts that the server prints; "" when the client ends after that.
        client_until: how the last line starts that the client prints; "" when it ends by itself.
        repaired: a line that Twisted's own client prints because of a fault of Twisted's, and what ours prints.
    """

    server: str
    client: str
    server_until: str = ""
    client_until: str = ""
    repaired: tuple[str, str] = ("", "")


LISTINGS: Final = {
    "pb1": Listing(
        PB + "pb1server.py", PB + "pb1client.py", "Two.three was given 12", "telling it to do three(12)"
    ),
    "pb2": Listing(PB + "pb2server.py", PB + "pb2client.py", "One.checkTwo(): our twos are", "one is"),
    "pb3": Listing(
        PB + "pb3server.py", PB + "pb3client.py", "telling it to print(12)", "Two.print() called with 12"
    ),
    "pb5": Listing(PB + "pb5server.py", PB + "pb5client.py", "I am", "asking it to foo(12)"),
    "pb6 1": Listing(PB + "pb6server.py", PB + "pb6client1.py", "I am", "asking it to foo(13)"),
    "pb6 2": Listing(PB + "pb6server.py", PB + "pb6client2.py", "I am", "asking it to foo(14)"),
    "pbAnon": Listing(PB + "pbAnonServer.py", PB + "pbAnonClient.py"),
    "trap": Listing(
        PB + "trap_server.py",
        PB + "trap_client.py",
        # Twisted's failure cannot be trapped a second time: there is no exception that it could raise.
        repaired=(
            " something else happened\nUnhandled Error\nTraceback (most recent call last):\n"
            "builtins.AttributeError: 'str' object has no attribute 'with_traceback'\n\n",
            " remote raised a MyException\n",
        ),
    ),
    "exc": Listing(PB + "exc_server.py", PB + "exc_client.py"),
    "copy": Listing(PB + "copy_receiver.tac", PB + "copy_sender.py"),
    "copy2": Listing(PB + "copy2_receiver.py", PB + "copy2_sender.py"),
    # Its server ends before it answers, and so the client does not.
    "cache": Listing(PB + "cache_receiver.py", PB + "cache_sender.py", client_until="Unhandled error"),
    "chat": Listing(PB + "chatserver.py", PB + "chatclient.py"),
    "pbecho": Listing(EXAMPLES + "pbecho.py", EXAMPLES + "pbechoclient.py", "<pbecho.SimplePerspective"),
    "pbsimple": Listing(EXAMPLES + "pbsimple.py", EXAMPLES + "pbsimpleclient.py"),
    "pbbench": Listing(EXAMPLES + "pbbenchserver.py", EXAMPLES + "pbbenchclient.py", "(s) cps:", "cps:"),
    "pbinterop": Listing(EXAMPLES + "pbinterop.py", "values.py"),
    "pbquote": Listing("quotes.py", "core/howto/listings/TwistedQuotes/pbquoteclient.py"),
    "finger": Listing("finger_server.py", "core/howto/tutorial/listings/finger/fingerPBclient.py"),
    "words": Listing("words.py", "chatter.py"),
}

MIXES: Final = [(server, client) for server in ("twisted", "ours") for client in ("twisted", "ours")]


class Running:
    """A listing that runs.

    Args:
        script: its path.
        where: whose modules it uses.
        sockets: the folder of its sockets.
    """

    def __init__(self, script: Path, where: str, sockets: str) -> None:
        env = on_our_face() if where == "ours" else today()
        face = ["--face"] if where == "ours" else []
        paths = ":".join(str(listings() / path) for path in PATHS)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.interop.twisted_listings", *face, sockets, str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=CHECKOUT,
            env=peer_environment(env) | {"LISTINGS": paths},
        )
        self._watchdog = threading.Timer(SECONDS, self._process.kill)
        self._watchdog.start()
        self._lines: list[str] = []
        self._sockets = sockets

    def until(self, start: str) -> None:
        """Read until a line starts so; to the end when that is empty."""
        output: IO[bytes] | Any = self._process.stdout
        for data in output:
            line = data.decode()
            if line != READY:
                self._lines.append(line)
            if start and line.startswith(start):
                return
        assert not start, f"it ended without {start!r}:\n{''.join(self._lines)}"

    def output(self) -> str:
        """End it, and return what it has printed until then, without what differs between two runs."""
        with self._process as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()
            process.stdout.read()
        self._watchdog.cancel()
        return shown("".join(self._lines).replace(self._sockets, "SOCKETS"))


def shown(text: str) -> str:
    """Return an output without addresses, times, numbers of calls, and the lines of tracebacks."""
    text = re.sub(r"0x[0-9a-f]+", "0x", text)
    text = re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\S*", "", text, flags=re.MULTILINE)
    text = re.sub(r"cps: \d+", "cps:", text)
    return "".join(line for line in text.splitlines(True) if not line.startswith(("  ", "\t  ")))


def run(listing: Listing, server: str, client: str) -> tuple[str, str]:
    """Return what the server and the client of a listing print."""
    docs = listings()
    with tempfile.TemporaryDirectory(prefix="pb-") as sockets:
        serving = Running(_script(docs, listing.server), server, sockets)
        serving.until(READY)
        calling = Running(_script(docs, listing.client), client, sockets)
        calling.until(listing.client_until)
        if listing.server_until:
            serving.until(listing.server_until)
        return serving.output(), calling.output()


def _script(docs: Path, name: str) -> Path:
    return docs / name if "/" in name else OURS / name


@pytest.mark.parametrize("name", LISTINGS)
def test_a_listing_prints_what_it_prints_with_twisted(name: str) -> None:
    listing = LISTINGS[name]
    with ThreadPoolExecutor(len(MIXES)) as pool:
        outputs = dict(zip(MIXES, pool.map(lambda mix: run(listing, *mix), MIXES), strict=True))
    served, called = outputs.pop(("twisted", "twisted"))
    assert called
    for (server, client), output in outputs.items():
        expected = called
        if client == "ours" and listing.repaired[0]:
            assert listing.repaired[0] in called
            expected = called.replace(*listing.repaired)
        assert output == (served, expected), f"with a server of {server}, a client of {client}"
