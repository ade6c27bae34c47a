"""TLS: what we show, whom we believe, and what was wrong with it.

Contexts are OpenSSL's, made with its safe choices: TLS 1.2 or newer, certificates and names verified. This module
adds what is missing there: certificates that can be renewed while connections live, and errors that say what is wrong.
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

#: Said in place of OpenSSL's words, by its verify_code.
_VERIFY_CODES: Final[Mapping[int, tuple[str, str]]] = {
    9: ("certificate-not-yet-valid", "the peer's certificate is not valid yet"),
    10: ("certificate-expired", "the peer's certificate has expired"),
    18: ("unknown-authority", "the peer's certificate is signed by itself, and not one we trust"),
    19: ("unknown-authority", "the peer's certificate is signed by an authority that we do not trust"),
    20: ("unknown-authority", "the peer's certificate is signed by an authority that we do not know"),
    21: ("unknown-authority", "the peer's certificate is signed by an authority that we do not know"),
    62: ("wrong-name", "the peer's certificate is for another name"),
    64: ("wrong-name", "the peer's certificate is for another address"),
}

#: The same, by OpenSSL's name of the reason.
_REASONS: Final[Mapping[str, tuple[str, str]]] = {
    "WRONG_VERSION_NUMBER": ("not-tls", "the peer does not speak TLS"),
    "HTTP_REQUEST": ("not-tls", "the peer does not speak TLS"),
    "UNSUPPORTED_PROTOCOL": ("tls-version", "the peer offers no version of TLS that is allowed here"),
    "TLSV1_ALERT_PROTOCOL_VERSION": ("tls-version", "the peer allows no version of TLS that we offer"),
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": ("certificate-required", "the peer asks for a certificate of ours"),
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": ("certificate-required", "the peer showed no certificate"),
    "TLSV1_ALERT_UNKNOWN_CA": ("certificate-refused", "the peer does not trust who signed our certificate"),
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": ("certificate-refused", "the peer found our certificate expired"),
    "SSLV3_ALERT_BAD_CERTIFICATE": ("certificate-refused", "the peer refused our certificate"),
}


#: Readings of files that another program is replacing. Three renamings are a moment.
_MOST_READINGS: Final = 5

#: Each file and its content.
_Contents: TypeAlias = Mapping[StrPath, bytes]


class _Renewable:
    """Files, and the context made of them. A context is never changed: a new one takes its place.

    Args:
        files: those that are used; None stands for none.
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
        """Read the files again. Connections that were made stay as they are; new ones use what was read.

        Raises:
            TLSError: a file is not what it should be (``bad-certificate``).
            OSError: a file cannot be read. In both cases what was in use stays in use.
        """
        # OpenSSL opens the files by itself, one after the other. Its result, or its error, counts only if all files
        # have the same content before and after: a certificate, its key and the authorities belong together, and
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
        raise TLSError("bad-certificate", f"{self._files[0]} changes all the time")

    @property
    def context(self) -> ssl.SSLContext:
        """What new connections use. Not to be changed."""
        return self._context


class ServerTLS(_Renewable):
    """What a server shows on ``tls://``, and whom it lets in. For ``serve(tls=...)``.

    Args:
        certificate: a PEM file: the server's certificate, then those that lead to its authority.
        key: the PEM file of its private key; None when that is in the same file.
        password: of the key, when it is encrypted.
        client_ca: a PEM file of the authorities whose clients are believed. Their certificate is then
            ``connection.peer_certificate``.
        client_required: with ``client_ca``, whether clients without a certificate are refused.

    Raises:
        TLSError: a file is not what it should be.
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
        # A resumed session would outlive the certificates and authorities it was made under; ours do not resume.
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
        _load_own(context, self._certificate, self._key, self._password)
        context.leaf = _first_certificate(contents[self._certificate])
        if self._client_ca is not None:
            _load_authorities(context, self._client_ca)
            context.verify_mode = ssl.CERT_REQUIRED if self._client_required else ssl.CERT_OPTIONAL
        return context


class ClientTLS(_Renewable):
    """Whom a client believes on ``tls://``, and what it shows. For ``connect(tls=...)``.

    Args:
        ca: a PEM file of the authorities that are believed; None for those of the system.
        certificate: a PEM file with a certificate to show to servers that ask for one.
        key: the PEM file of its private key; None when that is in the same file.
        password: of the key, when it is encrypted.

    Raises:
        TLSError: a file is not what it should be.
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
    """A context that knows the certificate it shows, which OpenSSL keeps to itself."""

    leaf: bytes | None = None


