"""TCP: what is bound, and what is not."""

from __future__ import annotations

from perspective_broker import transports
from tests.loops import both_loops
from tests.transports.recorder import Recorder

pytestmark = both_loops


async def test_the_urls_have_the_ports_that_were_bound() -> None:
    listener = await transports.listen(transports.parse_url("tcp://127.0.0.1:0"), Recorder)
    (url,) = listener.urls
    assert transports.parse_url(url).host == "127.0.0.1"
    assert transports.parse_url(url).port > 0
    listener.close()
    await listener.wait_closed()


async def test_a_name_stays_a_name() -> None:
    listener = await transports.listen(transports.parse_url("tcp://localhost:0"), Recorder)
    assert {transports.parse_url(url).host for url in listener.urls} == {"localhost"}
    listener.close()
    await listener.wait_closed()


async def test_everywhere_shows_its_addresses() -> None:
    listener = await transports.listen(transports.parse_url("tcp://:0"), Recorder)
    hosts = {transports.parse_url(url).host for url in listener.urls}
    assert hosts <= {"0.0.0.0", "::"}
    listener.close()
    await listener.wait_closed()
