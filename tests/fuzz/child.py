"""One target under atheris: ``python -m tests.fuzz.child TARGET [libFuzzer's options and directories]``.

Started by :mod:`tests.fuzz`, which gives it its time, its corpus, and a place for what it finds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import atheris

#: Seconds of processor time that one input may take, three cuts and the instruments included; a MiB would have 50 ms.
MOST_SECONDS = 10.0


def timed(target: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """Return the target, which raises TimeoutError for an input that computes too long."""

    def run(data: bytes) -> None:
        began = time.process_time()
        target(data)
        took = time.process_time() - began
        if took > MOST_SECONDS:
            raise TimeoutError(
                f"{took:.1f} s of processor time for {len(data)} bytes, {MOST_SECONDS:.0f} at most"
            )

    return run


def main() -> None:
    name = sys.argv[1]
    with atheris.instrument_imports(include=["perspective_broker"]):
        from tests.fuzz.targets import TARGETS
    atheris.Setup([sys.argv[0], *sys.argv[2:]], timed(TARGETS[name]))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
