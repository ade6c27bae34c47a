"""What the log is told of a peer, whatever that does."""

from __future__ import annotations

import logging

import pytest

from perspective_broker.session.reports import BURST, Reports


def _lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_a_flood_is_cut_off_and_summed_up_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "perspective_broker")
    reports = Reports(now=5.0)
    for number in range(BURST + 1000):
        reports.say(5.0, logging.INFO, "line %d", number)
    assert _lines(caplog) == [f"line {number}" for number in range(BURST)]
    reports.sum_up()
    assert _lines(caplog)[BURST:] == ["1000 lines about a peer were left out"]
    reports.sum_up()
    assert len(caplog.records) == BURST + 1


def test_a_line_a_second_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "perspective_broker")
    reports = Reports(now=0.0)
    for second in range(10 * BURST):
        reports.say(float(second), logging.INFO, "second %d", second)
    assert _lines(caplog) == [f"second {second}" for second in range(10 * BURST)]


def test_the_next_line_says_how_many_were_left_out(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "perspective_broker")
    reports = Reports(now=0.0)
    for _ in range(BURST + 2):
        reports.say(0.0, logging.INFO, "now")
    reports.say(1.0, logging.INFO, "later")
    assert _lines(caplog)[BURST:] == ["2 lines about a peer were left out", "later"]


def test_what_nobody_logs_costs_no_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "perspective_broker")
    reports = Reports(now=0.0)
    for _ in range(10 * BURST):
        reports.say(0.0, logging.INFO, "refused")
    reports.say(0.0, logging.ERROR, "a defect")
    assert _lines(caplog) == ["a defect"]
