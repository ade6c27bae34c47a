"""Run a file of cells (``# %%``) in a real kernel of Jupyter, one after another, and print what they print."""

import os
import sys
from pathlib import Path
from queue import Empty
from typing import Any

from jupyter_client.manager import KernelManager

#: Seconds that only limit the time of a kernel that hangs.
PATIENCE = 120


def run(client: Any, cell: str) -> None:
    """Run a cell, and print its output; its exception ends the program."""
    message = client.execute(cell, stop_on_error=True)
    while True:
        try:
            said = client.get_iopub_msg(timeout=PATIENCE)
        except Empty:
            sys.exit("the kernel does not answer")
        if said["parent_header"].get("msg_id") != message:
            continue
        kind, content = said["msg_type"], said["content"]
        if kind == "stream":
            print(content["text"], end="", file=sys.stdout if content["name"] == "stdout" else sys.stderr)
        elif kind in ("execute_result", "display_data"):
            print(content["data"]["text/plain"])
        elif kind == "error":
            sys.exit("\n".join(content["traceback"]))
        elif kind == "status" and content["execution_state"] == "idle":
            return


def main(path: str) -> None:
    own = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    manager = KernelManager(
        kernel_name="python3",  # that of this very Python
        transport="ipc",
        connection_file=os.path.abspath("kernel.json"),
    )
    manager.start_kernel(env=own | {"IPYTHONDIR": os.path.abspath(".ipython")})
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=PATIENCE)
        for cell in Path(path).read_text().split("# %%\n")[1:]:
            run(client, cell)
    finally:
        client.stop_channels()
        manager.shutdown_kernel()


main(sys.argv[1])
