"""A ``pb`` process at a terminal: a user's input and the screen."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import selectors
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

from tests.cli.processes import PATIENCE, PB, SERVED, environment

#: Sequences that make text bold and coloured, and no others.
_STYLE = re.compile(r"\x1b\[[0-9;]*m")


class Terminal:
    """Our end of it."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.process = process
        self._descriptor = descriptor
        self._seen = ""

    def type(self, text: str) -> None:
        """Press the keys of ``text``. Keys that mean something only at a prompt are for :meth:`at_prompt`."""
        os.write(self._descriptor, text.encode())

    def at_prompt(self, text: str) -> None:
        """Press the keys of ``text`` at the next prompt."""
        self.read_until(">>> ")
        self.type(text)

    def interrupt(self) -> None:
        """The effect of Ctrl-C at a terminal."""
        self.process.send_signal(signal.SIGINT)

    def read_until(self, text: str) -> str:
        """Return the output, up to and with ``text``."""
        while text not in self._seen:
            data = self._read()
            assert data, f"the process ended before it showed {text!r}; it showed {self._seen!r}"
            self._see(data)
        shown, _, rest = self._seen.partition(text)
        self._seen = rest
        return shown + text

    def read_to_end(self) -> str:
        """Return the output until the process ends."""
        while data := self._read():
            self._see(data)
        shown, self._seen = self._seen, ""
        return shown

    def _see(self, data: str) -> None:
        self._seen = _STYLE.sub("", self._seen + data)

    def _read(self) -> str:
        with selectors.DefaultSelector() as selector:
            selector.register(self._descriptor, selectors.EVENT_READ)
            assert selector.select(PATIENCE), f"nothing more was shown after {self._seen!r}"
        try:
            return os.read(self._descriptor, 4096).decode()
        except OSError:  # Linux's error when the other end is closed
            return ""


@contextlib.contextmanager
def on_a_terminal(*arguments: str, cwd: Path = SERVED, **env: str) -> Iterator[Terminal]:
    """Run ``pb`` at a terminal of 80 columns within the block."""
    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        known = environment(TERM="xterm", **env)
        del known["COLUMNS"]
        with subprocess.Popen(
            [*PB, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=cwd,
            env=known,
            start_new_session=True,
        ) as process:
            os.close(theirs)
            theirs = -1
            try:
                yield Terminal(process, ours)
                process.wait(PATIENCE)
            finally:
                if process.poll() is None:
                    process.kill()
    finally:
        os.close(ours)
        if theirs >= 0:
            os.close(theirs)
