"""An authorizer that keeps identities in SQLite or PostgreSQL.

This module imports no database library: :class:`SQLAuthorizer` does so when one is made, and says what to
install.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from ...errors import UsageError
from ..attempts import AttemptTable
from ..authorizer import Authorizer, MissingExtra, StoreError, UnknownIdentity, checked_iterations
from ..identity import Identity, checked_key, is_possible_name
from ..verifiers import LegacyDigest, ScramVerifier, fake_verifier

if TYPE_CHECKING:
    from .store import Store

__all__ = ["SQLAuthorizer"]

#: Longer than any burst of writers takes (a write is a few milliseconds), shorter than the handshake's time.
_BUSY_TIMEOUT = 8.0


class SQLAuthorizer(Authorizer):
    """Keeps identities in a database that several processes may share.

    The tables (their names begin with ``pb_``) are made, and brought up to date, on first use; processes that
    start together agree who does it. SQLite files are made readable for their owner alone, and use
    write-ahead logging.

    Made anywhere, it belongs to the event loop that uses it first.

    Args:
        url: ``sqlite:///relative.db``, ``sqlite:////absolute.db``,
            ``postgresql://user:password@host/database``.
        iterations: PBKDF2 rounds of the verifiers made here. None: what the store was begun with
            (:data:`DEFAULT_ITERATIONS`). A number becomes the store's setting for all its users. Verifiers
            made earlier keep theirs, and until those passwords change, names in use can be told from others
            by that.
        busy_timeout: seconds to wait for a lock or a connection before :class:`StoreBusy`.
        attempts: see :class:`Authorizer`.

    Raises:
        MissingExtra: SQLAlchemy or the database's driver is not installed.
        ValueError: the url is none, or for another kind of database; ``iterations`` out of range.
        TypeError: ``iterations`` is not an int.
    """

    def __init__(
        self,
        url: str,
        *,
        iterations: int | None = None,
        busy_timeout: float = _BUSY_TIMEOUT,
        attempts: AttemptTable | None = None,
    ) -> None:
        super().__init__(attempts=attempts)
        if iterations is not None:
            checked_iterations(iterations)
        extra = "sql" if url.startswith("sqlite") else "postgres"
        try:
            importlib.import_module("aiosqlite" if extra == "sql" else "asyncpg")
            from .store import Store
        except ModuleNotFoundError as error:
            raise MissingExtra(
                f"SQLAuthorizer needs {error.name}; install it with: "
                f'pip install "perspective-broker[{extra}]"'
            ) from error
        self._store: Store = Store(url, iterations=iterations, busy_timeout=busy_timeout)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    async def get_identity(self, name: str) -> Identity | None:
        store = await self._opened()
        # Not every text is fit for a database (NUL, lone surrogates), and strangers send anything.
        return await store.get(name) if is_possible_name(name) else None

    async def add_identity(self, identity: Identity) -> None:
        if not isinstance(identity, Identity):
            raise TypeError(f"an authorizer keeps Identity objects, not {type(identity).__name__}")
        await (await self._opened()).add(identity)

    async def remove_identity(self, name: str) -> None:
        await (await self._opened()).remove(_known(name))

    async def set_secrets(
        self, name: str, verifier: ScramVerifier | None, legacy_digest: LegacyDigest | None = None
    ) -> None:
        await (await self._opened()).set_secrets(_known(name), verifier, legacy_digest)

    async def set_disabled(self, name: str, disabled: bool) -> None:
        await (await self._opened()).set_disabled(_known(name), disabled)

    async def grant(self, name: str, service: str, perspective: str | None = None) -> None:
        key = checked_key(service, name if perspective is None else perspective)
        await (await self._opened()).grant(_known(name), *key)

    async def revoke(self, name: str, service: str, perspective: str | None = None) -> None:
        key = checked_key(service, name if perspective is None else perspective)
        await (await self._opened()).revoke(_known(name), *key)

    async def list(self) -> AsyncIterator[Identity]:
        store = await self._opened()
        after = ""  # no name is empty
        while page := await store.page(after):
            for identity in page:
                yield identity
            after = page[-1].name

    async def iterations(self) -> int:
        return (await self._opened()).iterations

    async def fake_verifier(self, name: str) -> ScramVerifier:
        store = await self._opened()
        return fake_verifier(store.fake_key, name, iterations=store.iterations)

    async def close(self) -> None:
        """Close all connections. Final: what is used afterwards raises :class:`StoreError`."""
        if self._loop is not None:
            self._check_loop()
        self._closed = True
        await self._store.close()

    async def _opened(self) -> Store:
        if self._closed:
            raise StoreError(f"{self._store.label} is closed")
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        self._check_loop()
        await self._store.open()
        return self._store

    def _check_loop(self) -> None:
        if self._loop is not asyncio.get_running_loop():
            raise UsageError("a SQLAuthorizer belongs to the event loop that used it first; make another one")

    def __repr__(self) -> str:
        return f"<SQLAuthorizer {self._store.label}{' closed' if self._closed else ''}>"


def _known(name: str) -> str:
    """Return the name when a store can have it, and say that it does not otherwise."""
    if not is_possible_name(name):
        raise UnknownIdentity(f"there is no identity {name!a}")
    return name
