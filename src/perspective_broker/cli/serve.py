"""``pb serve``: serve an object of a module."""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter
from cyclopts.validators import Number

from ..aio import run
from ..aio import serve as serve_object
from ..aio.roots import advice
from ..cred import Perspective
from ..cred.login import LoginRoot
from ..flavors import Exportable
from ..transports import DEFAULT_PORT, ServerTLS, TrustedProxies, certificate_error_text, parse_url
from ..workers import child_of_this_process
from .client import Url
from .importing import import_object, user_code_error
from .listening import cannot_listen, serve_alone, serve_by_workers
from .logs import Verbose, configure_logging
from .status import CommandError, Status

__all__ = ["EXAMPLES", "serve"]

#: Shown at the end of its help.
EXAMPLES: Final = r"""
Examples:

```console
pb serve greeter:Greeter
pb serve greeter:Greeter --listen tcp://127.0.0.1:0 unix:///run/greeter.sock
pb serve chat:application --listen unix:///run/chat.sock
pb serve jobs.board:make_board --listen tls://:8787 --tls-cert board.pem -v
pb serve chat:application --listen tcp://10.0.0.5:8787 --trusted-proxy 10.0.0.7
pb serve chat:application --workers 4 --control unix:///run/chat/control.sock
```

Exit codes: 0 stopped, 1 workers end soon after their start, 2 wrong usage or an object that cannot be served,
3 an address cannot be bound.
"""


def _check_control(kind: object, url: str | None) -> None:
    if url is not None and parse_url(url).scheme != "unix":
        raise ValueError("the control socket is a unix:// url, such as unix:///run/chat/control.sock")


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
    workers: Annotated[
        int | None,
        Parameter(
            help="Serve with so many processes, which share the urls (not on Windows). SIGUSR1 replaces them one after"
            " the other; SIGTTIN and SIGTTOU make one more, one less.",
            validator=Number(gte=1),
        ),
    ] = None,
    control: Annotated[
        str | None,
        Parameter(
            help="A unix:// url of its own, at which pb status asks for statistics; only this user can connect.",
            validator=_check_control,
        ),
    ] = None,
    verbose: Verbose = 0,
) -> int:
    """Serve an object until interrupted (SIGINT, SIGTERM).

    OBJECT is an object to serve (a pb.Root or another pb.Referenceable, a pb.Application, a pb.Portal), its
    class, or a function without arguments that makes it; the function may be async. A dictionary of names to such
    objects serves each under its name. Every url that is listened on is printed, one per line.

    When stopped, it takes no new connections and calls, lets running ones end for --drain seconds, and
    exits with 0; stopped a second time, it does not wait.
    """
    child = child_of_this_process()
    configure_logging(verbose, who="" if child is None else f"worker {child.slot + 1} ({os.getpid()}): ")
    if tls_cert is None and any(url.startswith("tls:") for url in listen):
        raise CommandError(Status.USAGE, "to listen on tls:// give the server's certificate: --tls-cert FILE")
    _check_proxies(trusted_proxy, listen)
    tls = _server_tls(tls_cert, tls_key, tls_client_ca)
    if workers is not None and monitor is not None:
        raise CommandError(Status.USAGE, "--monitor shows one process; with --workers ask pb status")
    if workers is not None and child is None:
        options = [
            *_repeated("--dialect", dialect),
            *_given("--tls-cert", tls_cert),
            *_given("--tls-key", tls_key),
            *_given("--tls-client-ca", tls_client_ca),
            *_repeated("--trusted-proxy", trusted_proxy),
            *(["--no-describe"] if no_describe else []),
            *(["--unsafe-tracebacks"] if unsafe_tracebacks else []),
            *["-v"] * verbose,
        ]
        return run(serve_by_workers(target, listen, workers, drain, control, options))
    found = import_object(target)
    offer = partial(
        serve_object,
        dialects=dialect or None,
        tls=tls,
        unsafe_tracebacks=unsafe_tracebacks,
        describe=not no_describe,
        monitor=monitor,
        trusted_proxies=trusted_proxy,
    )

    async def main() -> None:
        root = await _made(target, found)
        explained = _Explained(target, listen)
        roots = list(root.values()) if isinstance(root, Mapping) else [root]
        try:
            with explained:
                server = offer(root, *listen)
            if child is None:
                await serve_alone(server, listen, drain, control, explained)
            else:
                await child.serve(server, roots, drain)
        finally:
            for served in roots:
                if isinstance(served, LoginRoot):
                    await served.authorizer.close()  # the module that made it has no other opportunity

    run(main())
    return Status.OK


class _Explained(contextlib.AbstractContextManager[None]):
    """Within it, errors of an object that cannot be served, and of addresses, are errors of the command."""

    def __init__(self, target: str, listen: Sequence[str]) -> None:
        self._target, self._listen = target, listen

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, OSError):
            raise cannot_listen(error, self._listen) from None
        if isinstance(error, (TypeError, ValueError)):
            raise CommandError(Status.USAGE, f"{self._target}: {error}") from None


def _given(option: str, value: object) -> list[str]:
    return [] if value is None else [option, str(value)]


def _repeated(option: str, values: Sequence[str]) -> list[str]:
    return [part for value in values for part in (option, value)]


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
