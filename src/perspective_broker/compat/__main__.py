"""``python -m perspective_broker.compat PROGRAM [ARG...]``: run a program of Twisted's as it is, on this face.

PROGRAM is the name of an installed command (``buildbot-worker``), ``-m MODULE``, or the path of a script.
"""

from __future__ import annotations

import runpy
import sys
from importlib.metadata import entry_points

from .standing_in import stand_in

_USAGE = "usage: python -m perspective_broker.compat (COMMAND | -m MODULE | SCRIPT) [ARG...]"


def main() -> None:
    """Stand in for ``twisted.spread``, then become the program."""
    arguments = sys.argv[1:]
    if not arguments or arguments == ["-m"] or arguments[0] in ("-h", "--help"):
        sys.exit(_USAGE)
    stand_in()
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        return
    sys.argv = arguments
    commands = entry_points(group="console_scripts", name=arguments[0])
    if commands:
        (command, *_) = commands
        sys.exit(command.load()())
    runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main()
