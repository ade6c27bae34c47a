"""The ``pb`` command. One module per subcommand; :mod:`.app` joins them, :mod:`.status` has the exit codes.

Its dependencies are the extra ``[cli]``: they are imported only when :func:`main` runs, and without them it prints what
to install.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the ``pb`` command with the arguments of this process, and end it with the command's exit code."""
    try:
        from .app import run_command
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in ("cyclopts", "rich"):
            raise
        print(f'pb: the command line needs {missing}: pip install "perspective-broker[cli]"', file=sys.stderr)
        raise SystemExit(2) from None
    raise SystemExit(run_command(sys.argv[1:]))
