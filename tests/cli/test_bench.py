"""``pb bench`` in processes of its own. How fast is not tested, only what is shown."""

from __future__ import annotations

import json

import pytest

from perspective_broker.cli.bench import Times
from tests.cli.processes import Serving, pb


def test_a_line_for_each_number(desk: Serving) -> None:
    done = pb("bench", desk.url, "echo", "x", "--seconds", "0.1", "--in-flight", "1,1000")
    assert (done.returncode, done.stderr) == (0, "")
    head, one, many = done.stdout.splitlines()
    assert head.split() == ["in", "flight", "calls/s", "p50", "p99", "slowest"]
    assert one.split()[0] == "1"
    assert many.split()[0] == "1,000"
    assert len(one) == len(many) == len(head)


def test_json(desk: Serving) -> None:
    done = pb(
        "bench", desk.url, "echo", "--data", '{"a": 1}', "--seconds", "0.1", "--in-flight", "3", "--json"
    )
    found = json.loads(done.stdout)
    assert found["in_flight"] == 3
    assert found["calls"] >= 3
    assert 0 < found["p50"] <= found["p99"] <= found["slowest"]
    assert found["calls_per_second"] > 0


@pytest.mark.parametrize("text", ["", "0", "1,,2", "many", "-1", "10001", "1;2"])
def test_numbers_that_are_none(text: str) -> None:
    done = pb("bench", "tcp://127.0.0.1:1", "echo", "--in-flight", text)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--in-flight takes numbers from 1 to 10000, such as 1,100; not " in done.stderr


def test_a_method_that_fails_is_not_measured(desk: Serving) -> None:
    done = pb("bench", desk.url, "fail", "no")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "pb: ValueError: no\n")
    assert pb("bench", desk.url, "hang", "--timeout", "1").returncode == 3
    assert pb("bench", desk.url, "echo", "--seconds", "0").returncode == 2


def test_a_method_that_stops_answering_ends_it(desk: Serving) -> None:
    done = pb("bench", desk.url, "tire", "--seconds", "0.1", "--in-flight", "5", "--timeout", "1")
    assert done.returncode == 3
    assert done.stderr == f"pb: {desk.url} did not answer 'tire' within 1 s\n"


def test_times_are_counted_to_a_percent() -> None:
    times = Times()
    assert times.within(0.99) == 0
    for milliseconds in range(1, 1001):
        times.add(milliseconds / 1000)
    assert len(times) == 1000
    assert times.within(0.5) == pytest.approx(0.5, rel=0.011)
    assert times.within(0.99) == pytest.approx(0.99, rel=0.011)
    assert times.within(1) == times.slowest == 1
    times.add(0)
    assert times.within(0.0001) == pytest.approx(1e-6, rel=0.011)
