"""PeerCertificate: the names in the verified certificate of a peer."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["PeerCertificate"]


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """The certificate of the peer, verified: an authority that this side trusts has signed it.

    Attributes:
        common_name: the common name of its subject; ``""`` without one.
        dns_names: its host names.
        emails: its mail addresses.
        uris: its URIs, such as ``spiffe://...``.
        addresses: its IP addresses.
        der: the whole certificate in DER.
    """

    common_name: str
    dns_names: tuple[str, ...]
    emails: tuple[str, ...]
    uris: tuple[str, ...]
    addresses: tuple[str, ...]
    der: bytes = field(repr=False)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, in hexadecimal digits."""
        return hashlib.sha256(self.der).hexdigest()

    @classmethod
    def of(cls, decoded: Mapping[str, Any], der: bytes) -> PeerCertificate:
        """Return the certificate for a result of ``ssl.SSLObject.getpeercert()``."""
        subject = {name: value for pairs in decoded.get("subject", ()) for name, value in pairs}
        names = decoded.get("subjectAltName", ())

        def of_kind(kind: str) -> tuple[str, ...]:
            return tuple(value for name, value in names if name == kind)

        return cls(
            subject.get("commonName", ""),
            of_kind("DNS"),
            of_kind("email"),
            of_kind("URI"),
            of_kind("IP Address"),
            der,
        )
