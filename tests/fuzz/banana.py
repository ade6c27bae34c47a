"""Any bytes are values of banana or a ProtocolError, nothing else; and the same for any cuts, in time.

The native path, where it is installed, reads the same as the Python alone.

The first byte selects the vocabulary and the limits, the second the cuts.
"""

from __future__ import annotations

from collections.abc import Iterable

from perspective_broker import Limits, ProtocolError
from perspective_broker.dialects.classic.banana import NEED_MORE, Decoder, encode
from perspective_broker.dialects.classic.vocabulary import NONE, PB
from perspective_broker.native_path import NATIVE
from tests.fuzz.budget import Meter, judged
from tests.fuzz.describing import TOO_DEEP, describe
from tests.fuzz.draw import Draw, cuts

__all__ = ["LIMITS", "target"]

#: The usual ones, and some that a few bytes can break.
LIMITS = (
    Limits(),
    Limits(depth=4, nodes=30, list_items=8, string_bytes=20, message_bytes=60, int_bits=40),
)


def read(
    chunks: Iterable[bytes],
    limits: Limits,
    words: bool,
    meter: Meter | None = None,
    natively: bool = True,
) -> tuple[list[str], str]:
    """Return the values of bytes, and their end: the code of an error, or the open rest of a value."""
    decoder = Decoder(limits, words, natively)
    found = []
    meter = meter or Meter()

    def following() -> object:
        with meter:
            return decoder.next()

    try:
        for chunk in chunks:
            decoder.receive_data(chunk)
            while (value := following()) is not NEED_MORE:
                text = describe(value)
                found.append(f"{decoder.last_size} {text}")
                written = encode(value, PB if words else NONE, limits)
                again = Decoder(limits, words)
                again.receive_data(written)
                assert text == TOO_DEEP or describe(again.next()) == text, (
                    "written and read it is another value"
                )
    except ProtocolError as error:
        return found, error.code
    return found, f"{decoder.mid_message} left"


def target(data: bytes) -> None:
    draw = Draw(data)
    options, seed, sent = draw.byte(), draw.byte(), draw.rest()
    limits, words = LIMITS[options & 1], options & 2 != 0
    whole = judged(len(sent), lambda meter: read([sent], limits, words, meter))
    assert read(cuts(sent, 0), limits, words) == whole
    assert read(cuts(sent, seed), limits, words) == whole
    if NATIVE:
        assert read([sent], limits, words, natively=False) == whole
