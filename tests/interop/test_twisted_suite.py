"""Twisted's own tests of spread, unmodified, on our modules: all that do not pass are named here, with the reason."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Final

import pytest

from tests.interop.twisted_env import CHECKOUT
from tests.library import PYTHONPATH

#: A test that starts to pass must leave this list.
NOT_PASSED: Final = {
    "test_pb.BrokerTests.test_tooManyRefs": (
        "Twisted hangs up on a peer that asks an honest exporter for 1024 objects; here an exporter may give "
        "Limits.references_exported, and beyond that the one answer fails and the connection is kept"
    ),
    "test_pb.BrokerTests.test_result": (
        "a server calls before the client has picked a dialect, and Twisted sends it at once in the hope that any "
        "will do; here the call waits until a dialect is agreed on, one round trip later than the test looks"
    ),
}


@pytest.fixture(scope="module")
def outcomes() -> dict[str, str]:
    """Every test of Twisted's by its name, and "passed" or what went wrong. They use global state: a process apart."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.interop.twisted_suite"],
        cwd=CHECKOUT,
        env={"PYTHONPATH": PYTHONPATH, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_all_pass_but_those_that_are_named(outcomes: dict[str, str]) -> None:
    failed = {name: text for name, text in outcomes.items() if text != "passed"}
    unexpected = {name: text for name, text in failed.items() if name not in NOT_PASSED}
    assert not unexpected, unexpected


def test_those_that_are_named_do_not_pass(outcomes: dict[str, str]) -> None:
    assert {name for name in NOT_PASSED if outcomes[name] == "passed"} == set()


def test_there_are_as_many_as_there_should_be(outcomes: dict[str, str]) -> None:
    """Fewer would mean that Twisted's tests were not found; 26.10 has 134."""
    assert len(outcomes) >= 134
    assert sum(text == "passed" for text in outcomes.values()) >= 130
