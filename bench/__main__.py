"""The command line of the bench."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Collection
from functools import partial

from bench.columns import COLUMNS, Column
from bench.report import as_json, print_table, write_json, write_plot
from bench.rows import ROWS, Row
from bench.runner import RESULTS, Bench, pick_columns, pick_rows


def _names(known: Collection[str]) -> type:
    class Names(list[str]):
        """A comma-separated list of known names."""

        def __init__(self, text: str) -> None:
            super().__init__(name.strip().replace("-", "_") for name in text.split(","))
            unknown = [name for name in self if name not in known]
            if unknown:
                raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")

    return Names


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, [*ROWS, *COLUMNS]))
    rows = "\n".join(f"  {row.name:<{width}}  {row.label}" for row in ROWS.values())
    columns = "\n".join(
        f"  {column.name:<{width}}  {column.about} ({column.unit})" for column in COLUMNS.values()
    )
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure this library beside other Python RPCs and beside a floor: two processes "
        "per row, one serving and one calling, over loopback. Every cell is checked for returning the same "
        "Python values before it is timed.",
        epilog=f"rows:\n{rows}\n\ncolumns:\n{columns}\n\n"
        "The table is printed; latest.json, latest.png and the processes' logs go to bench/results/.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--rows", type=_names(ROWS), default=list(ROWS), metavar="A,B", help="only these rows"
    )
    parser.add_argument(
        "--columns", type=_names(COLUMNS), default=list(COLUMNS), metavar="A,B", help="only these columns"
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=3,
        metavar="N",
        help="times that every cell is measured (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=0.5,
        metavar="S",
        help="seconds per measurement (default: %(default)s)",
    )
    parser.add_argument(
        "--cut",
        type=float,
        default=2.0,
        metavar="S",
        help="seconds after which a stream that has not sent its GiB is cut off (default: %(default)s)",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress, only the table")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.seconds <= 0 or options.cut <= 0:
        parser.error("--rounds, --seconds and --cut must be positive")
    rows, columns = pick_rows(options.rows), pick_columns(options.columns)
    RESULTS.mkdir(exist_ok=True)
    for log in RESULTS.glob("*.log"):
        log.unlink()

    started = time.monotonic()

    started_with = (0, "")

    def progress(number: int, row: Row, column: Column) -> None:
        nonlocal started_with
        if options.quiet:
            return
        text = f"round {number}/{options.rounds}  {column.title}: {row.label}"
        spent = time.monotonic() - started
        if sys.stderr.isatty():
            print(f"\r\x1b[K[{spent:4.0f} s] {text}", end="", file=sys.stderr, flush=True)
        elif started_with != (number, column.name):
            # In a log, a line per column is enough.
            started_with = (number, column.name)
            print(
                f"[{spent:4.0f} s] round {number}/{options.rounds}  {column.title}",
                file=sys.stderr,
                flush=True,
            )

    bench = Bench(rows, columns, options.seconds, options.cut)
    with bench.processes():
        try:
            bench.start()
            for number in range(1, options.rounds + 1):
                bench.round(partial(progress, number))
        except KeyboardInterrupt:
            print("\ninterrupted; what was measured until here:", file=sys.stderr)
    if sys.stderr.isatty() and not options.quiet:
        print("\r\x1b[K", end="", file=sys.stderr)

    print_table(bench.table, rows, columns)
    settings = {"rounds": options.rounds, "seconds": options.seconds, "cut": options.cut}
    write_json(RESULTS / "latest.json", as_json(bench.table, rows, columns, settings))
    plotted = write_plot(RESULTS / "latest.png", bench.table, rows, columns)
    print(
        f"\nwritten: bench/results/latest.json{' and latest.png' if plotted else ' (no matplotlib, no plot)'}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
