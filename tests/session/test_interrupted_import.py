"""An interrupted import of the library: the classes made so far, also compiled ones, are freed without a crash."""

from __future__ import annotations

import subprocess
import sys

import pytest

INTERRUPTED = """
import builtins, sys
real = builtins.__import__

def interrupted(name, space=None, *rest, **more):
    if space and space.get("__name__") == sys.argv[1]:
        raise KeyboardInterrupt
    return real(name, space, *rest, **more)

builtins.__import__ = interrupted
import perspective_broker
"""


# These are imported by compiled modules, whose classes are half made then.
@pytest.mark.parametrize("module", ["session.weak", "session.statistics", "dialects.offer", "aio.hangup"])
def test_an_interrupted_import_ends_as_any_other(module: str) -> None:
    # -X dev distinguishes the memory of allocators.
    command = [sys.executable, "-X", "dev", "-c", INTERRUPTED, f"perspective_broker.{module}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stderr.splitlines()[-1:] == ["KeyboardInterrupt"]
