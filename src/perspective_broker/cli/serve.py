"""``pb serve``: serve an object of a module."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter
from cyclopts.validators import Number

from ..aio import Server, run
from ..aio import serve as serve_object
from ..aio.roots import advice
from ..cred import Perspective
from ..cred.login import LoginRoot
from ..flavors import Exportable
from ..transports import DEFAULT_PORT, ServerTLS, TrustedProxies, certificate_error_text
from .client import Url
from .importing import import_object, user_code_error
from .logs import Verbose, configure_logging
from .status import CommandError, Status, system_text

__all__ = ["EXAMPLES", "serve"]

log: logging.Logger = logging.getLogger("perspective_broker")


#: Shown at the end of its help.
EXAMPLES: Final = r"""
Examples:

```console
pb serve greeter:Greeter
pb serve greeter:Greeter --listen tcp://127.0.0.1:0 unix:///run/greeter.sock
pb serve chat:application --listen unix:///run/chat.sock
pb serve jobs.board:make_board --listen tls://:8787 --tls-cert board.pem -v
pb serve chat:application --listen tcp://10.0.0.5:8787 --trusted-proxy 10.0.0.7
```

Exit codes: 0 stopped, 2 wrong usage or an object that cannot be served, 3 an address cannot be bound.
"""


def serve(
    target: Annotated[
        str,
        Parameter(
            help="What to serve: an object of a module, which is looked for in the current directory first.",
            name="MODULE:OBJECT",
        ),
    ],
    /,
    *,
    listen: Annotated[
        tuple[Url, ...],
        Parameter(
            help="Where to listen, one or several urls; port 0 lets the system choose.",
            consume_multiple=True,
            negative=(),
            show_default=" ".join,
        ),
    ] = (f"tcp://127.0.0.1:{DEFAULT_PORT}",),
    drain: Annotated[
        float,
        Parameter(
            help="Seconds for running calls to end when the server is stopped.", validator=Number(gte=0)
        ),
    ] = 5.0,
    dialect: Annotated[
        tuple[str, ...],
        Parameter(
            help="Offer only this dialect (pb7, pb, none); may be given several times, best first.",
            negative=(),
            show_default=False,
        ),
    ] = (),
    tls_cert: Annotated[
        Path | None,
        Parameter(help="For tls://, a file with the server's certificate chain (PEM); read again at SIGHUP."),
    ] = None,
    tls_key: Annotated[
        Path | None,
        Parameter(help="A file with the private key of --tls-cert (PEM), unless that file has it too."),
    ] = None,
    tls_client_ca: Annotated[
        Path | None,
        Parameter(
            help="A file with authorities (PEM); only clients with a certificate signed by one are accepted."
        ),
    ] = None,
    trusted_proxy: Annotated[
        tuple[str, ...],
        Parameter(
            help="Address or network (10.0.0.7, 10.1.0.0/16) of a proxy in front of tcp:// or tls:// that forwards"
            " bytes and sends the client's address by version 2 of the PROXY protocol (HAProxy: send-proxy-v2). Without"
            " this option all its clients count as one address, and one of them can use up the limits of all; with it,"
            " connections of the proxy without this header are closed. May be given several times.",
            negative=(),
            show_default=False,
        ),
    ] = (),
    no_describe: Annotated[
        bool,
        Parameter(
            help="Do not tell anyone which methods objects have (pb describe); by default programs of this machine and"
            " users who have logged in may ask.",
            negative="",
            show_default=False,
        ),
    ] = False,
    monitor: Annotated[
        str | None,
        Parameter(
            help="Show what goes on, to a browser and to programs, at http://127.0.0.1:8788 or unix:///PATH; the url is"
            " printed with the token that it needs."
        ),
    ] = None,
    unsafe_tracebacks: Annotated[
        bool,
        Parameter(
            help="Send callers the tracebacks of exceptions; they show your source.",
            negative="",
            show_default=False,
        ),
    ] = False,
    verbose: Verbose = 0,
) -> None:
    """Serve an object until interrupted (SIGINT, SIGTERM).

    OBJECT is an object to serve (a pb.Root or another pb.Referenceable, a pb.Application, a pb.Portal), its
    class, or a function without arguments that makes it; the function may be async. A dictionary of names to such
    objects serves each under its name. Every url that is listened on is printed, one per line.

    When stopped, it takes no new connections and calls, lets running ones end for --drain seconds, and
    exits with 0; stopped a second time, it does not wait.
    """
    configure_logging(verbose)
    found = import_object(target)
    if tls_cert is None and any(url.startswith("tls:") for url in listen):
        raise CommandError(Status.USAGE, "to listen on tls:// give the server's certificate: --tls-cert FILE")
    _check_proxies(trusted_proxy, listen)
    offer = partial(
        serve_object,
        dialects=dialect or None,
        tls=_server_tls(tls_cert, tls_key, tls_client_ca),
        unsafe_tracebacks=unsafe_tracebacks,
        describe=not no_describe,
        monitor=monitor,
        trusted_proxies=trusted_proxy,
    )

    async def main() -> None:
        root = await _made(target, found)
        try:
            server = await _started(target, root, listen, offer)
            serving = asyncio.ensure_future(server.serve_until_stopped(drain))
            # From here on signals are handled. The reader of these lines may send one immediately.
            await asyncio.sleep(0)
            for url in server.urls:
                print(f"listening on {url}", flush=True)
            if server.monitor_url is not None:
                print(f"monitor at {server.monitor_url}", flush=True)
            await serving
        finally:
            for served in root.values() if isinstance(root, Mapping) else (root,):
                if isinstance(served, LoginRoot):
                    await served.authorizer.close()  # the module that made it has no other opportunity

    run(main())


async def _started(target: str, root: object, listen: Sequence[str], offer: Callable[..., Server]) -> Server:
    try:
        return await offer(root, *listen)
    except (TypeError, ValueError) as error:
        raise CommandError(Status.USAGE, f"{target}: {error}") from None
    except OSError as error:
        where = error.filename or " ".join(listen)
        text = f"cannot listen on {where}: {_bind_text(error)}"
        raise CommandError(Status.CONNECTION, text) from None


async def _made(target: str, found: object) -> object:
    """Return the object to serve: ``found``, or the object that it makes."""
    ready = isinstance(found, Exportable) or hasattr(found, "root_object")
    if not isinstance(found, type) and (ready or not callable(found)):
        return found
    assert callable(found)
    _check_makes(target, found)
    try:
        made = found()
        return await made if inspect.isawaitable(made) else made
    except Exception as error:
        raise user_code_error(f"{target}() raised", error) from None


def _check_makes(target: str, found: Callable[..., object]) -> None:
    """Raise CommandError when a class or function makes no object that can be served, or needs arguments."""
    what_to_do = "name an object, or a function without arguments that makes one"
    if isinstance(found, type):
        if not issubclass(found, Exportable) and not hasattr(found, "root_object"):
            raise CommandError(
                Status.USAGE, f"{target}: a {found.__name__} cannot be served; {advice(found)}"
            )
        if issubclass(found, Perspective):
            what_to_do = advice(found)
    try:
        inspect.signature(found).bind()
    except TypeError as error:
        text = f"{target} cannot be called without arguments ({error}); {what_to_do}"
        raise CommandError(Status.USAGE, text) from None
    except ValueError:  # built in, without a signature
        pass


def _server_tls(certificate: Path | None, key: Path | None, client_ca: Path | None) -> ServerTLS | None:
    if certificate is None:
        for option, given in (("--tls-key", key), ("--tls-client-ca", client_ca)):
            if given is not None:
                raise CommandError(Status.USAGE, f"{option} needs --tls-cert as well")
        return None
    try:
        return ServerTLS(certificate, key, client_ca=client_ca)
    except OSError as error:
        raise CommandError(Status.USAGE, certificate_error_text(error)) from None


def _check_proxies(proxies: Sequence[str], listen: Sequence[str]) -> None:
    """Raise CommandError when a proxy is not an address, or no url is one to which a proxy can connect."""
    try:
        TrustedProxies(proxies)
    except ValueError as error:
        raise CommandError(Status.USAGE, f"--trusted-proxy: {error}") from None
    if proxies and not any(url.startswith(("tcp:", "tls:")) for url in listen):
        raise CommandError(Status.USAGE, "--trusted-proxy is for proxies in front of tcp:// or tls://")


def _bind_text(error: OSError) -> str:
    # The text of asyncio contains the address; that of uvloop does not, and is the system's.
    return error.strerror or system_text(error)
