"""Run a file of cells (``# %%``) as a notebook does: in one event loop that goes on, with ``await`` in every cell."""

import ast
import asyncio
import sys
from pathlib import Path
from typing import Any


async def main(path: str) -> None:
    names: dict[str, Any] = {}
    for cell in Path(path).read_text().split("# %%\n")[1:]:
        running = eval(compile(cell, path, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
        if running is not None:  # of a cell with an await in it
            await running
        await asyncio.sleep(0)


asyncio.run(main(sys.argv[1]))
