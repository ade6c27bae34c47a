"""systemd's two small protocols: sockets that it has bound (sd_listen_fds), and messages to it (sd_notify)."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import MutableMapping
from typing import Final

__all__ = ["Notifier", "passed_sockets"]

log: logging.Logger = logging.getLogger("perspective_broker")

#: The number of the first descriptor that is passed.
_FIRST: Final = 3


def passed_sockets(
    environment: MutableMapping[str, str] = os.environ, first: int = _FIRST
) -> list[socket.socket]:
    """Return the sockets that systemd has passed to this process; the programs that it starts are not to take them.

    Args:
        environment: of the process.
        first: the number of the first descriptor.
    """
    process, count = environment.pop("LISTEN_PID", ""), environment.pop("LISTEN_FDS", "")
    environment.pop("LISTEN_FDNAMES", None)
    if process != str(os.getpid()) or not count.isdecimal():
        return []
    passed = [socket.socket(fileno=number) for number in range(first, first + int(count))]
    for one in passed:
        one.set_inheritable(False)
    return passed


class Notifier:
    """Tells systemd the state of this service, if that wants to know it (``Type=notify``).

    Args:
        environment: of the process; the programs that it starts are not to notify.
    """

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        self._to = environment.pop("NOTIFY_SOCKET", "")
        seconds = environment.pop("WATCHDOG_USEC", "")
        if environment.pop("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
            seconds = ""
        self._watchdog = int(seconds) / 1e6 if seconds.isdecimal() else None
        self._timer: asyncio.TimerHandle | None = None

    def ready(self) -> None:
        """The service serves; from now on the watchdog is fed, as often as the event loop turns."""
        self._send("READY=1")
        if self._watchdog and self._to:
            self._feed()

    def reloading(self) -> None:
        """The service reads its certificates again; :meth:`ready` follows."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """The service stops."""
        self._send("STOPPING=1")

    def close(self) -> None:
        """Feed the watchdog no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _feed(self) -> None:
        assert self._watchdog is not None
        self.close()
        self._send("WATCHDOG=1")
        self._timer = asyncio.get_running_loop().call_later(self._watchdog / 2, self._feed)

    def _send(self, state: str) -> None:
        if not self._to:
            return
        name = "\0" + self._to[1:] if self._to.startswith("@") else self._to
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
                to.sendto(state.encode(), name)
        except OSError as error:
            log.warning("the service manager was not told %s: %s", state.partition("\n")[0], error)
