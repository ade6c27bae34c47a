"""Live random lives for a while, or one of them again.

    python -m tests.lives --minutes 60 --seed 0 --processes 2   # lives 0, 1, 2, ... until the time is over
    python -m tests.lives --replay 4711                         # everything that happens in one of them
    python -m tests.lives --replay 4711 --but "steps=(3, 0)" ending=cut   # with other limits than it had
    python -m tests.lives --replay 4711 --shrink wedge          # with as few calls as break the same law

``clock`` and ``link`` are the world that a life happens in, ``values`` is what crosses, ``ends``, ``programs`` and
``arguments`` are what the ends do, ``history`` is the record and the laws, ``course`` and ``life`` are one life.
"""

from __future__ import annotations

import argparse
import ast
import gc
import shlex
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from typing import Any, Final

from tests.lives.life import Life, Report
from tests.lives.shrinking import differences, shrink

#: Seconds between two lines about how far it is.
_PULSE: Final = 10.0


def search(seed: int, stride: int, seconds: float) -> bool:
    """Live ``seed``, ``seed + stride``, ... until the time is over; return whether all were as they should be.

    Each finding is printed when it is made, and every few seconds how far it is.
    """
    began = pulse = time.monotonic()
    found: Counter[str] = Counter()
    lives = calls = 0
    gc.collect()
    gc.freeze()  # each life collects garbage, and objects from before the first are not garbage
    while (now := time.monotonic()) - began < seconds or not lives:
        if now - pulse > _PULSE:
            pulse = now
            print(_progress(lives, calls, found), flush=True)
        life = Life.draw(seed)
        report = life.run()
        lives += 1
        calls += report.calls
        seed += stride
        if report.findings:
            found[report.findings[0].law] += 1
            print(_summary(life, report), flush=True)
    print(f"Done {_progress(lives, calls, found)}", flush=True)
    return not found


def _progress(lives: int, calls: int, found: Counter[str]) -> str:
    laws = ", ".join(f"{law} {number}" for law, number in sorted(found.items()))
    return f"{lives} lives, {calls} calls, findings: {found.total()}" + (f" ({laws})" if laws else "")


def replay(life: Life) -> bool:
    """Print everything that happens in one life; return whether it is as it should be."""
    report = life.run()
    print("\n".join(f"{moment:5} {event}" for moment, event in enumerate(report.events)))
    print(_summary(life, report))
    return not report.findings


def _summary(life: Life, report: Report) -> str:
    found = [f"    {finding}" for finding in report.findings[:5]]
    if len(report.findings) > 5:
        found.append(f"    and {len(report.findings) - 5} more")
    again = f"    to see it again: {sys.executable} -m tests.lives --replay {life.seed}"
    if changed := differences(life):
        again += f" --but {shlex.join(changed)}"
    return "\n".join([f"{life}: {report.calls} calls", *(found or ["    as it should be"]), again])


def _literal(text: str) -> Any:
    """Return the value that is written, or the text itself."""
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.lives",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=1, help="how long (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the first life (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=1, help="at once (default: %(default)s)")
    parser.add_argument("--stride", type=int, default=1, help="from one seed to the next")
    parser.add_argument("--replay", type=int, metavar="SEED", help="live this one alone, and tell everything")
    parser.add_argument(
        "--but", nargs="+", metavar="FIELD=VALUE", default=[], help="with these fields of Life changed"
    )
    parser.add_argument("--shrink", metavar="LAW", help="make it as small as it breaks this law first")
    options = parser.parse_args(arguments)
    if options.replay is not None:
        changes = dict(change.split("=", 1) for change in options.but)
        changed = {name: _literal(value) for name, value in changes.items()}
        life = replace(Life.draw(options.replay), **changed)
        return 0 if replay(shrink(life, options.shrink) if options.shrink else life) else 1
    if options.processes == 1:
        return 0 if search(options.seed, options.stride, options.minutes * 60) else 1
    children = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.lives", "--minutes", str(options.minutes)),
                *("--seed", str(options.seed + place), "--stride", str(options.processes)),
            ]
        )
        for place in range(options.processes)
    ]
    return max(child.wait() for child in children)


if __name__ == "__main__":
    sys.exit(main())
