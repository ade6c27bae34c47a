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


def configure_logging(verbose: int, least: int = logging.WARNING, who: str = "") -> None:
    """Set logging up for this process.

    Args:
        verbose: 0 logs from level ``least`` on, 1 from INFO on, 2 and more everything.
        least: higher for a command that prints its own errors.
        who: in front of each message, where several processes log to one place.
    """
    level = (least, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    text = f"%(asctime)s %(levelname)-7s {who.replace('%', '%%')}%(message)s"
    logging.basicConfig(level=level, format=text, force=True)
    logging.getLogger("aiosqlite").setLevel(logging.INFO)  # it logs two lines for each step of each statement
