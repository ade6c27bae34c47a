"""Fuzz every target for a while, or run one of them on single inputs.

    make fuzz SECONDS=60                                   # every target for a minute, then random lives
    .venv/bin/python -m tests.fuzz --seconds 60 broker pb7 # these alone
    .venv/bin/python -m tests.fuzz --seconds 60 lives      # random lives alone (see tests/lives; needs no fuzzer)
    .venv/bin/python -m tests.fuzz --run broker FILE...    # what happens on these inputs (needs no fuzzer)
    .venv/bin/python -m tests.fuzz --grow                  # take the small ones of what was found into the corpus

What a run learns, its logs and its findings stay in tests/fuzz/results, and the next run goes on from there.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.fuzz.corpus import CORPUS, inputs, write_large_seeds
from tests.fuzz.targets import TARGETS

RESULTS: Final = Path(__file__).with_name("results")
_ROOT: Final = Path(__file__).parents[2]

#: The target that is not a function of bytes, but a program.
LIVES: Final = "lives"

#: Bytes of an input: a length of any number of bytes, and more work than any turn may have, fits.
_MOST_BYTES: Final = 1024 * 1024
#: Seconds on the clock after which an input hangs. Its computation is judged by processor time, in the child: a machine
#: that stands still is not a finding.
_MOST_SECONDS: Final = 120
#: MiB of memory that a target may take, the interpreter included.
_MOST_MEMORY: Final = 2048

#: Limits on the inputs that are kept: inputs of each target, and bytes of each.
_GROWN: Final = 120
_GROWN_BYTES: Final = 220

#: Findings of a target that are shown.
_SHOWN: Final = 10

_PULSE = re.compile(r"^#(\d+)\s+\S+.*?corp: (\d+)/\S+.*?exec/s: (\d+)", re.MULTILINE)
_DONE = re.compile(r"^Done (\d+) runs in (\d+) second", re.MULTILINE)
_LIVES = re.compile(r"^(?:Done )?(\d+) lives, ", re.MULTILINE)
_AGAIN = re.compile(r"^ *to see it again: (.+)$", re.MULTILINE)


@dataclass
class Outcome:
    """The result of one target's run.

    Attributes:
        target: its name.
        runs: inputs that were tried.
        rate: inputs per second.
        corpus: inputs that reach code that no other input reaches.
        findings: commands that reproduce broken invariants.
        failed: whether the fuzzer itself failed.
    """

    target: str
    runs: int = 0
    rate: int = 0
    corpus: int = 0
    findings: tuple[str, ...] = ()
    failed: bool = False


def fuzz(name: str, seconds: int) -> Outcome:
    """Run one target, printing its progress every few seconds."""
    learnt, found, log = RESULTS / "corpus" / name, RESULTS / "findings", RESULTS / f"{name}.log"
    learnt.mkdir(parents=True, exist_ok=True)
    found.mkdir(parents=True, exist_ok=True)
    write_large_seeds(name, learnt)
    before = set(found.glob(f"{name}-*"))
    command = [
        sys.executable, "-m", "tests.fuzz.child", name,
        f"-max_total_time={seconds}", f"-max_len={_MOST_BYTES}", f"-timeout={_MOST_SECONDS}",
        f"-report_slow_units={_MOST_SECONDS}",  # a slow machine is not a finding
        "-entropic_scale_per_exec_time=1",  # large inputs are slow, and would take nearly all of the time
        f"-rss_limit_mb={_MOST_MEMORY}", f"-artifact_prefix={found / name}-", "-print_final_stats=1",
        str(learnt), str(CORPUS / name),
    ]  # fmt: skip
    code = _run(name, command, log, seconds)
    outcome = _read(name, log)
    outcome.findings = tuple(
        f"{sys.executable} -m tests.fuzz --run {name} {path}"
        for path in sorted(set(found.glob(f"{name}-*")) - before)
    )
    outcome.failed = code != 0 and not outcome.findings
    return outcome


def live(seconds: int) -> Outcome:
    """Run random lives, from a seed that no run has begun with."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    log, seed = RESULTS / f"{LIVES}.log", time.time_ns() // 1_000_000
    command = [sys.executable, "-m", "tests.lives", "--minutes", str(seconds / 60), "--seed", str(seed)]
    code = _run(LIVES, command, log, seconds)
    outcome = _read(LIVES, log)
    outcome.rate = outcome.runs // seconds
    outcome.findings = tuple(_AGAIN.findall(log.read_text(errors="replace")))
    outcome.failed = code != 0 and not outcome.findings
    return outcome


