"""What the commands share that connect to a peer: their options, and the connection."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..aio import RemoteReference, connect
from ..errors import ConnectionLost, ProtocolError, TLSError
from ..transports import ClientTLS, parse_url
from .importing import import_here
from .logs import Verbose, configure_logging
from .status import Status, Trouble, system_text

__all__ = ["ClientOptions", "Url", "connected"]


def _check_url(kind: object, url: str) -> None:
    parse_url(url)


#: Where a peer listens; checked before anything else is done.
Url = Annotated[str, Parameter(validator=_check_url)]


@Parameter(name="*")
@dataclass(frozen=True)
class ClientOptions:
    """Options of the commands that connect.

    Attributes:
        dialect: names of dialects to allow, best first; empty for all.
        timeout: seconds until the connection is there, and then until the answer is; 0 for ever.
        tls_ca: whose signature makes a server's certificate good, instead of those that the system trusts.
        tls_cert: certificate and key to show to a server that asks.
        modules: modules to import first.
        verbose: how much to log.
    """

    dialect: Annotated[
        tuple[str, ...],
        Parameter(
            help="Allow only this dialect; may be given several times, best first.",
            negative=(),
            show_default=False,
        ),
    ] = ()
    timeout: Annotated[
        float,
        Parameter(help="Seconds to wait for the connection, and then for the answer; 0 waits for ever."),
    ] = 30.0
    tls_ca: Annotated[
        Path | None,
        Parameter(help="For tls://, a file with the certificates to trust instead of the system's."),
    ] = None
    tls_cert: Annotated[
        Path | None,
        Parameter(help="For tls://, a file with the certificate and private key to show (PEM)."),
    ] = None
    modules: Annotated[
        tuple[str, ...],
        Parameter(
            name="--import",
            help="Import this module of the current directory first, for the classes that it registers.",
            negative=(),
            show_default=False,
        ),
    ] = ()
    verbose: Verbose = 0

    @property
    def seconds(self) -> float | None:
        """The time limit as asyncio understands it."""
        return self.timeout or None

    def prepare(self) -> None:
        """Do what comes before connecting: logging, imports.

        Raises:
            Trouble: a module cannot be imported.
        """
        configure_logging(self.verbose, least=logging.ERROR)
        for name in self.modules:
            import_here(name)

    def tls(self) -> ClientTLS | None:
        """Return what ``tls://`` needs; None for the system's own trust, and to show no certificate.

        Raises:
            Trouble: a file is not what it should be.
        """
        if self.tls_ca is None and self.tls_cert is None:
            return None
        try:
            return ClientTLS(self.tls_ca, certificate=self.tls_cert)
        except TLSError as error:
            raise Trouble(Status.USAGE, error.reason) from None
        except OSError as error:
            raise Trouble(Status.USAGE, f"{error.filename}: {system_text(error)}") from None


@contextlib.asynccontextmanager
async def connected(url: str, options: ClientOptions) -> AsyncIterator[RemoteReference]:
    """Connect within the block, and yield the peer's root.

    Raises:
        Trouble: there is no connection, or a dialect's name is none.
    """
    try:
        root = await connect(
            url, timeout=options.seconds, dialects=options.dialect or None, tls=options.tls()
        )
    except TimeoutError:
        raise Trouble(Status.CONNECTION, f"no connection to {url} within {options.timeout:g} s") from None
    except (OSError, ProtocolError, ConnectionLost) as error:
        reason = (
            error.reason
            if isinstance(error, (ProtocolError, ConnectionLost, TLSError))
            else system_text(error)
        )
        raise Trouble(Status.CONNECTION, f"no connection to {url}: {reason}") from None
    except ValueError as error:
        raise Trouble(Status.USAGE, str(error)) from None
    try:
        yield root
    finally:
        await root.connection.close()
