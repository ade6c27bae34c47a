"""``python -m tests.transcripts --write`` makes the golden files again; ``--show pb7 17`` prints one life."""

from __future__ import annotations

import argparse
import gc
import logging
import sys

from . import golden
from .lives import DIALECTS, live


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.transcripts", description="Transcripts of random lives."
    )
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--write", action="store_true", help="make the golden files again")
    wanted.add_argument("--show", nargs=2, metavar=("DIALECT", "NUMBER"), help="print one life")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)  # methods of the lives fail on purpose
    gc.collect()
    gc.freeze()  # collecting within the lives takes a quarter of the time
    if options.write:
        golden.write()
    else:
        dialect, number = options.show
        if dialect not in DIALECTS or not number.isdecimal():
            parser.error(f"a dialect ({', '.join(DIALECTS)}) and the number of a life are needed")
        sys.stdout.write(golden.readable(live(dialect, int(number))))


if __name__ == "__main__":
    main()
