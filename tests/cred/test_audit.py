"""The audit trail: one line for each login, with the true reason and no word of the peer's."""

from __future__ import annotations

import logging
import re

import pytest

import perspective_broker as pb
from perspective_broker.cred.audit import LINES, MINUTE
from tests.cred.logins import Chat, application, serving, skip, skipping, turns


def trail(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.getMessage().startswith("login")]


async def test_each_login_has_its_line_with_the_true_reason(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with serving(await application(Chat())) as (_, connect):
        async with connect(username="alice", password="secret", service="chat") as me:
            assert me.connection.user is None  # the client's side
        for name, password, service in (
            ("alice", "wrong", "chat"),
            ("hunter2", "secret", "chat"),
            ("alice", "secret", "nowhere"),
        ):
            with pytest.raises(pb.LoginFailed):
                await connect(username=name, password=password, service=service)
        await turns()
    said = [record.getMessage() for record in trail(caplog)]
    where = "from memory:logins"
    assert said[:2] == [
        f"login accepted: 'alice' by SCRAM {where}",
        f"login refused: 'alice' by SCRAM {where}: wrong password",
    ]
    assert re.fullmatch(f"login refused: unknown-[0-9a-f]{{12}} by SCRAM {where}: unknown user", said[2])
    assert said[3:] == [
        f"login accepted: 'alice' by SCRAM {where}",
        f"login refused: 'alice' by key {where}: no such service",
    ]
    assert "hunter2" not in caplog.text
    assert [record.levelname for record in trail(caplog)[:2]] == ["INFO", "WARNING"]
    assert vars(trail(caplog)[0])["pb_user"] == "alice"
    assert vars(trail(caplog)[0])["pb_peer"] == "memory:logins"
    assert vars(trail(caplog)[1])["pb_code"] == "login-refused"


@skipping
async def test_beyond_the_rate_there_is_one_line_with_their_number(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(await application(Chat())) as (_, connect):
        for _ in range(LINES + 5):
            with pytest.raises((pb.LoginFailed, pb.Unavailable)):
                await connect(username=f"x{_}", password="wrong", service="chat")
        await turns()
        assert len(trail(caplog)) == LINES
        await skip(MINUTE)
        await turns()
    assert trail(caplog)[-1].getMessage() == "logins refused: 5 more from this machine within a minute"
