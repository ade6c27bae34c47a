"""The demo of the whole: it ends by itself, shows the same every time, and leaves nothing behind."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.cli.processes import PATIENCE, ROOT, environment, without_lag

DEMO = ROOT / "examples" / "demo.py"


def play(directory: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the demo with ``directory`` for its temporary files."""
    return subprocess.run(
        [sys.executable, str(DEMO)],
        capture_output=True,
        text=True,
        env=environment(TMPDIR=directory, **env),
        timeout=2 * PATIENCE,
        check=False,
    )


def told(output: str) -> dict[str, list[str]]:
    """Return the lines of each process."""
    lines: dict[str, list[str]] = {}
    for who, text in re.findall(r"^ +(\w+) \| (.*)$", output, re.MULTILINE):
        lines.setdefault(who, []).append(text)
    return lines


def without_numbers(output: str) -> str:
    """Replace the parts that differ from run to run: ports, directories and sizes."""
    return re.sub(r"pb-demo-\w+|\d+(?= bytes| received| messages)|(?<=localhost:)\d+", "*", output)


def test_the_demo_ends_well_shows_the_same_every_time_and_leaves_nothing() -> None:
    with tempfile.TemporaryDirectory(prefix="pb-") as directory:
        first, second = play(directory), play(directory)
        for done in (first, second):
            assert (done.returncode, without_lag(done.stderr)) == (0, ""), done.stderr
        assert without_numbers(first.stdout) == without_numbers(second.stdout)
        assert list(Path(directory).iterdir()) == []

    alice, bob = (told(first.stdout)[name] for name in ("alice", "bob"))
    assert (
        "logged in over TLSv1.3, at a server that proved to be localhost, bound to the channel; we speak pb7"
        in alice
    )
    assert bob[0].startswith(
        "did not connect: the peer's certificate is signed by an authority that we do not"
    )
    assert "logged in over a Unix socket; we speak pb" in bob
    assert "logs in as bob with 'open sesame': the login was refused" in bob
    assert "hears  <alice> hello, bob" in bob
    assert "hears  <bob> hello. I am alice, by the way!" in alice
    assert "rolled the dice of bob and saw 6" in alice
    assert "refused: bob has no key for the vault" in bob
    assert [line for line in alice if line.startswith("roster")] == [
        "roster, all of it: alice",
        "roster, a change: alice, bob",
    ]
    assert [line for line in bob if line.startswith("roster")] == [
        "roster, all of it: alice, bob",
        "roster, a change: bob",
    ]


def test_the_demo_can_be_interrupted() -> None:
    with tempfile.TemporaryDirectory(prefix="pb-") as directory:
        with subprocess.Popen(
            [sys.executable, str(DEMO)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(TMPDIR=directory, PYTHONUNBUFFERED="1"),
        ) as process:
            assert process.stdout is not None
            while "broker" not in process.stdout.readline():
                pass
            process.send_signal(signal.SIGINT)
            _, complaints = process.communicate(timeout=PATIENCE)
        assert (process.returncode, without_lag(complaints)) == (130, "")
        assert list(Path(directory).iterdir()) == []


def test_the_demo_says_so_when_one_of_its_processes_dies() -> None:
    # Without the library that makes certificates the broker cannot begin.
    with tempfile.TemporaryDirectory(prefix="pb-") as directory:
        Path(directory, "cryptography.py").write_text("raise ImportError('not here')\n")
        done = play(directory, PYTHONPATH=f"{directory}:{ROOT / 'src'}")
        assert done.returncode == 1
        assert "ImportError: not here" in done.stderr
        assert "a process ended too early" in done.stderr
        assert [path.name for path in Path(directory).iterdir()] == ["cryptography.py"]
