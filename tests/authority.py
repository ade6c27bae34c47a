"""Certificates for tests, by authorities that each test makes for itself."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import perspective_broker as pb

__all__ = ["Authority"]

LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)


class Authority:
    """Signs certificates and writes them to files.

    Args:
        directory: where the files go; each authority has its own.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._ca = trustme.CA()
        self.file = directory / "ca.pem"  #: what those who believe this authority are given
        self._ca.cert_pem.write_to_path(self.file)

    def issue(
        self,
        *names: str,
        common_name: str | None = None,
        expired: bool = False,
        key_type: trustme.KeyType = trustme.KeyType.ECDSA,
    ) -> Path:
        """Write a new certificate with its key to a file, and return that.

        Args:
            names: host names, IP addresses or mail addresses it is for. The first names the file, so that issuing again
                renews it.
        """
        certificate = self._ca.issue_cert(
            *names, common_name=common_name, not_after=LONG_AGO if expired else None, key_type=key_type
        )
        path = self.directory / f"{names[0]}.pem"
        certificate.private_key_and_cert_chain_pem.write_to_path(str(path))
        return path

    def self_signed(self, name: str) -> pb.ServerTLS:
        """Return a self-signed certificate for a server."""
        key = ec.generate_private_key(ec.SECP256R1())
        itself = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        certificate = (
            x509.CertificateBuilder(itself, itself, key.public_key(), x509.random_serial_number())
            .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
            .not_valid_after(datetime(2100, 1, 1, tzinfo=UTC))
            .sign(key, hashes.SHA256())
        )
        path = self.directory / f"{name}-itself.pem"
        path.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + certificate.public_bytes(Encoding.PEM)
        )
        return pb.ServerTLS(path)

    def server(self, *names: str, expired: bool = False) -> pb.ServerTLS:
        """Return a certificate for a server of ``names``; of this machine by default."""
        return pb.ServerTLS(self.issue(*names or ("localhost", "127.0.0.1"), expired=expired))

    def trusted(self) -> pb.ClientTLS:
        """Return what a client uses that believes this authority."""
        return pb.ClientTLS(self.file)
