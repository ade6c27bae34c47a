"""ServerTLS and ClientTLS: certificates, trusted authorities, and clear errors.

Contexts are OpenSSL's, with safe settings: TLS 1.2 or newer, certificates and names verified. This module adds
certificates that can be renewed while connections are open, and errors that name the problem.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

from ..errors import TLSError

__all__ = [
    "ClientTLS",
    "ServerTLS",
    "client_context",
    "server_context",
    "tls_error",
]

StrPath = str | os.PathLike[str]

#: OpenSSL's verify_code -> code and reason of the TLSError.
_VERIFY_CODES: Final[Mapping[int, tuple[str, str]]] = {
    9: ("certificate-not-yet-valid", "the peer's certificate is not valid yet"),
    10: ("certificate-expired", "the peer's certificate has expired"),
    18: ("unknown-authority", "the peer's certificate is self-signed, and we do not trust it"),
    19: ("unknown-authority", "the peer's certificate is signed by an authority that we do not trust"),
    20: ("unknown-authority", "the peer's certificate is signed by an authority that we do not know"),
    21: ("unknown-authority", "the peer's certificate is signed by an authority that we do not know"),
    62: ("wrong-name", "the peer's certificate is for another name"),
    64: ("wrong-name", "the peer's certificate is for another address"),
}

#: OpenSSL's name of the reason -> code and reason of the TLSError.
_REASONS: Final[Mapping[str, tuple[str, str]]] = {
    "WRONG_VERSION_NUMBER": ("not-tls", "the peer does not speak TLS"),
    "HTTP_REQUEST": ("not-tls", "the peer does not speak TLS"),
    "UNSUPPORTED_PROTOCOL": ("tls-version", "the peer offers no version of TLS that is allowed here"),
    "TLSV1_ALERT_PROTOCOL_VERSION": (
        "tls-version",
        "the peer allows no version of TLS that this side offers",
    ),
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": ("certificate-required", "the peer requires a certificate"),
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": ("certificate-required", "the peer showed no certificate"),
    "TLSV1_ALERT_UNKNOWN_CA": (
        "certificate-refused",
        "the peer does not trust the authority of our certificate",
    ),
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": (
        "certificate-refused",
        "the peer refused our certificate, which has expired",
    ),
    "SSLV3_ALERT_BAD_CERTIFICATE": ("certificate-refused", "the peer refused our certificate"),
}


#: How often files are read that another program is replacing: renaming three files takes a moment.
_MOST_READINGS: Final = 5

#: Each file and its content.
_Contents: TypeAlias = Mapping[StrPath, bytes]


class _Renewable:
    """A context made of files. A context never changes: :meth:`reload` makes a new one.

    Args:
        files: the files to read, without those that are None.
    """

    _context: ssl.SSLContext

    def __init__(self, *files: StrPath | None) -> None:
        self._files = [file for file in files if file is not None]
        self.reload()

    def _make(self, contents: _Contents) -> ssl.SSLContext:
        raise NotImplementedError

    def _read(self) -> _Contents:
        return {file: Path(file).read_bytes() for file in self._files}

    def reload(self) -> None:
        """Read the files again, for new connections; those that are open do not change.

        Raises:
            TLSError: a file has the wrong content (``bad-certificate``).
            OSError: a file cannot be read. In both cases the old context stays in use.
        """
        # OpenSSL opens the files itself, one after the other. Its result, or its error, counts only if all files have
        # the same content before and after, because a certificate, its key and the authorities belong together, and
        # logins are bound to the certificate that was read here.
        contents = self._read()
        for _ in range(_MOST_READINGS):
            made: ssl.SSLContext | OSError
            try:
                made = self._make(contents)
            except OSError as error:
                made = error
            before, contents = contents, self._read()
            if contents != before:
                continue
            if isinstance(made, OSError):
                raise made
            self._context = made
            return
        raise TLSError(
            "bad-certificate", f"{self._files[0]}: changed during each of {_MOST_READINGS} readings"
        )

    @property
    def context(self) -> ssl.SSLContext:
        """The context of new connections. Do not change it."""
        return self._context


class ServerTLS(_Renewable):
    """The certificate of a server on ``tls://``, and the clients that it accepts. For ``serve(tls=...)``.

    Args:
        certificate: a PEM file: the server's certificate, then the chain to its authority.
        key: the PEM file of its private key; None when that is in the same file.
        password: the password of an encrypted key.
        client_ca: a PEM file of the authorities that sign the certificates of clients. A client's certificate is then
            ``connection.peer_certificate``.
        client_required: with ``client_ca``, whether clients without a certificate are refused.

    Raises:
        TLSError: a file has the wrong content.
        OSError: a file cannot be read.
    """

    def __init__(
        self,
        certificate: StrPath,
        key: StrPath | None = None,
        *,
        password: str | None = None,
        client_ca: StrPath | None = None,
        client_required: bool = True,
    ) -> None:
        self._certificate, self._key, self._password = certificate, key, password
        self._client_ca, self._client_required = client_ca, client_required
        super().__init__(certificate, key, client_ca)

    def _make(self, contents: _Contents) -> ssl.SSLContext:
        context = _ServerContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # A resumed session would outlive its certificates and authorities, so sessions are not resumed.
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
        _load_own(context, self._certificate, self._key, self._password)
        context.leaf = _first_certificate(contents[self._certificate])
        if self._client_ca is not None:
            _load_authorities(context, self._client_ca)
            context.verify_mode = ssl.CERT_REQUIRED if self._client_required else ssl.CERT_OPTIONAL
        return context


class ClientTLS(_Renewable):
    """The authorities that a client trusts on ``tls://``, and its certificate. For ``connect(tls=...)``.

    Args:
        ca: a PEM file of the trusted authorities; None for those of the system.
        certificate: a PEM file with a certificate for servers that request one.
        key: the PEM file of its private key; None when that is in the same file.
        password: the password of an encrypted key.

    Raises:
        TLSError: a file has the wrong content.
        OSError: a file cannot be read.
    """

    def __init__(
        self,
        ca: StrPath | None = None,
        *,
        certificate: StrPath | None = None,
        key: StrPath | None = None,
        password: str | None = None,
    ) -> None:
        self._ca, self._certificate, self._key, self._password = ca, certificate, key, password
        super().__init__(ca, certificate, key)

    def _make(self, contents: _Contents) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self._ca is None:
            context.load_default_certs()
        else:
            _load_authorities(context, self._ca)
        if self._certificate is not None:
            _load_own(context, self._certificate, self._key, self._password)
        return context


class _ServerContext(ssl.SSLContext):
    """A context with its own certificate, which OpenSSL does not return."""

    leaf: bytes | None = None


def _load_own(
    context: ssl.SSLContext, certificate: StrPath, key: StrPath | None, password: str | None
) -> None:
    """Load our certificate and its key."""
    try:
        # Never None, because OpenSSL would then ask at the terminal.
        context.load_cert_chain(certificate, key, password or "")
    except ssl.SSLError as error:
        hint = {
            "KEY_VALUES_MISMATCH": "the key belongs to another certificate",
            "BAD_DECRYPT": "the password of the key is wrong",
        }.get(error.reason or "", "no certificate with its private key, or its password is missing")
        files = [str(certificate)] if key is None else [str(certificate), str(key)]
        raise TLSError("bad-certificate", f"{' and '.join(files)}: {hint}") from error


def _first_certificate(content: bytes) -> bytes | None:
    """Return the first certificate of a file in DER; None when the file is not plain PEM."""
    begin, end = ssl.PEM_HEADER, ssl.PEM_FOOTER
    body = content.decode("latin-1").partition(begin)[2].partition(end)[0]
    return ssl.PEM_cert_to_DER_cert(f"{begin}{body}{end}") if body else None


def _load_authorities(context: ssl.SSLContext, path: StrPath) -> None:
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise TLSError("bad-certificate", f"{path}: no certificates of authorities (PEM)") from error


def server_context(tls: object) -> Callable[[], ssl.SSLContext]:
    """Return a function that returns the context of the next connection. Raises TypeError if not for servers."""
    if isinstance(tls, ServerTLS):
        return lambda: tls.context
    if isinstance(tls, ssl.SSLContext) and tls.protocol is not ssl.PROTOCOL_TLS_CLIENT:
        return lambda: tls
    raise TypeError(f"serve(tls=): must be a pb.ServerTLS or a server's ssl.SSLContext, not {tls!r}")


def client_context(tls: object) -> ssl.SSLContext:
    """Return the context of the next connection. Raises TypeError if ``tls`` is not for clients."""
    if tls is None:
        tls = ClientTLS()
    if isinstance(tls, ClientTLS):
        return tls.context
    if isinstance(tls, ssl.SSLContext) and tls.protocol is not ssl.PROTOCOL_TLS_SERVER:
        return tls
    raise TypeError(f"connect(tls=): must be a pb.ClientTLS or a client's ssl.SSLContext, not {tls!r}")


def certificate_error_text(error: OSError) -> str:
    """Return the text of an error with the files of a certificate, in one line."""
    if isinstance(error, TLSError):
        return error.reason
    return str(error) if error.filename is None else f"{error.filename}: {error.strerror}"


def tls_error(error: OSError) -> TLSError:
    """Return the TLSError for an error of the system."""
    if isinstance(error, ssl.SSLCertVerificationError):
        code, reason = _VERIFY_CODES.get(error.verify_code, ("bad-certificate", ""))
        return TLSError(code, reason or f"the peer's certificate is not valid: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        name = error.reason or ""
        code, reason = _REASONS.get(name, ("tls-failed", ""))
        return TLSError(code, reason or name.replace("_", " ").lower() or "the TLS connection was lost")
    if isinstance(error, ConnectionAbortedError):  # the event loops' error for a timeout
        return TLSError("timeout", "the TLS handshake was not completed in time")
    return TLSError("lost", "the peer closed the connection during the TLS handshake")
