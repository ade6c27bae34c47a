"""An exception that nothing expects ends its own connection, with one record in the log; the core raises nothing."""

from __future__ import annotations

import logging

import pytest

import perspective_broker as pb
from perspective_broker.session import Phase
from perspective_broker.testing import BrokerPair, End, Outcome, broker_leaks
from tests.broken import break_dialect

from .objects import Desk, Thing, make_pair

DEFECT = "somebody: closing the connection because of an error in this library"


def broken(pair: BrokerPair, where: str) -> End:
    """Return the server's end, whose dialect is broken from now on."""
    break_dialect(pair.server.broker, where)
    return pair.server


def act(end: End, data: bytes) -> None:
    """Call every method that a driver calls because of a peer's bytes or of time."""
    broker = end.broker
    broker.receive_data(data, end.clock.now)
    broker.process(64, end.clock.now)
    broker.handle_deadline(end.clock.now + 1000)
    broker.data_to_send()
    broker.receive_eof()


def seen(end: End) -> BaseException | None:
    """Return the defect of one end, and remove it so that the test can pass."""
    defect, end.defect = end.defect, None
    return defect


@pytest.mark.parametrize(
    "where",
    ["receive_data", "next_message", "mid_message", "last_size", "encode_releases", "has"],
)
def test_a_defect_ends_its_connection_and_is_logged_once(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "perspective_broker")
    desk = Desk()
    with make_pair(desk) as pair, make_pair() as other:
        pair.call("keep", Thing())
        running = pair.root.call("later")
        pair.run()
        desk.kept.clear()
        pair.root.call("echo", 1)
        data = pair.client.take()
        end = broken(pair, where)
        act(end, data)
        assert (end.code, end.broker.lifecycle.phase) == ("internal", Phase.CLOSED)
        with pytest.raises(AssertionError, match="the core raised"):
            end.check()
        assert isinstance(seen(end), ZeroDivisionError)
        assert [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR] == [
            DEFECT
        ]
        assert caplog.records[-1].exc_info
        act(end, data)
        assert len(caplog.records) == 1
        assert not broker_leaks(end.broker)
        assert other.call("echo", 2) == 2
        pair.link.cut()
        with pytest.raises(pb.ConnectionLost):
            running.result()


@pytest.mark.modern
def test_the_peer_is_told_that_the_error_is_not_its_own() -> None:
    with make_pair() as pair:
        call = pair.root.call("echo", 1)
        data = pair.client.take()
        end = broken(pair, "next_message")
        end.broker.receive_data(data, end.clock.now)
        end.broker.process(64, end.clock.now)
        pair.client.receive(b"".join(end.broker.data_to_send()))
        assert pair.client.code == "internal"
        pair.client.check()
        assert isinstance(seen(end), ZeroDivisionError)
        with pytest.raises(pb.ConnectionLost, match="an error of its own"):
            call.result()


@pytest.mark.modern
def test_a_defect_in_the_farewell_does_not_keep_the_connection() -> None:
    with make_pair() as pair:
        end = broken(pair, "encode_farewell")
        break_dialect(end.broker, "next_message")
        act(end, pair.client.take() or b"x")
        assert end.code == "internal"
        assert isinstance(seen(end), ZeroDivisionError)
        pair.link.cut()


def test_a_defect_in_the_end_is_logged_and_the_driver_hears_of_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Deaf(Outcome):
        def fail(self, error: Exception) -> None:
            raise ZeroDivisionError("a defect")

    with make_pair(Desk()) as pair:
        end = pair.client
        end.broker.outgoing.call(pair.root, "later", (), {}, Deaf())
        end.broker.receive_data(b"\x88" * 200, end.clock.now)
        end.broker.process(64, end.clock.now)
        assert end.cause is not None
        assert isinstance(seen(end), ZeroDivisionError)
        assert caplog.messages[-1] == DEFECT
        pair.link.cut()


def test_the_code_of_a_farewell_is_no_defect_of_this_side() -> None:
    with make_pair() as pair:
        pair.server.broker.close("internal", "what it says")
        pair.run()
        pair.client.check()
