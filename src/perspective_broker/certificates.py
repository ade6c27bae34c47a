"""PeerCertificate: what the verified certificate of a peer says."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["PeerCertificate"]


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """The certificate that the peer showed, verified: an authority that we trust stands for what it says.

    Attributes:
        common_name: of its subject; ``""`` when there is none.
        dns_names: host names it is for.
        emails: mail addresses it is for.
        uris: such as ``spiffe://...``.
        addresses: IP addresses it is for.
        der: all of it.
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
        """Make one of what ``ssl.SSLObject.getpeercert()`` gives."""
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
