"""The blocking face in a real kernel of Jupyter."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.cli.processes import PATIENCE, ROOT

from .desk import Served

jupyter_client = pytest.importorskip("jupyter_client")
pytest.importorskip("ipykernel")


def printed(client: Any, message: str) -> str:
    """Return what the cell that was sent as ``message`` prints, or the name of its exception."""
    text = ""
    while True:
        said = client.get_iopub_msg(timeout=PATIENCE)
        if said["parent_header"].get("msg_id") != message:
            continue
        kind, content = said["msg_type"], said["content"]
        if kind == "stream":
            text += content["text"]
        elif kind == "error":
            text += content["ename"]
        elif kind == "status" and content["execution_state"] == "idle":
            return text


def test_calls_interrupts_and_completion_in_a_notebook(modern: Served, tmp_path: Path) -> None:
    manager = jupyter_client.KernelManager(
        kernel_name="python3", transport="ipc", connection_file=str(tmp_path / "kernel.json")
    )
    own = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    manager.start_kernel(env=own | {"IPYTHONDIR": str(tmp_path), "PYTHONPATH": str(ROOT / "src")})
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=PATIENCE)

        def run(cell: str) -> str:
            return printed(client, client.execute(cell))

        begin = f"from perspective_broker import blocking\nroot = blocking.connect({modern.url!r})"
        assert run(f"{begin}\nprint(root.echo('x'))") == "x\n"
        waiting = client.execute("root.wait()")
        assert modern.desk.began.wait(PATIENCE)
        manager.interrupt_kernel()
        assert printed(client, waiting) == "KeyboardInterrupt"
        assert modern.desk.stopped == ["wait"]
        assert run("print(root.echo('still here'))") == "still here\n"
        matches = client.complete("root.ec", reply=True, timeout=PATIENCE)["content"]["matches"]
        assert [match.rpartition(".")[2] for match in matches] == ["echo"]
        assert run("await pb.connect('x')") == "NameError"  # a cell may still use await
        assert run("root.close()") == ""
    finally:
        client.stop_channels()
        manager.shutdown_kernel()
    assert modern.desk.lost == ["closed"]