def _run(name: str, command: list[str], log: Path, seconds: int) -> int:
    """Run a child, printing its progress every few seconds; return its exit code."""
    began = time.monotonic()
    with log.open("w") as output:
        child = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=_ROOT)
        try:
            while True:
                try:
                    return child.wait(timeout=min(10, max(1, seconds / 4)))
                except subprocess.TimeoutExpired:
                    outcome = _read(name, log)
                    print(
                        f"[{time.monotonic() - began:5.0f} s] {name}: {outcome.runs} runs, {outcome.rate}/s, "
                        f"{outcome.corpus} in the corpus",
                        flush=True,
                    )
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()


def _read(name: str, log: Path) -> Outcome:
    text = log.read_text(errors="replace")
    outcome = Outcome(name)
    if pulses := _PULSE.findall(text):
        outcome.runs, outcome.corpus, outcome.rate = map(int, pulses[-1])
    if lives := _LIVES.findall(text):
        outcome.runs = int(lives[-1])
    if done := _DONE.search(text):
        outcome.runs = int(done[1])
        outcome.rate = outcome.runs // max(1, int(done[2]))
    return outcome


def report(outcomes: list[Outcome]) -> int:
    """Print the table, and how to see each finding again; return the exit code of the program."""
    print(f"\n{'target':<16} {'executions':>12} {'per second':>11} {'corpus':>7}  findings")
    for outcome in outcomes:
        verdict = str(len(outcome.findings)) if not outcome.failed else "the fuzzer failed"
        print(f"{outcome.target:<16} {outcome.runs:>12,} {outcome.rate:>11,} {outcome.corpus:>7}  {verdict}")
    for outcome in outcomes:
        for finding in outcome.findings[:_SHOWN]:
            print(f"\nto see it again: {finding}")
        if outcome.findings or outcome.failed:
            print(f"its log: {RESULTS / outcome.target}.log")
    return 1 if any(outcome.findings or outcome.failed for outcome in outcomes) else 0


def grow(name: str) -> int:
    """Take the smallest new inputs into the corpus of the repository; return their number."""
    learnt = RESULTS / "corpus" / name
    known = {path.read_bytes() for path in inputs(name) if not path.name.startswith("grown-")}
    fresh = sorted(
        {path.read_bytes() for path in learnt.iterdir()} - known, key=lambda data: (len(data), data)
    )
    chosen = [data for data in fresh if len(data) <= _GROWN_BYTES]
    chosen = chosen[:: max(1, len(chosen) // _GROWN)][:_GROWN]  # of all sizes
    for old in (CORPUS / name).glob("grown-*"):
        old.unlink()
    for data in chosen:
        (CORPUS / name / f"grown-{hashlib.sha256(data).hexdigest()[:12]}").write_bytes(data)
    return len(chosen)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--seconds", type=int, default=60, metavar="N", help="for each target (default: %(default)s)"
    )
    parser.add_argument(
        "--run", metavar="TARGET", choices=list(TARGETS), help="run it on the files that follow"
    )
    parser.add_argument("--grow", action="store_true", help="take what was found into the corpus")
    parser.add_argument("what", nargs="*", help="targets (all when none is named); with --run, files")
    options = parser.parse_args(arguments)
    if options.run:
        for file in options.what:
            TARGETS[options.run](Path(file).read_bytes())
            print(f"{file}: as it should be")
        return 0
    unknown = set(options.what) - TARGETS.keys() - {LIVES}
    if unknown or options.seconds < 1:
        parser.error(f"targets are {', '.join(TARGETS)}, {LIVES}, and a run takes a second at least")
    names = options.what or [*TARGETS, LIVES]
    if options.grow:
        for name in TARGETS.keys() & names:
            print(f"{name}: {grow(name)} inputs kept")
        return 0
    outcomes = []
    try:
        for name in names:
            outcomes.append(live(options.seconds) if name == LIVES else fuzz(name, options.seconds))
    except KeyboardInterrupt:
        print("\ninterrupted")
    return report(outcomes)


if __name__ == "__main__":
    sys.exit(main())
