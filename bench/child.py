"""The two processes of a row: ``python -m bench.child serve ROW`` and ``... call ROW ADDRESS``.

Both talk to the bench in lines of JSON on their standard output, and both end when their standard input does:
however the bench dies, no process is left running.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Coroutine
from typing import Any

from bench.columns import COLUMNS
from bench.peer import Caller, NotOffered


def _open_channel() -> Any:
    """The original standard output, for our lines only; output of libraries goes to the log instead."""
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return channel


def _read_commands(commands: queue.SimpleQueue[Any]) -> None:
    """Pass on commands from the standard input, and end the process with it, even in mid-measurement."""
    for line in sys.stdin:
        commands.put(json.loads(line))
    os._exit(0)


def main(arguments: list[str]) -> None:
    """Serve or call until the bench closes our standard input."""
    channel = _open_channel()

    def reply(**fields: Any) -> None:
        channel.write(json.dumps(fields) + "\n")

    commands: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_read_commands, args=(commands,), daemon=True).start()
    role, row = arguments[:2]
    try:
        module = importlib.import_module(f"bench.peers.{row}")
        if role == "serve":
            module.serve(lambda address: reply(address=address))
        else:
            caller_type: type[Caller] = module.Caller
            reply(notes=caller_type.notes)
            caller_type.run(lambda: _call(caller_type, arguments[2], commands, reply))
    except Exception as error:
        traceback.print_exc()
        reply(unavailable=_describe(error))


def _call(
    caller_type: type[Caller], address: str, commands: queue.SimpleQueue[Any], reply: Any
) -> Coroutine[Any, Any, None]:
    """Measure the requested cells, one after the other."""

    async def session() -> None:
        while True:
            command = await caller_type.in_thread(commands.get)
            caller = caller_type(address)
            try:
                await caller.open()
                try:
                    column = COLUMNS[command["column"]]
                    reading = await column.measure(caller, command["seconds"], command["cut"])
                finally:
                    await caller.close()
            except NotOffered as error:
                reply(not_offered=str(error))
            except Exception as error:
                traceback.print_exc()
                reply(failed=_describe(error))
            else:
                reply(reading=dataclasses.asdict(reading))

    return session()


def _describe(error: BaseException) -> str:
    """One line about an exception, short enough for a footnote."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:200] if text else type(error).__name__


if __name__ == "__main__":
    main(sys.argv[1:])
