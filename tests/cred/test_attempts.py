"""The table of failed logins: it grows delays, forgets, and stays small."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perspective_broker.cred import AttemptTable
from perspective_broker.cred.attempts import SourceTable


def delays(table: AttemptTable, name: str, count: int, now: float = 0.0) -> list[float]:
    found = []
    for _ in range(count):
        table.record_failure(name, now)
        found.append(table.delay_for(name, now))
    return found


def test_the_delay_grows_to_a_minute() -> None:
    table = AttemptTable()
    assert delays(table, "alice", 12) == [0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert delays(table, "alice", 2000)[-1] == 60
    assert table.delay_for("alice", 59.0) == 1.0
    assert table.delay_for("alice", 61.0) == 0.0
    # Having waited does not make the next failure cheaper.
    assert delays(table, "alice", 1, now=61.0) == [60]


def test_success_and_time_forgive() -> None:
    table = AttemptTable()
    delays(table, "alice", 8)
    table.record_success("alice")
    assert delays(table, "alice", 3) == [0, 0, 0]
    delays(table, "alice", 8)
    assert delays(table, "alice", 3, now=901.0) == [0, 0, 0]
    table.record_success("nobody")


def test_a_clock_that_goes_back_does_not_lengthen_the_wait() -> None:
    table = AttemptTable()
    delays(table, "alice", 4, now=1000.0)
    assert table.delay_for("alice", 0.0) == 1.0


def test_a_flood_neither_fills_memory_nor_frees_the_one_under_attack() -> None:
    table = AttemptTable(capacity=64)
    delays(table, "alice", 6)
    for number in range(10_000):
        table.record_failure(f"invented{number}" * 100, 0.0)
    assert len(table) == 64
    assert table.delay_for("alice", 0.0) == 4.0
    # Failing twice per name does push others out, at the promised price.
    for number in range(47):
        delays(table, f"repeated{number}", 2)
    assert table.delay_for("alice", 0.0) == 4.0
    delays(table, "one more", 2)
    assert table.delay_for("alice", 0.0) == 0.0


def test_capacity() -> None:
    with pytest.raises(ValueError, match="at least 4"):
        AttemptTable(capacity=3)


@given(
    st.integers(4, 12),
    st.lists(
        st.tuples(st.sampled_from(["fail", "succeed", "wait"]), st.text("abcdefgh\ud800", max_size=2)),
        max_size=200,
    ),
)
def test_bounded_and_never_negative(capacity: int, steps: list[tuple[str, str]]) -> None:
    table = AttemptTable(capacity)
    now = 0.0
    for action, name in steps:
        match action:
            case "fail":
                table.record_failure(name, now)
            case "succeed":
                table.record_success(name)
                assert table.delay_for(name, now) == 0.0
            case _:
                now += 7.0 ** len(name)
        assert len(table) <= capacity
        assert 0.0 <= table.delay_for(name, now) <= 60.0


# -- by source


def test_a_bucket_is_emptied_by_failures_and_filled_by_time() -> None:
    table = SourceTable()
    for _ in range(32):
        assert not table.is_exhausted("192.0.2.1", 0.0)
        table.record_failure("192.0.2.1", 0.0)
    assert table.is_exhausted("192.0.2.1", 0.0)
    assert not table.is_exhausted("192.0.2.2", 0.0)
    assert table.is_exhausted("192.0.2.1", 29.0)
    assert not table.is_exhausted("192.0.2.1", 30.0)
    table.record_failure("192.0.2.1", 30.0)
    assert table.is_exhausted("192.0.2.1", 59.0)
    assert table.is_exhausted("192.0.2.1", 0.0)  # a clock that goes back fills nothing
    assert not table.is_exhausted("192.0.2.1", 30.0 + 32 * 30)


def test_a_source_is_clean_a_quarter_of_an_hour_after_its_last_failure() -> None:
    table = SourceTable()
    assert table.is_clean("192.0.2.1", 0.0)
    table.record_failure("192.0.2.1", 0.0)
    table.record_failure("192.0.2.1", 600.0)
    assert not table.is_clean("192.0.2.1", 1500.0)  # though time has filled the bucket
    assert table.is_clean("192.0.2.1", 1501.0)


def test_sources_that_are_remembered_are_bounded() -> None:
    table = SourceTable(capacity=8)
    for number in range(100):
        table.record_failure("192.0.2.1", 0.0)
        table.record_failure(f"198.51.100.{number}", 0.0)
    assert len(table) == 8
    assert table.is_exhausted("192.0.2.1", 0.0)
