"""Every example runs, as a reader would run it."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.cli.processes import PATIENCE, ROOT, environment, without_lag

EXAMPLES = ROOT / "examples"


def _example(name: str, *arguments: str) -> str:
    """Run an example to its end and return its output; it must not print errors."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, without_lag(done.stderr)) == (0, "")
    return done.stdout


@contextlib.contextmanager
def _echo_server() -> Iterator[str]:
    with subprocess.Popen(
        [sys.executable, str(EXAMPLES / "echo_server.py"), "tcp://127.0.0.1:0"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 0
        finally:
            if process.poll() is None:
                process.kill()


def test_echo() -> None:
    with _echo_server() as url:
        assert _example("echo_client.py", url).splitlines() == [
            "{'numbers': [1, 2.5], 'pair': ('a', b'raw')}",
            "[0, 1, 2]",
            "heard 'HELLO'",
            "thank you",
        ]


def test_twisted_client() -> None:
    pytest.importorskip("twisted")
    with _echo_server() as url:
        host, _, port = url.removeprefix("tcp://").partition(":")
        assert _example("twisted_client.py", host, port) == "['from', 'Twisted']\n"


def test_copyable() -> None:
    assert _example("copyable.py") == "ReceivedJob website ['fetch', 'build', 'publish'] False\n"


def test_moderators() -> None:
    assert _example("moderators.py").splitlines() == [
        "alice comes",
        "alice comes",
        "['eve', 'mallory']",
        "alice says hello in chat",
        "alice goes",
        "alice goes",
        "bob comes",
        "Member has no method 'ban' for its callers",
        "bob goes",
    ]


def test_errors() -> None:
    lines = _example("errors.py").splitlines()
    assert lines == [
        "one milk",
        "__main__.OutOfStock | no tea before Friday | a lookup failed: False",
        "builtins.KeyError | 'beans' | a lookup failed: True",
        "Shop has no method 'sell' for its callers",
        "sorry: no tea before Friday",
    ]