def _load_own(
    context: ssl.SSLContext, certificate: StrPath, key: StrPath | None, password: str | None
) -> None:
    """Load our certificate and its key."""
    try:
        # Never None, for then OpenSSL would ask at the terminal.
        context.load_cert_chain(certificate, key, password or "")
    except ssl.SSLError as error:
        hint = {
            "KEY_VALUES_MISMATCH": "the key belongs to another certificate",
            "BAD_DECRYPT": "the password of the key is wrong",
        }.get(error.reason or "", "no certificate with its private key, or its password is missing")
        files = [str(certificate)] if key is None else [str(certificate), str(key)]
        raise TLSError("bad-certificate", f"{' and '.join(files)}: {hint}") from error


def _first_certificate(content: bytes) -> bytes | None:
    """Return the first certificate of a file, DER; None when it is in no plain PEM."""
    begin, end = ssl.PEM_HEADER, ssl.PEM_FOOTER
    body = content.decode("latin-1").partition(begin)[2].partition(end)[0]
    return ssl.PEM_cert_to_DER_cert(f"{begin}{body}{end}") if body else None


def _load_authorities(context: ssl.SSLContext, path: StrPath) -> None:
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise TLSError("bad-certificate", f"{path}: no certificates of authorities (PEM)") from error


def server_context(tls: object) -> Callable[[], ssl.SSLContext]:
    """Return what gives the context for the next connection. Raises TypeError when it is not for servers."""
    if isinstance(tls, ServerTLS):
        return lambda: tls.context
    if isinstance(tls, ssl.SSLContext) and tls.protocol is not ssl.PROTOCOL_TLS_CLIENT:
        return lambda: tls
    raise TypeError(f"serve takes tls=pb.ServerTLS(...) or a server's ssl.SSLContext, not {tls!r}")


def client_context(tls: object) -> ssl.SSLContext:
    """Return the context for the next connection. Raises TypeError when it is not for clients."""
    if tls is None:
        tls = ClientTLS()
    if isinstance(tls, ClientTLS):
        return tls.context
    if isinstance(tls, ssl.SSLContext) and tls.protocol is not ssl.PROTOCOL_TLS_SERVER:
        return tls
    raise TypeError(f"connect takes tls=pb.ClientTLS(...) or a client's ssl.SSLContext, not {tls!r}")


def certificate_error_text(error: OSError) -> str:
    """Return what is wrong with the files of a certificate, in one line."""
    if isinstance(error, TLSError):
        return error.reason
    return str(error) if error.filename is None else f"{error.filename}: {error.strerror}"


def tls_error(error: OSError) -> TLSError:
    """Return what went wrong with TLS, in our words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        code, reason = _VERIFY_CODES.get(error.verify_code, ("bad-certificate", ""))
        return TLSError(code, reason or f"the peer's certificate is not valid: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        name = error.reason or ""
        code, reason = _REASONS.get(name, ("tls-failed", ""))
        return TLSError(code, reason or name.replace("_", " ").lower() or "the TLS connection broke")
    if isinstance(error, ConnectionAbortedError):  # how event loops report the end of their patience
        return TLSError("timeout", "the TLS handshake was not completed in time")
    return TLSError("lost", "the peer hung up during the TLS handshake")
