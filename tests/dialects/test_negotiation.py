"""The greeting in both roles: agreements, and errors that end the connection."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import pytest

from perspective_broker import Limits, ProtocolError
from perspective_broker.dialects import Negotiation
from perspective_broker.dialects.classic import NONE
from perspective_broker.dialects.classic.banana import encode
from perspective_broker.ports import Dialect, Message, Receiver, Writer
from perspective_broker.testing import BrokerPair

#: The beginning of a TLS client's hello, up to the first byte that a greeting cannot contain.
TLS_HELLO = bytes.fromhex("16030102000100 01fc0303".replace(" ", ""))
NAMES = ("pb7", "pb", "none")


class Named(Dialect):
    """A dialect of which only the name is used."""

    def __init__(self, name: str) -> None:
        super().__init__(Writer(name, frozenset()))


class Side(Receiver):
    """One side of a greeting: the bytes that it has sent, and the name and the rest that it agreed on."""

    def __init__(self, *, server: bool, dialects: Iterable[str] = NAMES) -> None:
        self.said = b""
        self.agreed: tuple[str, bytes] | None = None
        makers = {name: partial(Named, name) for name in dialects}
        self.negotiation = Negotiation(server=server, dialects=makers, receiver=self, limits=Limits())
        self.negotiation.open()

    def send(self, data: Message) -> None:
        assert isinstance(data, bytes)
        self.said += data

    def on_dialect(self, dialect: Dialect, rest: bytes) -> None:
        assert self.agreed is None
        self.agreed = dialect.name, rest

    def hear(self, *chunks: bytes) -> tuple[str, bytes] | None:
        for chunk in chunks:
            self.negotiation.receive_data(chunk)
            if self.negotiation.next_message():
                break
        return self.agreed


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def test_the_server_speaks_first_and_offers_what_it_has_best_first() -> None:
    assert Side(server=True).said == encode([b"pb7", b"pb", b"none"], NONE)
    assert Side(server=True, dialects=["none"]).said == encode([b"none"], NONE)
    assert Side(server=False).said == b""


@pytest.mark.parametrize("name", NAMES)
def test_the_client_chooses_and_the_server_follows(name: str) -> None:
    server = Side(server=True)
    assert server.hear(encode(name.encode()) + b"the rest") == (name, b"the rest")


@pytest.mark.parametrize(
    ("offer", "ours", "chosen"),
    [
        ([b"pb", b"none"], NAMES, "pb"),
        ([b"none", b"pb"], NAMES, "pb"),
        ([b"pb7", b"pb", b"none"], NAMES, "pb7"),
        ([b"pb9", b"none"], NAMES, "none"),
        ([b"pb7", b"pb"], ["none", "pb"], "pb"),
        ([b"pb"] * 16, NAMES, "pb"),
    ],
)
def test_the_client_picks_the_best_of_its_own_that_is_offered(
    offer: list[bytes], ours: list[str], chosen: str
) -> None:
    client = Side(server=False, dialects=ours)
    assert client.hear(encode(offer) + b"\x02\x80") == (chosen, b"\x02\x80")
    assert client.said == encode(chosen.encode())


@pytest.mark.parametrize("server", [True, False])
def test_a_greeting_in_every_cut(server: bool) -> None:
    greeting = encode(b"pb") if server else encode([b"pb", b"none"])
    for cut in range(1, len(greeting)):
        assert Side(server=server).hear(greeting[:cut], greeting[cut:]) == ("pb", b"")
    assert Side(server=server).hear(*bytewise(greeting + b"x")) == ("pb", b"")
    side = Side(server=server)
    assert side.hear(*bytewise(greeting[:-1])) is None
    assert side.negotiation.mid_message == len(greeting) - 1


FOREIGN: dict[str, bytes] = {
    "an HTTP request": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "an HTTP answer": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
    "a TLS hello": TLS_HELLO,
    "zeroes": b"\x00" * 65,
    "a list too long": encode([b"pb"] * 17),
    "a list in a list": encode([[b"pb"]]),
    "a long name": encode(b"x" * 33),
    "names that never end": encode([b"x" * 32] * 16) * 4,
    "a vocabulary word": b"\x01\x87",
    "an unknown type": b"\x01\x88",
    "an int": b"\x05\x81",
    "a float": b"\x84" + b"\x00" * 8,
}


@pytest.mark.parametrize("chop", [lambda data: [data], bytewise], ids=["whole", "bytewise"])
@pytest.mark.parametrize("server", [True, False])
@pytest.mark.parametrize("data", FOREIGN.values(), ids=FOREIGN)
def test_another_protocol_is_found_out(data: bytes, server: bool, chop: Any) -> None:
    with pytest.raises(ProtocolError) as refusal:
        Side(server=server).hear(*chop(data))
    assert refusal.value.code in ("bad-handshake", "no-dialect")
    assert len(refusal.value.reason) < 100


@pytest.mark.parametrize("first", [b"G", b"H", b"P", b"S", b"{", b"\x81", b"\xff", b"\x21"])
@pytest.mark.parametrize("server", [True, False])
def test_the_first_byte_is_enough(first: bytes, server: bool) -> None:
    with pytest.raises(ProtocolError, match="bad-handshake"):
        Side(server=server).negotiation.receive_data(first)


@pytest.mark.parametrize("choice", [b"pb8", b"", b"PB", b"pb\x00", [b"pb"], [], 7])
def test_what_was_not_offered_cannot_be_chosen(choice: Any) -> None:
    with pytest.raises(ProtocolError, match="bad-handshake"):
        Side(server=True).hear(encode(choice))
    with pytest.raises(ProtocolError, match="bad-handshake"):
        Side(server=True, dialects=["none"]).hear(encode(b"pb"))


@pytest.mark.parametrize("offer", [b"pb", 7, [1, 2], [b"pb", 1]], ids=repr)
def test_an_offer_is_a_list_of_names(offer: Any) -> None:
    with pytest.raises(ProtocolError, match="bad-handshake"):
        Side(server=False).hear(encode(offer))


@pytest.mark.parametrize("offer", [[], [b"pb9"], [b"PB", b"pb "]])
def test_no_dialect_in_common(offer: list[bytes]) -> None:
    client = Side(server=False)
    with pytest.raises(ProtocolError) as refusal:
        client.hear(encode(offer))
    assert refusal.value.code == "no-dialect"
    assert client.said == b""


def test_a_side_without_dialects_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Side(server=True, dialects=[])


# -- with brokers around


@pytest.mark.parametrize(
    "data", [FOREIGN["an HTTP request"], TLS_HELLO, b"\x02\x80"], ids=["http", "tls", "message"]
)
def test_a_broker_closes_with_the_code(data: bytes) -> None:
    pair = BrokerPair(established=False)
    pair.server.receive(data)
    if data == b"\x02\x80":  # the beginning of a message, which may be a greeting as long as it is incomplete
        pair.server.receive(encode([b"version", 6])[2:])
    assert pair.server.code == "bad-handshake"


def test_silence_ends_with_the_handshake_deadline() -> None:
    for said in (b"", b"\x02"):
        pair = BrokerPair(established=False)
        pair.server.receive(said)
        pair.advance(9.9)
        assert pair.server.code == ""
        pair.advance(0.1)
        assert pair.server.code == "handshake-timeout"


def test_a_greeting_in_the_middle_of_a_session_is_fatal() -> None:
    for greeting in (encode(b"pb"), encode([b"pb", b"none"])):
        pair = BrokerPair(dialects=["pb"])
        pair.server.receive(greeting)
        assert pair.server.code == ("bad-message" if greeting == encode(b"pb") else "")
        pair.link.cut()
