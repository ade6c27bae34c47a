"""connect: from a url to the object at its other end."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn, TypeVar, overload

from .. import transports
from ..cred.login import Anonymous
from ..cred.verifiers import MIN_ITERATIONS
from ..dialects.offer import web
from ..errors import (
    BrokerError,
    ConnectionLost,
    DeadReferenceError,
    ProtocolError,
    TLSError,
    Unavailable,
)
from ..flavors import Policy, Registry
from ..interfaces import giver
from ..limits import Limits
from ..ports import Value
from ..session import CloseCause
from .affinity import check_asyncio
from .alternatives import Alternatives, Establish
from .backoff import Backoff
from .busypoll import BusyPoll
from .driver import as_protocol
from .host import Host
from .keeping import Keeper
from .login import Login
from .reconnect import ReconnectingReference, keep_connected
from .references import RemoteReference
from .roots import ROOT, check_name
from .settings import Settings

__all__ = ["Connecting", "connect"]

_R = TypeVar("_R")
_I = TypeVar("_I")


@overload
def connect(
    url: str | Sequence[str],
    *,
    object: str = ...,
    username: str | Anonymous | None = ...,
    password: str | None = ...,
    service: str | None = ...,
    perspective: str | None = ...,
    client: Value = ...,
    legacy_login: bool = ...,
    min_iterations: int = ...,
    timeout: float | None = ...,
    limits: Limits | None = ...,
    policy: Policy | None = ...,
    registry: Registry | None = ...,
    dialects: Sequence[str] | None = ...,
    tls: ssl.SSLContext | transports.ClientTLS | None = ...,
    busy_poll: float | None = ...,
    forward: bool = ...,
    reconnect: Literal[False] = ...,
) -> Connecting[RemoteReference]: ...


@overload
def connect(
    url: str | Sequence[str],
    *,
    object: str = ...,
    username: str | Anonymous | None = ...,
    password: str | None = ...,
    service: str | None = ...,
    perspective: str | None = ...,
    client: Value = ...,
    legacy_login: bool = ...,
    min_iterations: int = ...,
    timeout: float | None = ...,
    limits: Limits | None = ...,
    policy: Policy | None = ...,
    registry: Registry | None = ...,
    dialects: Sequence[str] | None = ...,
    tls: ssl.SSLContext | transports.ClientTLS | None = ...,
    busy_poll: float | None = ...,
    forward: bool = ...,
    reconnect: Literal[True] | Backoff,
) -> Connecting[ReconnectingReference]: ...


@overload
def connect(
    url: str | Sequence[str],
    interface: Callable[..., _I],
    *,
    object: str = ...,
    username: str | Anonymous | None = ...,
    password: str | None = ...,
    service: str | None = ...,
    perspective: str | None = ...,
    client: Value = ...,
    legacy_login: bool = ...,
    min_iterations: int = ...,
    timeout: float | None = ...,
    limits: Limits | None = ...,
    policy: Policy | None = ...,
    registry: Registry | None = ...,
    dialects: Sequence[str] | None = ...,
    tls: ssl.SSLContext | transports.ClientTLS | None = ...,
    busy_poll: float | None = ...,
    forward: bool = ...,
    reconnect: bool | Backoff = ...,
) -> Connecting[_I]: ...


def connect(
    url: str | Sequence[str],
    interface: Callable[..., Any] | None = None,
    *,
    object: str = ROOT,
    username: str | Anonymous | None = None,
    password: str | None = None,
    service: str | None = None,
    perspective: str | None = None,
    client: Value = None,
    legacy_login: bool = False,
    min_iterations: int = MIN_ITERATIONS,
    timeout: float | None = 30,
    limits: Limits | None = None,
    policy: Policy | None = None,
    registry: Registry | None = None,
    dialects: Sequence[str] | None = None,
    tls: ssl.SSLContext | transports.ClientTLS | None = None,
    busy_poll: float | None = None,
    forward: bool = False,
    reconnect: bool | Backoff = False,
) -> Connecting[Any]:
    """Connect to a peer, and log in there.

    ``root = await connect(url)`` leaves the connection open until ``root.connection.close()``;
    ``async with connect(url) as root:`` closes it at the end of the block.

    Args:
        url: where the peer listens: ``tcp://``, ``tls://``, ``unix://`` or ``memory:``; ``ws://`` or ``wss://`` for a
            server of Cap'n Web. Or several, of which any will do: they are tried one after the other, each with its
            share of ``timeout``. With ``reconnect`` the next one is tried at once when a connection ends, or the peer
            drains; one that refuses is asked after the others for ten seconds.
        interface: by which the object is called (a class that derives from :class:`Interface`): the reference is given
            as an object of it. None gives the reference itself.
        object: the name of an object that the peer serves, see :func:`serve`. Whether there is one of that name shows
            with the first call, which else raises ``UnknownObject``. A login is made at this object.
        username: as whom to log in: a name, or :data:`ANONYMOUS`; None does not log in.
        password: the user's; None over ``tls://`` where a certificate shows which user it is (see :class:`ClientTLS`).
        service: to which service of the peer's application; None for the avatar, as at a portal of today's
            Twisted.
        perspective: of that service; the one called like the user when None.
        client: a Referenceable that the peer may call (2002's client, today's mind).
        legacy_login: answer an MD5 challenge from a peer that knows nothing better also where that is not safe: over
            plain TCP from elsewhere, or TLS without verification. A program that reads the answer can log in as well.
        min_iterations: rounds of PBKDF2 that the peer's challenge must ask for to be answered. A program that poses as
            the peer, over plain TCP, can try passwords on the answer, and asks for as few as it may. A peer made of
            this library asks for 600,000 unless it is configured otherwise. Where it is more than the default, 4096, an
            MD5 challenge, which has no rounds, is answered with ``legacy_login`` alone.
        timeout: seconds until the connection must be established and logged in; None waits for ever.
        limits: what the peer may ask of us.
        policy: what may be received.
        registry: what type tags mean.
        dialects: names of dialects to allow, best first.
        tls: for ``tls://``: a :class:`ClientTLS`, or a client-side context; None trusts the authorities of
            the system.
        busy_poll: seconds, such as 100e-6, that the event loop stays awake after something was sent: one call after
            the other to a peer on the same machine takes about half the time, and a core. None lets it sleep.
        forward: let references that came by other connections cross to the peer, and pass their calls on.
        reconnect: give a :class:`ReconnectingReference`, which connects and logs in again when the connection is lost;
            a :class:`Backoff` says how soon. The following errors are raised when the first connection cannot be made;
            ``timeout`` is then also what a call waits for a connection.

    Returns:
        An object that is awaited or entered for the reference to the peer's root, or to the object of that name;
        after a login, to the perspective or avatar.

    Raises:
        TypeError: the url, the name of the object, the username or the password is not text; ``interface`` is not an
            interface, or its annotations cannot be looked up or checked.
        ValueError: the url, the name of the object or that of a dialect is invalid, ``busy_poll`` is not such a time,
            or ``tls`` is given for a url that would not be encrypted. (At once; what follows when it is awaited.)
        OSError: no program answers there; TimeoutError when none did in time.
        TLSError: the peer's certificate is not trusted, or TLS was refused.
        ProtocolError: the program that answers does not speak Perspective Broker, or none of our dialects.
        ConnectionLost: the connection ended before it was established.
        LoginFailed: the login was refused. The error never tells which part was wrong.
        Unavailable: the peer shuts down (the error's code is ``"draining"``); or the login was not judged, because too
            many have failed from this address or the peer is busy. A later attempt may succeed; with ``reconnect`` it
            is made.
        RemoteError: the peer's own code raised when it let us in.
    """
    addresses = [_parse(one) for one in ([url] if isinstance(url, str) else url)]
    if not addresses:
        raise ValueError("connect needs at least one url")
    check_name(object)
    if tls is not None and not any(address.is_encrypted for address in addresses):
        raise ValueError(f"tls= is given, but nothing encrypts {addresses[0]}; write tls://HOST:PORT")
    settings = Settings.of(limits, policy, registry, dialects, busy_poll=busy_poll, forward=forward)
    share = None if timeout is None else timeout / len(addresses)
    for address in addresses:
        if address.is_web:
            web(str(address), address.path)  # raises now where the extra is missing
    ways: list[Establish] = []
    for address in addresses:
        encrypts = address.is_encrypted
        way: Establish = partial(_connect, address, object, settings, share, tls if encrypts else None)
        login = Login.of(
            username,
            password,
            service,
            perspective,
            client,
            legacy_login,
            tls=encrypts,
            min_iterations=min_iterations,
            again=reconnect is not False,
        )
        ways.append(way if login is None else partial(_log_in, way, login, share))
    urls = [str(address) for address in addresses]
    establish = Alternatives(urls, ways).establish if len(ways) > 1 else ways[0]
    give = None if interface is None else giver(interface)
    if reconnect is False:
        return Connecting(establish, lambda reference: reference.connection.close, give)
    backoff = Backoff() if reconnect is True else reconnect
    if not isinstance(backoff, Backoff):
        raise TypeError(f"reconnect is True, False or a Backoff, not {reconnect!r}")
    keep = partial(_keep, establish, " or ".join(urls), backoff, timeout, len(ways) - 1)
    return Connecting(keep, lambda reference: reference.close, give)


class Connecting(Generic[_R]):
    """A connection that is being made: awaitable, and an asynchronous context manager.

    Args:
        establish: makes it; not called before this is awaited or entered.
        closer: gives what closes it, for a reference.
        give: makes of the reference what the program gets; None gives the reference.
    """

    def __init__(
        self,
        establish: Callable[[], Coroutine[Any, Any, Value]],
        closer: Callable[[Value], Callable[[], Awaitable[None]]],
        give: Callable[[Value], _R] | None = None,
    ) -> None:
        self._establish = establish
        self._closer = closer
        self._give: Callable[[Value], _R] = _as_it_is if give is None else give
        self._close: Callable[[], Awaitable[None]] | None = None

    def __await__(self) -> Generator[Any, None, _R]:
        check_asyncio()
        return self._give((yield from self._establish().__await__()))

    async def __aenter__(self) -> _R:
        check_asyncio()
        reference = await self._establish()
        self._close = self._closer(reference)  # the reference may be released before the block ends
        return self._give(reference)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._close is not None
        await self._close()

    if not TYPE_CHECKING:  # which would conclude that there is every attribute

        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(
                f"there is no {name!r} before there is a connection: await pb.connect(...) first"
            )


def _as_it_is(reference: Value) -> Value:
    return reference


async def _keep(
    establish: Callable[[], Coroutine[Any, Any, RemoteReference]],
    url: str,
    backoff: Backoff,
    timeout: float | None,
    others: int,
) -> ReconnectingReference:
    return await keep_connected(Keeper(establish, url, backoff, timeout, others))


def _parse(url: str) -> transports.Address:
    address = transports.parse_url(url)
    if (address.is_web or address.scheme in ("tcp", "tls")) and not address.host:
        raise ValueError(f"{url!r} names no host to connect to")
    return address


async def _connect(
    address: transports.Address,
    name: str,
    settings: Settings,
    timeout: float | None,
    tls: ssl.SSLContext | transports.ClientTLS | None,
) -> RemoteReference:
    host: Host | None = None

    def factory() -> asyncio.Protocol:
        nonlocal host
        poll = (
            None if settings.busy_poll is None else BusyPoll(asyncio.get_running_loop(), settings.busy_poll)
        )
        url = str(address)
        host = Host(settings, url, poll=poll, web=web(url, address.path) if address.is_web else None)
        return as_protocol(host.driver)

    deadline = asyncio.timeout(timeout)
    try:
        async with deadline:
            try:
                await transports.connect(address, factory, tls, settings.limits.handshake_seconds)
            except BaseException:
                if host is not None:
                    host.driver.give_up()
                raise
            assert host is not None
            await host.wait_open()
    except TimeoutError:
        if not deadline.expired():
            raise  # the system's own
        if host is not None:
            host.broker.close("timeout", "the connection was not established in time")
            await host.connection.wait_closed()
        raise TimeoutError(f"no connection to {address} within {timeout:g} s") from None
    except BaseException:
        if host is not None:
            host.broker.close("cancelled", "the connection was given up")
        raise
    cause = host.connection.close_cause
    if cause is not None:
        await host.connection.wait_closed()
        raise _why(host, cause) from host.driver.error
    return host.root(name)


def _why(host: Host, cause: CloseCause) -> BrokerError:
    """Return what to raise for a connection that ended before it was established."""
    driver = host.driver
    # In TLS 1.3 the client finishes first, and learns later that it was refused: by an alert at best.
    if isinstance(driver.error, ssl.SSLError):
        return transports.tls_error(driver.error)
    silent = host.connection.statistics().bytes_received == 0
    if silent and driver.channel is not None and cause.code == "bad-handshake":
        return TLSError(
            "certificate-refused",
            "the peer hung up right after the TLS handshake: it seems to want a certificate, or another one",
        )
    if silent and driver.channel is None and cause.code == "handshake-timeout":
        return ProtocolError(cause.code, f"{cause.reason}; a port that says nothing may expect tls://")
    if cause.code in ("lost", "closed"):
        return ConnectionLost(cause.code, cause.reason)
    if cause.code in ("drained", "aged"):  # it greeted, to say that it goes
        return Unavailable(cause.reason, code="draining")
    return ProtocolError(cause.code, cause.reason)


async def _log_in(
    establish: Callable[[], Coroutine[Any, Any, RemoteReference]], login: Login, timeout: float | None
) -> RemoteReference:
    loop = asyncio.get_running_loop()
    began = loop.time()
    root = await establish()
    connection = root.connection
    deadline = asyncio.timeout(None if timeout is None else timeout - (loop.time() - began))
    try:
        async with deadline:
            return await login.run(root)
    except TimeoutError:
        await connection.close("timeout", "the login took too long")
        if not deadline.expired():
            raise
        raise TimeoutError(f"no login at {connection.peer} within {timeout:g} s") from None
    except Exception as error:
        cause = connection.close_cause
        await connection.close("login-failed", "the login failed")
        if isinstance(error, DeadReferenceError) and cause is not None:  # it ended between two steps
            raise ConnectionLost(cause.code, cause.reason) from None
        raise
    except BaseException:
        connection.end("cancelled", "the connection was given up")
        raise
