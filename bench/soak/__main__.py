"""The command line of the soak."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.runner import RESULTS
from bench.soak.run import Result, soak
from bench.soak.samples import GOAL_KIB_PER_HOUR, slope_per_hour, write_json, write_plot

#: Minutes from which on a slope is judged: a shorter run shows the warming up, not leaks.
_JUDGED = 30


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.soak",
        description="Let visitors come and go at a server: over TCP, TLS and Unix sockets, in every dialect, with and "
        "without logins; with references both ways, replicas, copies, streams, pipelined calls, cancellations and "
        "deadlines; some hang up without a word, some are killed. In the end nothing may be left.",
        epilog="Samples, a plot and the processes' logs go to bench/results/soak.*; the program ends with 1 when "
        f"anything is left, or went wrong, or (from {_JUDGED} minutes on) memory grows by more than "
        f"{GOAL_KIB_PER_HOUR:.0f} KiB an hour.",
    )
    parser.add_argument("--minutes", type=float, default=60.0, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of what the visitors do")
    options = parser.parse_args(arguments)
    if options.minutes <= 0:
        parser.error("--minutes must be positive")
    RESULTS.mkdir(exist_ok=True)
    began = time.monotonic()

    def progress(sample: dict[str, Any]) -> None:
        tables = sum(sample[name] for name in ("exported", "imported", "observed", "calls_in", "calls_out"))
        print(
            f"[{(time.monotonic() - began) / 60:6.1f} min] {sample['rss_kib'] / 1024:6.1f} MiB, "
            f"{sample['connections']:3} connections, {tables:4} in tables, {sample['tasks']:3} tasks, "
            f"{sample['fds']:3} files, {sample['objects']:7} objects, {sample['cpu_seconds']:8.1f} s of processor, "
            f"{sample['log_records']} log records",
            flush=True,
        )

    # A short path, because the path of a Unix socket is limited.
    with tempfile.TemporaryDirectory(prefix="pb-soak-") as place:
        directory = Path(place)
        try:
            result = asyncio.run(
                soak(
                    options.minutes * 60, directory, between_samples=5.0, seed=options.seed, progress=progress
                )
            )
        finally:
            for log in directory.glob("*.log"):
                shutil.copy(log, RESULTS / f"soak.{log.name}")
    return report(result, options.minutes)


def report(result: Result, minutes: float) -> int:
    """Print and write the result; return the exit code."""
    running = result.samples[:-1]
    slope = slope_per_hour(running, "rss_kib") if len(running) >= 4 else float("nan")
    met = slope < GOAL_KIB_PER_HOUR
    names = sorted(result.done)
    print("\ndone by those who could say it: " + ", ".join(f"{name} {result.done[name]}" for name in names))
    print(f"killed: {result.killed} visiting processes")
    judged = "met" if met else "missed"
    if minutes < _JUDGED:
        judged += f", but not judged below {_JUDGED} minutes"
    print(
        f"memory of the server, second half: {slope:+.0f} KiB/h (goal: below {GOAL_KIB_PER_HOUR:.0f}, {judged})"
    )
    for problem in result.problems:
        print(f"PROBLEM: {problem}")
    if not result.problems:
        print("nothing is left: tables at the root alone, no connection, no task, no file, no log record")
    what = {
        "minutes": minutes,
        "slope_kib_per_hour": slope,
        "killed": result.killed,
        "done": dict(result.done),
    }
    write_json(RESULTS / "soak.json", what | {"problems": result.problems, "samples": result.samples})
    plotted = write_plot(RESULTS / "soak.png", running, slope)
    print(f"written: bench/results/soak.json{' and soak.png' if plotted else ' (no matplotlib, no plot)'}")
    return 1 if result.problems or (minutes >= _JUDGED and not met) else 0


if __name__ == "__main__":
    sys.exit(main())
