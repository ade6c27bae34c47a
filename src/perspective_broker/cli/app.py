"""The ``pb`` command line: its subcommands, and how each ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from .. import __version__
from ..native_path import NATIVE
from ..session import COMPILED
from . import bench, call, describe, identity, ping, serve, shell, statistics, watch
from .output import one_line, print_error
from .status import Status, explain

__all__ = ["app", "run_command"]


def _version() -> str:
    return f"{__version__} ({'compiled' if COMPILED else 'plain Python'}{', native' if NATIVE else ''})"


app: App = App(
    name="pb",
    help="""Perspective Broker: programs that hold each other's objects.

    Serve an object, see what it offers, call a method, follow what changes, explore objects at a prompt, manage users.
    Help for each command: pb call --help.
    """,
    help_epilogue="Exit codes: 0 fine, 1 the peer reports an error, 2 wrong usage, 3 no connection, 4 no login, "
    "130 interrupted.",
    version=_version,
    help_format="markdown",
    suppress_keyboard_interrupt=False,
)
app.command(serve.serve, help_epilogue=serve.EXAMPLES)
app.command(describe.describe, help_epilogue=describe.EXAMPLES)
app.command(call.call, help_epilogue=call.EXAMPLES)
app.command(watch.watch, help_epilogue=watch.EXAMPLES)
app.command(bench.bench, help_epilogue=bench.EXAMPLES)
app.command(ping.ping, help_epilogue=ping.EXAMPLES)
app.command(statistics.status, help_epilogue=statistics.EXAMPLES)
app.command(shell.shell, help_epilogue=shell.EXAMPLES)
app.command(identity.identity)


def _open_closed_streams() -> None:
    """Replace each standard stream that was closed when the program began by the null device.

    Otherwise the next file that is opened would get its number, the lowest free one.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 # for the rest of the process


def run_command(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; print the text of an error on standard error, in one line.

    An unexpected exception, which is a defect of this program, is raised.
    """
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        # A peer's text may not fit the terminal's encoding; escapes are better than an error.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # always a text file here
    try:
        result = app(
            arguments,
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
        sys.stdout.flush()
        return result if isinstance(result, int) else Status.OK
    except CycloptsError as error:
        command = " ".join(("pb", *(error.command_chain or ())))
        print_error("pb", f"{one_line(str(error))} (see: {command} --help)")
        return Status.USAGE
    except KeyboardInterrupt:
        return Status.INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone. Buffered output must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Status.OK
    except Exception as error:
        explained = explain(error)
        if explained is None:
            raise
        status, text = explained
        print_error("pb", text)
        return status
