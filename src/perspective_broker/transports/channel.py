"""What a connection knows of its TLS: the peer's certificate, and what binds a login to this very channel."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from functools import lru_cache

from ..certificates import PeerCertificate

__all__ = ["TLSChannel"]


@dataclass(frozen=True, slots=True)
class TLSChannel:
    """What is known of an established TLS connection; stays true after its end.

    Attributes:
        version: such as ``"TLSv1.3"``.
        peer_certificate: what the peer showed, if that was verified.
        server_certificate: the server's, DER, verified or not, on either side; None where it is unknown because the
            server was given a bare ``ssl.SSLContext``.
    """

    version: str
    peer_certificate: PeerCertificate | None
    server_certificate: bytes | None = field(repr=False)

    @classmethod
    def of(cls, transport: asyncio.BaseTransport) -> TLSChannel | None:
        """Return that of a transport; None when it has no TLS."""
        tls = transport.get_extra_info("ssl_object")
        if tls is None:
            return None
        shown = tls.getpeercert(binary_form=True)
        decoded = tls.getpeercert()  # empty when nobody verified it
        return cls(
            tls.version() or "",
            PeerCertificate.of(decoded, shown) if shown and decoded else None,
            getattr(tls.context, "leaf", None) if tls.server_side else shown,
        )

    def binding(self, kind: str) -> bytes | None:
        """Return the data that binds a login to this channel (RFC 5929), the same on both sides.

        Args:
            kind: ``"tls-server-end-point"``; there is no other (``"tls-unique"`` means nothing in TLS 1.3).

        Returns:
            None when there is none: another kind, an unknown certificate, one whose signature has no hash of its
            own (Ed25519), or ``cryptography`` is not installed (the extra ``tls``).
        """
        if kind != "tls-server-end-point" or self.server_certificate is None:
            return None
        return _end_point(self.server_certificate)


@lru_cache(maxsize=16)  # peers ask for it before they have logged in, and a server shows few
def _end_point(certificate: bytes) -> bytes | None:
    """Return the data of ``tls-server-end-point`` for a certificate, DER."""
    try:
        from cryptography import x509  # here, for only this needs it
        from cryptography.exceptions import UnsupportedAlgorithm
    except ImportError:
        return None
    try:
        algorithm = x509.load_der_x509_certificate(certificate).signature_hash_algorithm
    except (ValueError, UnsupportedAlgorithm):
        return None
    if algorithm is None:
        return None
    name = "sha256" if algorithm.name in ("md5", "sha1") else algorithm.name
    return hashlib.new(name, certificate).digest()
