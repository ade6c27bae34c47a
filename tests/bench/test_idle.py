"""The bench of idle connections runs, and prints what it promises."""

from __future__ import annotations

import pytest

from bench import idle


@pytest.mark.parametrize("dialect", ["pb7", "pb", "floor"])
def test_every_figure_is_there(dialect: str, capsys: pytest.CaptureFixture[str]) -> None:
    idle.main(
        ["--connections", "20", "--dialect", dialect, "--ping-seconds", "0.1", "--window", "0.3", "--by-type"]
    )
    said = capsys.readouterr().out
    figures = ["until all are open", "memory of each", "TCPTransport", "until all are closed"]
    if dialect == "pb7":
        figures += ["processor time of a ping", "keepalive at 20 s"]
    assert [figure for figure in figures if figure not in said] == []
