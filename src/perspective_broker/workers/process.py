"""One worker, as its parent sees it: a process, its control connection, and what it logs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from ..aio import Connection, RemoteReference
from ..aio.paired import accept_on
from ..errors import BrokerError
from ..flavors import Referenceable
from .attempts import CountedAttempts
from .sockets import Bound
from .statistics import WorkerStatistics

__all__ = ["ENVIRONMENT", "Worker"]

#: The variable of the environment that makes a process a worker: JSON, see :mod:`.child`.
ENVIRONMENT: Final = "PB_WORKER"

#: Seconds that a worker gets for its statistics.
_PATIENCE: Final = 2.0

#: Lines of its log that are kept.
_LINES: Final = 20

#: Bytes of its log that are read at a time.
_CHUNK: Final = 65536


class Worker:
    """A process that serves in one slot.

    Args:
        slot: the number of the slot, from 0.
        changed: called when it serves, leaves or has ended.

    Attributes:
        slot: see above.
        began: when it was started, by ``time.monotonic()``.
        is_ready: whether it serves.
        was_ready: whether it ever did.
        is_leaving: whether it was asked to end.
        settled: done when it serves, or has ended.
        ended: done when it has ended and its log was read.
    """

    def __init__(self, slot: int, changed: Callable[[Worker], None]) -> None:
        loop = asyncio.get_running_loop()
        self.slot = slot
        self.began: float = time.monotonic()
        self.is_ready = False
        self.was_ready = False
        self.is_leaving = False
        self.settled: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self._changed = changed
        self._process: asyncio.subprocess.Process | None = None
        self._control: RemoteReference | None = None
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def __str__(self) -> str:
        return f"worker {self.slot + 1} ({self.process})"

    @property
    def process(self) -> int:
        """The number of its process; 0 before it has one."""
        return 0 if self._process is None else self._process.pid

    @property
    def returncode(self) -> int:
        """The exit code of a worker that has ended; negative for the signal that has killed it."""
        code = None if self._process is None else self._process.returncode
        return 1 if code is None else code

    @property
    def killed_by(self) -> str:
        """The signal that has killed it; empty if none has."""
        code = self.returncode
        if code >= 0:
            return ""
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"the signal {-code}"

    @property
    def last_lines(self) -> list[str]:
        """The last lines of its log."""
        return list(self._lines)

    async def start(self, command: Sequence[str], bound: Sequence[Bound], attempts: CountedAttempts) -> None:
        """Start the process.

        Raises:
            OSError: the system cannot start it.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stderr=asyncio.subprocess.PIPE,
                    env={
                        **os.environ,
                        ENVIRONMENT: json.dumps(
                            {
                                "slot": self.slot,
                                "control": theirs.fileno(),
                                "urls": [one.descriptors() for one in bound],
                            }
                        ),
                    },
                    pass_fds=[theirs.fileno(), *(one.fileno() for each in bound for one in each.sockets)],
                    start_new_session=True,  # Ctrl-C at a terminal is for the parent, which then drains its workers
                )
        except BaseException:
            ours.close()
            self._end()
            raise
        connection = await accept_on(ours, _Door(self, attempts), str(self))
        self._task = asyncio.create_task(self._watch(self._process, connection))

    def became_ready(self, control: RemoteReference) -> None:
        """It serves, and can be reached at ``control``."""
        self._control = control
        if self.is_leaving:  # it was not wanted any more while it started
            self.tell("stop")
            return
        self.is_ready = self.was_ready = True
        if not self.settled.done():
            self.settled.set_result(None)
        self._changed(self)

    def leaves_by_itself(self) -> None:
        """It was told to end, and not by the parent."""
        self.is_leaving = True
        self._changed(self)

    def tell(self, method: str, *arguments: Any) -> None:
        """Tell it something, if it can be reached."""
        if self._control is not None:
            with contextlib.suppress(BrokerError):  # it has just ended
                self._control.tell(method, *arguments)

    def leave(self, drain: float, grace: float, *, moves: bool) -> None:
        """Have it end in order.

        Args:
            drain: seconds for its calls.
            grace: seconds after these until it is killed.
            moves: whether its clients go to other workers.
        """
        self.is_leaving = True
        if self.is_ready:
            self.tell("leave", drain, moves)
        else:
            self._signal(signal.SIGTERM)
        self._kill_after(drain + grace)

    def hurry(self, grace: float) -> None:
        """Have it end without a drain; it is killed after ``grace`` seconds."""
        self.is_leaving = True
        if self.is_ready:
            self.tell("stop")
        else:
            self._signal(signal.SIGTERM)
        self._kill_after(grace)

    def kill(self) -> None:
        """End it now."""
        self.is_leaving = True
        self._signal(signal.SIGKILL)

    async def statistics(self) -> WorkerStatistics:
        """Return its statistics; without numbers when it does not answer in time."""
        state = "leaving" if self.is_leaving else "serving" if self.is_ready else "starting"
        numbers: dict[str, float] = {}
        if self._control is not None:
            try:
                async with asyncio.timeout(_PATIENCE):
                    numbers = await self._control.call("statistics")
            except (BrokerError, TimeoutError):
                state = "silent" if state == "serving" else state
        return WorkerStatistics(self.slot + 1, self.process, state, numbers)

    def _kill_after(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._signal, signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _watch(self, process: asyncio.subprocess.Process, connection: Connection) -> None:
        """Pass its log on until it ends."""
        assert process.stderr is not None
        passing = asyncio.create_task(self._pass_on(process.stderr))
        await process.wait()
        # What it has started may live on, and keep its standard error open.
        await asyncio.wait([passing], timeout=1.0)
        passing.cancel()
        await connection.close()
        self._end()

    def _end(self) -> None:
        self.is_ready = False
        if self._timer is not None:
            self._timer.cancel()
        if not self.settled.done():
            self.settled.set_result(None)
        self.ended.set_result(None)
        self._changed(self)

    async def _pass_on(self, log: asyncio.StreamReader) -> None:
        begun = b""  # a line without its end
        while chunk := await log.read(_CHUNK):
            *lines, begun = (begun + chunk).split(b"\n")
            self._write(lines)
            if len(begun) > _CHUNK:
                self._write([begun])
                begun = b""
        if begun:
            self._write([begun])

    def _write(self, lines: list[bytes]) -> None:
        for line in lines:
            self._lines.append(line[:1024].decode(errors="backslashreplace"))
        if lines:
            with contextlib.suppress(OSError, ValueError):  # nobody reads the log of this process any more
                sys.stderr.buffer.write(b"\n".join([*lines, b""]))
                sys.stderr.flush()


class _Door(Referenceable):
    """What a worker reaches in its parent."""

    def __init__(self, worker: Worker, attempts: CountedAttempts) -> None:
        self._worker = worker
        self._attempts = attempts

    def remote_ready(self, control: RemoteReference) -> None:
        """The worker serves, and can be reached at ``control``."""
        self._worker.became_ready(control)

    def remote_leaving(self) -> None:
        """The worker stops although the parent has not told it to."""
        self._worker.leaves_by_itself()

    def remote_attempts(self) -> CountedAttempts:
        """Return what counts failed logins."""
        return self._attempts
