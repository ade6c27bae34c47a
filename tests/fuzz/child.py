"""One target under atheris: ``python -m tests.fuzz.child TARGET [libFuzzer's options and directories]``.

Started by :mod:`tests.fuzz`, which passes the time, the corpus, and a directory for findings.
"""

from __future__ import annotations

import sys

import atheris

from tests.fuzz.budget import expect_slower

#: How many times slower instrumented code is.
SLOWER = 6.0


def main() -> None:
    name = sys.argv[1]
    with atheris.instrument_imports(include=["perspective_broker"]):
        from tests.fuzz.targets import TARGETS
    expect_slower(SLOWER)
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
