"""Any bytes in place of a message of SCRAM are a LoginFailed, or what scramp takes as well; and no proof is forged.

The first byte selects the message: the client's first, its last, the server's first, its last. The second selects the
mechanism and the channel. The rest is the first message, or a change of one that is right: where, how many bytes are
taken out, and what is put in.
"""

from __future__ import annotations

import base64
from typing import Any, Final

from scramp import ScramClient, ScramException, ScramMechanism

from perspective_broker import LoginFailed
from perspective_broker.cred.identity import MAX_NAME_BYTES
from perspective_broker.cred.saslprep import is_too_long
from perspective_broker.cred.scram import BOUND, MAX_MESSAGE_BYTES, UNBOUND, ClientExchange, ServerExchange
from perspective_broker.cred.verifiers import ScramVerifier
from tests.fuzz.budget import Meter, judged
from tests.fuzz.draw import Draw

__all__ = ["target"]

_VERIFIER: Final = ScramVerifier.from_password("pencil", iterations=4096, salt=b"sixteen of salt!")
_OURS, _THEIRS = "rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
_CHANNEL: Final = b"hash of a certificate"
_CLIENT: Final = ClientExchange("user", "pencil", None)
_KEYS: Final = _CLIENT.derive(_CLIENT.read(ServerExchange(UNBOUND, _CLIENT.first, None).first(_VERIFIER)))


def _text(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _first_as_scramp(mechanism: str, binding: bytes | None, message: bytes) -> str | None:
    """Return the user's name, if scramp takes the message."""
    names: list[str] = []

    def find(name: str) -> Any:
        names.append(name)
        return _VERIFIER.salt, _VERIFIER.stored_key, _VERIFIER.server_key, _VERIFIER.iterations

    channel = None if binding is None else ("tls-server-end-point", binding)
    server = ScramMechanism(mechanism).make_server(find, channel_binding=channel)
    try:
        server.set_client_first(_text(message))
    except ScramException:
        return None
    # The name is judged before characters are dropped from it, too.
    raw = (_text(message) or "").split(",")[2].removeprefix("n=")
    return None if is_too_long(raw, MAX_NAME_BYTES) or is_too_long(names[0], MAX_NAME_BYTES) else names[0]


def _client_first(mechanism: str, binding: bytes | None, message: bytes, meter: Meter) -> str | None:
    with meter:
        try:
            return ServerExchange(mechanism, message, binding).name
        except LoginFailed:
            return None


def _changed(draw: Draw, message: bytes) -> bytes:
    at, gone = min(draw.byte(), len(message)), draw.byte()
    return message[:at] + draw.rest() + message[at + gone :]


def _parts(message: bytes, mark: bytes) -> tuple[bytes, bytes]:
    """Return what comes before a last value in base64, and the value, which can be spelled in several ways."""
    before, _, value = message.rpartition(mark)
    return before, base64.b64decode(value)


def _final(mechanism: str, binding: bytes | None, draw: Draw, kind: int) -> None:
    client = ClientExchange("user", "pencil", binding, mechanism == BOUND, nonce=_OURS)
    server = ServerExchange(mechanism, client.first, binding, nonce=_THEIRS)
    challenge = server.first(_VERIFIER)
    if kind == 2:
        message = _changed(draw, challenge)
        theirs = ScramClient([UNBOUND], "user", "pencil", c_nonce=_OURS)
        theirs.get_client_first()
        try:
            client.read(message)
        except LoginFailed:
            ours = False
        else:
            ours = True
        try:
            theirs.set_server_first(_text(message))
        except ScramException:
            assert not ours
        else:
            assert ours or len(message) > MAX_MESSAGE_BYTES
        return
    right = client.answer(client.read(challenge), _KEYS)
    if kind == 1:
        message = _changed(draw, right)
        if server.final(message) is not None:
            assert _parts(message, b",p=") == _parts(right, b",p="), "a forged proof"
        else:
            assert message != right
        return
    proof = server.final(right)
    assert proof is not None
    message = _changed(draw, proof)
    try:
        client.verify(message)
    except LoginFailed:
        assert message != proof
    else:
        encoded = message.partition(b",")[0]  # extensions follow
        assert _parts(encoded, b"v=") == _parts(proof, b"v="), "a forged signature"


def target(data: bytes) -> None:
    draw = Draw(data)
    kind, options = draw.below(4), draw.byte()
    binding = _CHANNEL if options & 1 else None
    mechanism = BOUND if options & 4 and binding is not None else UNBOUND
    if kind:
        # A client that can bind, and does not, is refused by a server that can: see tests/cred/test_scram.py.
        _final(mechanism, binding if mechanism == BOUND else None, draw, kind)
        return
    message = draw.rest()
    name = judged(len(message), lambda meter: _client_first(mechanism, binding, message, meter))
    if len(message) <= MAX_MESSAGE_BYTES:
        assert name == _first_as_scramp(mechanism, binding, message)
