"""Buildbot, master and worker, as it is installed: on our modules, and against a side that is on Twisted's own.

The master plays the scenario in `programs/master.cfg`, started by a change that Buildbot's own command sends.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.interop.buildbot_env import buildbot_bin

CONFIGURATION = Path(__file__).parent / "programs" / "master.cfg"

#: Seconds that a whole scenario may take.
PATIENCE = 240

#: Buildbot's states of a build or a step.
SUCCESS, WARNINGS, FAILURE, SKIPPED, EXCEPTION, RETRY, CANCELLED = range(7)


@pytest.fixture(scope="module")
def new_master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A master's directory, with its database; copied for every test."""
    place = tmp_path_factory.mktemp("master") / "master"
    made = [str(buildbot_bin() / "buildbot"), "create-master", "--quiet", "--relocatable", "--no-logrotate"]
    subprocess.run([*made, str(place)], check=True)
    shutil.copy(CONFIGURATION, place)
    return place


def command(ours: bool, name: str) -> list[str]:
    """Return the start of a command line: on our modules, or as it is."""
    where = buildbot_bin()
    return [str(where / "python"), "-m", "perspective_broker.compat", name] if ours else [str(where / name)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def started(
    arguments: list[str], environment: dict[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(arguments, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def wait_for(event: str, events: Path, processes: dict[str, subprocess.Popen[bytes]], until: float) -> None:
    """Wait until the master has noted ``event``, as long as everybody lives."""
    while not (events.exists() and event in events.read_text().splitlines()):
        gone = [name for name, process in processes.items() if process.poll() is not None]
        assert not gone, f"{gone} ended before {event!r}"
        assert time.monotonic() < until, f"no {event!r} in time"
        time.sleep(0.05)  # another process's file: there is nothing to wait on


def play(place: Path, new_master: Path, *, our_master: bool, our_worker: bool) -> dict[str, Any]:
    """Play the scenario and return what the master saw."""
    port = str(free_port())
    shutil.copytree(new_master, place / "master")
    (place / "sent").write_text("".join(f"{number} bottles\n" for number in range(20_000)))
    worker = place / "worker"
    made = [str(buildbot_bin() / "buildbot-worker"), "create-worker", "--quiet", str(worker)]
    subprocess.run([*made, f"127.0.0.1:{port}", "worker1", "secret"], check=True)
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
        "SCENARIO": str(place),
        "PYTHON": str(buildbot_bin() / "python"),
        "PORT": port,
    }
    until = time.monotonic() + PATIENCE
    logs = {"master": place / "master.log", "worker": place / "worker.log"}
    processes: dict[str, subprocess.Popen[bytes]] = {}
    with ExitStack() as stack:

        def start(name: str, *arguments: str) -> None:
            processes[name] = stack.enter_context(started([*arguments], environment, logs[name]))

        try:
            start("master", *command(our_master, "buildbot"), "start", "--nodaemon", str(place / "master"))
            wait_for(
                "started", place / "events", processes, until
            )  # a worker that finds no master waits a while
            start("worker", *command(our_worker, "buildbot-worker"), "start", "--nodaemon", str(worker))
            wait_for("attached", place / "events", processes, until)
            change = ["--master", f"127.0.0.1:{port}", "--auth", "changer:changing", "--who", "somebody"]
            subprocess.run(
                [*command(our_worker, "buildbot"), "sendchange", *change, "a_file"],
                env=environment,
                check=True,
                timeout=PATIENCE,
                capture_output=True,
            )
            ends = {
                name: process.wait(max(1, until - time.monotonic())) for name, process in processes.items()
            }
        except BaseException:
            for name in ("master", "worker"):
                found = place / name / "twistd.log"
                print(f"--- {name}\n", found.read_text()[-6000:] if found.exists() else "no log")
            raise
    assert ends == {"master": 0, "worker": 0}
    seen: dict[str, Any] = json.loads((place / "seen.json").read_text())
    return seen


@pytest.mark.parametrize(
    ("our_master", "our_worker"),
    [(True, True), (True, False), (False, True)],
    ids=["both on ours", "master on ours", "worker on ours"],
)
def test_a_build_is_run_and_another_cancelled(
    tmp_path: Path, new_master: Path, our_master: bool, our_worker: bool
) -> None:
    seen = play(tmp_path, new_master, our_master=our_master, our_worker=our_worker)
    assert seen["events"] == [
        "started",
        "attached",
        "heard the first line before the last",
        "work finished",
        "stopping",
        "hang finished",
        "shutting the worker down",
        "detached",
    ]
    work, hang = seen["builds"]["work"], seen["builds"]["hang"]
    results = {name: step["results"] for name, step in work["steps"].items()}
    expected = dict.fromkeys(results, SUCCESS)
    assert results == {**expected, "fail": FAILURE, "missing": FAILURE}
    output = work["steps"]["stream"]["logs"]["stdio"]
    assert output.index("\nofirst line\n") < output.index("\nolast line\n")
    assert "ea warning\n" in output
    assert "oit broke\n" in work["steps"]["fail"]["logs"]["stdio"]
    assert "note: 'written by the master'" in work["steps"]["property"]["logs"]["property changes"]

    sent = (tmp_path / "sent").read_text().splitlines()
    assert (tmp_path / "returned").read_text().splitlines() == [line[::-1] for line in sent]
    assert {file.name: file.read_text() for file in (tmp_path / "many").iterdir()} == {
        "1": "1\n",
        "2": "2\n",
        "3": "3\n",
    }

    assert hang["results"] == CANCELLED
    assert hang["steps"]["hang"]["results"] == CANCELLED
    assert "never" not in hang["steps"] or hang["steps"]["never"]["results"] in (SKIPPED, CANCELLED, None)
