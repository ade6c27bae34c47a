"""The log records about a peer, whatever the peer does."""

from __future__ import annotations

import logging

import pytest

import perspective_broker as pb
from perspective_broker.session.reports import (
    BURST,
    BURST_OF_ALL,
    RATE_OF_ALL,
    Allowance,
    Reports,
    SharedAllowance,
)


def _lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_a_flood_is_cut_off_and_summed_up_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "perspective_broker")
    reports = Reports()
    for number in range(BURST + 1000):
        reports.say(5.0, logging.INFO, "line %d", number)
    assert _lines(caplog) == [f"somebody: line {number}" for number in range(BURST)]
    reports.sum_up()
    assert _lines(caplog)[BURST:] == ["1000 lines about one peer were left out"]
    reports.sum_up()
    assert len(caplog.records) == BURST + 1


def test_a_line_a_second_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "perspective_broker")
    reports = Reports()
    for second in range(10 * BURST):
        reports.say(float(second), logging.INFO, "second %d", second)
    assert _lines(caplog) == [f"somebody: second {second}" for second in range(10 * BURST)]


def test_the_next_line_says_how_many_were_left_out(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "perspective_broker")
    reports = Reports()
    for _ in range(BURST + 2):
        reports.say(0.0, logging.INFO, "now")
    reports.say(1.0, logging.INFO, "later")
    assert _lines(caplog)[BURST:] == ["2 lines about one peer were left out", "somebody: later"]


def test_what_nobody_logs_costs_no_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "perspective_broker")
    reports = Reports()
    for _ in range(10 * BURST):
        reports.say(0.0, logging.INFO, "refused")
    reports.say(0.0, logging.ERROR, "a defect")
    assert _lines(caplog) == ["somebody: a defect"]


def test_a_line_says_whom_it_is_about(caplog: pytest.LogCaptureFixture) -> None:
    reports = Reports()
    reports.peer = "192.0.2.1:4711"
    reports.say(0.0, logging.WARNING, "%d %s", 100, "%")
    assert _lines(caplog) == ["192.0.2.1:4711: 100 %"]


def test_peers_that_come_again_and_again_share_what_is_logged_of_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "perspective_broker")
    allowance = SharedAllowance(now=0.0)
    for _ in range(BURST_OF_ALL + 100):
        Reports(allowance).say(0.0, logging.WARNING, "closing")
    assert _lines(caplog) == ["somebody: closing"] * BURST_OF_ALL
    Reports(allowance).say(1 / RATE_OF_ALL, logging.WARNING, "closing")
    assert _lines(caplog)[BURST_OF_ALL:] == [
        "100 lines about several peers were left out",
        "somebody: closing",
    ]


def test_an_error_of_our_own_is_not_kept_quiet_by_what_strangers_do(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "perspective_broker")
    allowance = SharedAllowance(now=0.0)
    for _ in range(BURST_OF_ALL + 1):
        Reports(allowance).say(0.0, logging.INFO, "refused")
    for _ in range(BURST_OF_ALL + 1):
        Reports(allowance).say(0.0, logging.ERROR, "a defect")
    assert _lines(caplog).count("somebody: a defect") == BURST_OF_ALL
    allowance.sum_up()
    assert _lines(caplog)[-2:] == ["1 lines about several peers were left out"] * 2


def test_a_clock_that_one_peer_is_behind_gives_nothing_twice() -> None:
    """Each connection's time is that of its peer's last bytes."""
    allowance = Allowance(0.0, 1, 1.0, "one peer")
    assert allowance.take(10.0)
    assert not allowance.take(3.0)
    assert not allowance.take(10.5)
    assert allowance.take(11.0)


def _raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


def test_a_traceback_is_logged_as_it_is_where_no_peer_can_have_made_its_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    Reports().say(0.0, logging.ERROR, "method raised", error=_raised(KeyError("a defect")))
    (record,) = caplog.records
    assert record.exc_info is not None
    assert "Traceback" in caplog.text


@pytest.mark.parametrize(
    "text", ["x" * 100_000, "forged\n2026-11-26 ERROR somebody: all is lost", "\x1b[2Jgone", "\u202egnorts"]
)
def test_of_what_a_peer_says_a_bounded_and_escaped_part_is_logged(
    text: str, caplog: pytest.LogCaptureFixture
) -> None:
    error = _raised(pb.RemoteError("their.Error", text))
    error.__cause__ = _raised(ValueError(text))
    Reports().say(0.0, logging.ERROR, "method raised", error=error)
    (record,) = caplog.records
    logged = record.getMessage()
    assert record.exc_info is None
    assert "_raised" in logged  # the error has its frames
    assert len(logged) < 4096
    assert all(line.isprintable() for line in logged.splitlines())
    assert not any(line.startswith("2026") for line in logged.splitlines())


def test_what_a_connection_left_out_counts_among_what_all_may_say(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "perspective_broker")
    allowance = SharedAllowance(now=0.0)
    for _ in range(100):
        reports = Reports(allowance)
        for _ in range(BURST + 1):
            reports.say(0.0, logging.INFO, "refused")
        reports.sum_up()
    assert len(caplog.records) <= BURST_OF_ALL
