"""The greeting: the server offers dialects, the client picks one. The same for every dialect, in plain banana.

A negotiation takes the place of the dialect until both sides have agreed on one. Then it hands over the connection,
with the bytes that have already arrived after the greeting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache

from ..errors import ProtocolError
from ..limits import CONTAINER_NODES, Limits
from ..ports import DELIVERED, NEEDS_DATA, Data, Dialect, Receiver, Writer
from .classic.banana import NEED_MORE, Decoder, encode
from .classic.vocabulary import NONE

__all__ = ["Negotiation"]

#: A greeting is a list of a few short words. Nothing else is read before both sides agree on a dialect.
_MAX_GREETING_BYTES = 1024
_MAX_OFFERED = 16
_MAX_NAME_BYTES = 32


@lru_cache(maxsize=16)
def _limits_of_greeting(limits: Limits) -> Limits:
    """Return the limits of a greeting, a fraction of the connection's. (They take 30 µs to make.)"""
    return replace(
        limits,
        message_bytes=min(limits.message_bytes, _MAX_GREETING_BYTES),
        string_bytes=_MAX_NAME_BYTES,
        list_items=_MAX_OFFERED,
        nodes=_MAX_OFFERED + CONTAINER_NODES,
        depth=1,
    )


class Negotiation(Dialect):
    """Agree on a dialect, as server or as client.

    Args:
        server: whether this side accepted the connection: the server sends the offer.
        dialects: names and factories, best first.
        receiver: gets the outcome.
        limits: of the connection; those of the greeting are smaller.
    """

    def __init__(
        self,
        *,
        server: bool,
        dialects: Mapping[str, Callable[[], Dialect]],
        receiver: Receiver,
        limits: Limits,
    ) -> None:
        if not dialects:
            raise ValueError("at least one dialect is needed")
        super().__init__(Writer("", frozenset()))  # no dialect has been agreed on yet
        self._server = server
        self._dialects = dict(dialects)
        self._receiver = receiver
        self._first = True
        self._decoder = Decoder(_limits_of_greeting(limits), has_words=False)

    def use_limits(self, limits: Limits) -> None:
        """Do nothing: a greeting has limits of its own."""

    def open(self) -> None:
        """Send the offer, as server; a client waits for it."""
        if self._server:
            self._receiver.send(encode([name.encode() for name in self._dialects], NONE))

    @property
    def mid_message(self) -> int:
        return self._decoder.mid_message

    def receive_data(self, data: Data) -> None:
        """Keep bytes from the peer.

        Raises:
            ProtocolError: the first byte shows that the peer uses another protocol (HTTP, TLS, ...).
        """
        if self._first and data:
            self._first = False
            # A client answers with a short string, a server offers a list: a length below 33 comes first.
            # HTTP begins with a letter; TLS with 0x16, which is a length of 22, and its next byte is refused.
            if data[0] > _MAX_NAME_BYTES and not (data[0] == 0x80 and not self._server):
                raise ProtocolError("bad-handshake", "the peer does not speak Perspective Broker")
        self._decoder.receive_data(data)

    def next_message(self) -> int:
        """Read the greeting, if it is complete."""
        try:
            greeting = self._decoder.next()
        except ProtocolError:
            raise ProtocolError("bad-handshake", "the peer does not speak Perspective Broker") from None
        if greeting is NEED_MORE:
            return NEEDS_DATA
        chosen = self._choose_offered(greeting) if self._server else self._pick(greeting)
        self._receiver.on_dialect(self._dialects[chosen](), self._decoder.take_rest())
        return DELIVERED

    def _choose_offered(self, choice: object) -> str:
        """Return the dialect that the client has chosen from our offer."""
        name = choice.decode("ascii", "replace") if isinstance(choice, bytes) else ""
        if name not in self._dialects:
            raise ProtocolError("bad-handshake", "the peer picked a dialect that was not offered")
        return name

    def _pick(self, offer: object) -> str:
        """Choose the first of our dialects that the server offers too, and send its name."""
        if not isinstance(offer, list) or not all(isinstance(name, bytes) for name in offer):
            raise ProtocolError("bad-handshake", "a server offers a list of dialects")
        for name in self._dialects:
            if name.encode() in offer:
                self._receiver.send(encode(name.encode(), NONE))
                return name
        raise ProtocolError("no-dialect", f"the peer speaks none of {', '.join(self._dialects)}")
