"""TLSChannel: the certificates of a TLS connection, and the data that binds a login to it."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from functools import lru_cache

from ..certificates import PeerCertificate

__all__ = ["TLSChannel"]


@dataclass(frozen=True, slots=True)
class TLSChannel:
    """The facts of an established TLS connection, valid after its end, too.

    Attributes:
        version: such as ``"TLSv1.3"``.
        peer_certificate: the certificate of the peer, if it was verified.
        server_certificate: the server's certificate in DER, on both sides, verified or not; None if it is unknown
            because the server uses a bare ``ssl.SSLContext``.
    """

    version: str
    peer_certificate: PeerCertificate | None
    server_certificate: bytes | None = field(repr=False)

    @classmethod
    def of(cls, transport: asyncio.BaseTransport) -> TLSChannel | None:
        """Return the channel of a transport; None without TLS."""
        tls = transport.get_extra_info("ssl_object")
        if tls is None:
            return None
        shown = tls.getpeercert(binary_form=True)
        decoded = tls.getpeercert()  # empty when it was not verified
        return cls(
            tls.version() or "",
            PeerCertificate.of(decoded, shown) if shown and decoded else None,
            getattr(tls.context, "leaf", None) if tls.server_side else shown,
        )

    def binding(self, kind: str) -> bytes | None:
        """Return the data that binds a login to this channel (RFC 5929), the same on both sides.

        Args:
            kind: ``"tls-server-end-point"``, the only one (``"tls-unique"`` is not defined for TLS 1.3).

        Returns:
            None for another kind, an unknown certificate, one whose signature has no hash of its own (Ed25519), or when
            ``cryptography`` is not installed (the extra ``tls``).
        """
        if kind != "tls-server-end-point" or self.server_certificate is None:
            return None
        return _end_point(self.server_certificate)


@lru_cache(maxsize=16)  # unauthenticated peers make a server compute it, and a server has few certificates
def _end_point(certificate: bytes) -> bytes | None:
    """Return the data of ``tls-server-end-point`` for a certificate, DER."""
    try:
        from cryptography import x509  # here, because only this function needs it
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
