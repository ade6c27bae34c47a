"""Runs Twisted's own tests of spread, unmodified, with this library's modules standing in for ``twisted.spread``.

A program of its own: ``python -m tests.interop.twisted_suite`` prints one JSON object, test id to outcome ("passed",
or the last line of what went wrong). Nothing may have imported ``twisted.spread`` before.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from typing import Any

from perspective_broker.compat.standing_in import stand_in

SUITES = ("test_banana", "test_jelly", "test_pb", "test_pbfailure")


def main() -> None:
    # The output of Twisted's tests must not end up in the answer.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    stand_in()
    from twisted.trial.reporter import Reporter
    from twisted.trial.runner import TestLoader, TrialRunner

    outcomes: dict[str, str] = {}

    class Recorder(Reporter):
        def _note(self, test: Any, text: str) -> None:
            outcomes.setdefault(test.id().removeprefix("twisted.spread.test."), text)

        def addSuccess(self, test: Any) -> None:
            super().addSuccess(test)
            self._note(test, "passed")

        def addFailure(self, test: Any, fail: Any) -> None:
            super().addFailure(test, fail)
            self._note(test, f"{fail!r:.2000}")

        addError = addFailure

        def addSkip(self, test: Any, reason: Any) -> None:
            super().addSkip(test, reason)
            self._note(test, f"skipped: {reason}")

    with tempfile.TemporaryDirectory() as place:
        recorder: Any = Recorder  # an IReporter by behaviour
        runner: Any = TrialRunner(recorder, workingDirectory=os.path.join(place, "trial"), stream=sys.stderr)
        loader = TestLoader()
        wanted = sys.argv[1:] or [f"twisted.spread.test.{suite}" for suite in SUITES]
        runner.run(loader.loadByNames(wanted))
    json.dump(outcomes, answer)
    answer.close()


if __name__ == "__main__":
    main()
