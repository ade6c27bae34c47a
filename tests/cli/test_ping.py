"""``pb ping``: the dialect, the time to establish, and round trips that need no method."""

from __future__ import annotations

import re

from tests.cli.processes import Serving, pb, serving
from tests.interop.rig import twisted_server
from tests.interop.twisted_env import today

_TIME = r"[0-9.e+]+ ms"


def test_says_the_dialect_and_the_times(desk: Serving) -> None:
    done = pb("ping", desk.url, "--dialect", "pb", "--count", "3", "--interval", "0")
    assert done.returncode == 0
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert re.fullmatch(rf"{desk.url} speaks pb: established in {_TIME}", lines[0])
    assert [re.fullmatch(rf"{n}: {_TIME}", line) is not None for n, line in enumerate(lines[1:4], 1)] == [
        True
    ] * 3
    assert re.fullmatch(rf"3 round trips: minimum {_TIME}, median {_TIME}, maximum {_TIME}", lines[4])


def test_without_round_trips_it_only_establishes(desk: Serving) -> None:
    assert len(pb("ping", desk.url, "--count", "0").stdout.splitlines()) == 1


def test_a_twisted_server_answers_and_is_not_bothered() -> None:
    with twisted_server(today()) as server:
        done = pb("ping", server.tcp, "-c", "2", "-i", "0")
        assert "Traceback" not in server.logged()
    assert done.returncode == 0
    assert done.stdout.count("\n") == 4


def test_of_our_own_server_it_shows_in_the_log_only_where_that_is_verbose() -> None:
    with serving() as server:
        assert pb("ping", server.url, "-c", "1").returncode == 0
        assert server.stop() == 0
        assert server.logged() == ""


def test_a_dialect_that_is_not_spoken_there() -> None:
    with serving("desk:Desk", "--dialect", "none") as server:
        done = pb("ping", server.url, "--dialect", "pb")
    assert done.returncode == 3
    assert done.stderr.startswith(f"pb: no connection to {server.url}: ")
    assert done.stderr.count("\n") == 1


def test_a_negative_count_is_wrong_usage() -> None:
    assert pb("ping", "tcp://127.0.0.1:1", "--count", "-1").returncode == 2
