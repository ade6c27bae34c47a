"""``--verbose``: the logs of the commands, on standard error."""

from __future__ import annotations

import logging
from typing import Annotated

from cyclopts import Parameter

__all__ = ["Verbose", "configure_logging", "counted"]


def counted(help: str) -> Parameter:
    """Return the option -v, which may be given twice, with a command's help for it."""
    return Parameter(alias="-v", count=True, help=help, show_default=False)


Verbose = Annotated[
    int, counted("Log more to standard error: connections and refused calls; twice (-vv) everything.")
]


def configure_logging(verbose: int, least: int = logging.WARNING) -> None:
    """Set logging up for this process.

    Args:
        verbose: 0 logs from level ``least`` on, 1 from INFO on, 2 and more everything.
        least: higher for a command that prints its own errors.
    """
    level = (least, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)-7s %(message)s", force=True)
    logging.getLogger("aiosqlite").setLevel(logging.INFO)  # it logs two lines for each step of each statement
