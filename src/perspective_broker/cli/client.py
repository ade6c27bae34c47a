"""The options of commands that connect to a peer, and the connection, with a login or without."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..aio import RemoteReference, connect
from ..aio.roots import ROOT, check_name
from ..errors import ConnectionLost, LoginFailed, ProtocolError, RemoteError, TLSError
from ..flavors import Registry
from ..transports import ClientTLS, parse_url
from .importing import import_here
from .logs import Verbose, configure_logging
from .output import printable
from .passwords import PasswordFile, obtain_password
from .status import CommandError, Status, system_text

__all__ = ["ClientOptions", "Credentials", "Url", "connected"]


def _check_url(kind: object, url: str) -> None:
    parse_url(url)


def _check_object(kind: object, name: str) -> None:
    check_name(name)


#: Where a peer listens; checked before anything else is done.
Url = Annotated[str, Parameter(validator=_check_url)]


@dataclass(frozen=True)
class Credentials:
    """The user and the service of a login; arguments of :func:`~perspective_broker.connect`.

    Attributes:
        username: None does not log in.
        password: None for a login by certificate.
        service, perspective, legacy_login: see :func:`~perspective_broker.connect`.
    """

    username: str | None
    password: str | None = field(repr=False)
    service: str | None
    perspective: str | None
    legacy_login: bool


@Parameter(name="*")
@dataclass(frozen=True)
class ClientOptions:
    """Options of the commands that connect.

    Attributes:
        object: the name of the object that is called, or where the user logs in.
        user: the user who logs in; None does not log in.
        service: the service to log in to; None lets the peer choose.
        perspective: the perspective of the service; the user's own when None.
        password_file: the file with the password; None prompts for it.
        legacy_login: answer an MD5 challenge everywhere.
        dialect: names of dialects to allow, best first; empty for all.
        timeout: seconds for connecting, and then for the answer; 0 waits forever.
        tls_ca: the authorities to trust instead of those of the system.
        tls_cert: certificate and key for a server that requests one.
        modules: modules to import first.
        verbose: how much to log.
    """

    object: Annotated[
        str,
        Parameter(
            help="The name of an object that the peer serves; a peer that serves one names it root.",
            validator=_check_object,
        ),
    ] = ROOT
    user: Annotated[
        str | None, Parameter(help="Log in as this user; the command prompts for the password.")
    ] = None
    service: Annotated[str | None, Parameter(help="Log in to this service; by default the peer chooses.")] = (
        None
    )
    perspective: Annotated[
        str | None, Parameter(help="Attach to this perspective of the service instead of the user's own.")
    ] = None
    password_file: PasswordFile = None
    legacy_login: Annotated[
        bool,
        Parameter(
            help="Answer a peer that has only MD5 logins, even on a connection that others can read.",
            negative="",
            show_default=False,
        ),
    ] = False
    dialect: Annotated[
        tuple[str, ...],
        Parameter(
            help="Allow only this dialect (pb7, pb, none); may be given several times, best first.",
            negative=(),
            show_default=False,
        ),
    ] = ()
    timeout: Annotated[
        float,
        Parameter(
            help="Seconds to wait for the connection, and then for each answer (not in pb shell); 0 waits forever."
        ),
    ] = 30.0
    tls_ca: Annotated[
        Path | None,
        Parameter(help="For tls://, a file with the certificates to trust instead of the system's."),
    ] = None
    tls_cert: Annotated[
        Path | None,
        Parameter(
            help="For tls://, a file with a certificate and its private key (PEM), to log in without a password."
        ),
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

    @property
    def reads_stdin(self) -> bool:
        """Whether the password comes from standard input."""
        return str(self.password_file) == "-"

    def prepare(self) -> None:
        """Set up logging and import the modules, before connecting.

        Raises:
            CommandError: a module cannot be imported.
        """
        configure_logging(self.verbose, least=logging.ERROR)
        for name in self.modules:
            import_here(name)

    def credentials(self, url: str) -> Credentials:
        """Return the credentials for ``url``; prompt for the password if necessary.

        Without ``--password-file`` the certificate of ``--tls-cert`` replaces the password.

        Raises:
            CommandError: the options contradict each other, or there is no password.
        """
        password = None
        if self.user is None:
            for option in ("service", "perspective", "password_file", "legacy_login"):
                if getattr(self, option):
                    raise CommandError(Status.USAGE, f"--{option.replace('_', '-')} needs --user as well")
        elif self.perspective is not None and self.service is None:
            raise CommandError(Status.USAGE, "--perspective needs --service as well")
        elif self.password_file is not None or self.tls_cert is None or not url.startswith("tls:"):
            password = obtain_password(self.password_file, f"Password for {printable(self.user)}")
        return Credentials(self.user, password, self.service, self.perspective, self.legacy_login)

    def tls(self) -> ClientTLS | None:
        """Return the settings for ``tls://``; None for the authorities of the system and no own certificate.

        Raises:
            CommandError: a file cannot be used.
        """
        if self.tls_ca is None and self.tls_cert is None:
            return None
        try:
            return ClientTLS(self.tls_ca, certificate=self.tls_cert)
        except TLSError as error:
            raise CommandError(Status.USAGE, error.reason) from None
        except OSError as error:
            raise CommandError(Status.USAGE, f"{error.filename}: {system_text(error)}") from None


@contextlib.asynccontextmanager
async def connected(
    url: str, options: ClientOptions, credentials: Credentials, registry: Registry | None = None
) -> AsyncIterator[RemoteReference]:
    """Connect within the block, and yield the peer's object; after a login, the perspective or avatar.

    ``registry`` holds the classes that may arrive; None takes those that modules have registered.

    Raises:
        CommandError: the connection or the login failed, or a dialect's name is unknown.
    """
    try:
        root = await connect(
            url,
            object=options.object,
            **vars(credentials),
            timeout=options.seconds,
            dialects=options.dialect or None,
            registry=registry,
            tls=options.tls(),
        )
    except LoginFailed as error:
        raise CommandError(Status.LOGIN, f"no login at {url}: {error}") from None
    except (OSError, ProtocolError, ConnectionLost) as error:
        if isinstance(error, TimeoutError) and error.errno is None:  # our own, whose text is complete
            raise CommandError(Status.CONNECTION, str(error)) from None
        reason = (
            error.reason
            if isinstance(error, (ProtocolError, ConnectionLost, TLSError))
            else system_text(error)
        )
        raise CommandError(Status.CONNECTION, f"no connection to {url}: {reason}") from None
    except RemoteError:  # some are a ValueError, too
        raise
    except ValueError as error:
        raise CommandError(Status.USAGE, str(error)) from None
    try:
        yield root
    finally:
        await root.connection.close()
