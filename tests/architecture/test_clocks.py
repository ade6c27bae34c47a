"""No clock that can be set decides anything: durations are the event loop's, the wall clock only dates things."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "perspective_broker"

#: File -> the wall clock is asked there, and why that may be.
ALLOWED = {
    "aio/connection.py": 1,  # when it was made, for a person to read
    "aio/events.py": 1,  # and when it ended
    "monitor/views.py": 2,  # since when the monitor shows it, and how old a connection is: likewise
    "compat/publish.py": 1,  # an object's timestamp, which is data
}

#: Names that read the time of day, by module; OpenSSL judges a certificate's dates.
WALL_CLOCKS = {
    "time": {"time", "time_ns", "localtime", "gmtime", "ctime", "strftime", "clock_settime"},
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
}


def wall_clocks(source: str) -> int:
    """Return how often ``source`` asks for the time of day."""
    found = 0
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            owner = (
                node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            )
            found += node.attr in WALL_CLOCKS.get(owner, ())
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            found += any(alias.name in WALL_CLOCKS["time"] for alias in node.names)
    return found


def test_the_wall_clock_is_asked_only_where_that_is_allowed() -> None:
    found = {}
    for path in PACKAGE.rglob("*.py"):
        if count := wall_clocks(path.read_text()):
            found[path.relative_to(PACKAGE).as_posix()] = count
    assert found == ALLOWED


def test_a_wall_clock_is_found() -> None:
    assert wall_clocks("import time; time.time(); time.monotonic(); loop.time()") == 1
    assert (
        wall_clocks("datetime.datetime.now(); datetime.now(tz); datetime.date.today(); datetime.time(1)") == 3
    )
    assert wall_clocks("from time import time") == 1
