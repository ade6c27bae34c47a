"""SQLAuthorizer: identities in SQLite or PostgreSQL.

This module imports no database library. Making a :class:`SQLAuthorizer` does, and its error names what to install.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import math
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ...errors import UsageError
from ..attempts import AttemptTable
from ..authorizer import Authorizer, MissingExtra, StoreError, UnknownIdentity
from ..identity import Identity, checked_key, is_possible_name
from ..verifiers import LegacyDigest, ScramVerifier, checked_iterations, fake_verifier

if TYPE_CHECKING:
    from .store import Store

__all__ = ["SQLAuthorizer"]

T = TypeVar("T")

#: Kind of database -> the extra that it needs, and the module that is missing without it.
_NEEDS = {
    "sqlite": ("sql", "aiosqlite"),
    "postgresql": ("postgres", "asyncpg"),
    "postgres": ("postgres", "asyncpg"),
}

#: Seconds between two counts of the rounds of all verifiers; counting a million takes about a second.
_COUNT_SECONDS = 600.0

#: Seconds between two removals of forgiven failures.
_PURGE_SECONDS = 60.0

#: Seconds after its attempt at which a failure is in the database, or will not be: an attempt waits a minute at most.
_SETTLED_SECONDS = 90.0

#: Longer than any burst of writers takes (a write is a few milliseconds), shorter than the handshake's time.
_BUSY_TIMEOUT = 8.0


class SQLAuthorizer(Authorizer):
    """Keeps identities in a database that several processes may share.

    The tables (their names begin with ``pb_``) are made, and brought up to date, on first use; of processes that start
    together one does it. SQLite files are made readable for their owner alone, and use write-ahead logging.

    It may be made anywhere, and belongs to the event loop that uses it first. An operation whose caller is cancelled
    runs to its end. The caller then does not know whether the change was made, but it is never made in part.

    Failed logins are counted in the database, for all programs that share it, by its clock. An attempt for a name
    without failures is written only when it was refused, so that a login which succeeds at once writes nothing. An
    attempt for any other name is written before it is checked.

    Args:
        url: ``sqlite:///relative.db``, ``sqlite:////absolute.db``, ``postgresql://user:password@host/database``.
        iterations: PBKDF2 rounds of new verifiers. None uses the setting of the store, which begins with
            :data:`DEFAULT_ITERATIONS`. A number becomes that setting, for all programs. Verifiers made earlier keep
            their rounds, and so do some of those that are shown for users that do not exist.
        busy_timeout: seconds to wait for a lock or a connection before :class:`StoreBusy` is raised.
        attempts: see :class:`Authorizer`.

    Raises:
        MissingExtra: SQLAlchemy or the database's driver is not installed.
        ValueError: the url is not valid, or for another kind of database; ``iterations`` is out of range.
        TypeError: ``url`` is not text; ``iterations`` is not an int.
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
        if not isinstance(url, str):
            raise TypeError(f"store url: must be text, such as sqlite:///identities.db, not {url!r:.100}")
        extra, driver = _NEEDS.get(url.partition(":")[0].partition("+")[0], ("sql", "sqlalchemy"))
        try:
            importlib.import_module(driver)
            from .store import Store
        except ModuleNotFoundError as error:
            raise MissingExtra(
                f"SQLAuthorizer needs {error.name}; install it with: "
                f'pip install "perspective-broker[{extra}]"'
            ) from error
        self._store: Store = Store(url, iterations=iterations, busy_timeout=busy_timeout)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._seen = AttemptTable()  # the failures that are in the database, as far as this program knows
        self._running: set[asyncio.Task[Any]] = set()
        self._rounds: dict[int, int] | None = None  # rounds of the users' verifiers, if they were counted
        self._count_again = -math.inf  # time of the next count
        self._purge_again = -math.inf

    async def get_identity(self, name: str) -> Identity | None:
        # Databases do not take every text (NUL, lone surrogates), and unauthenticated peers send any.
        return await (await self._opened()).get(name) if is_possible_name(name) else None

    async def get_secrets(self, name: str) -> Identity | None:
        if not is_possible_name(name):
            return None
        store = await self._opened()
        found, failures, age = await store.get_secrets(name, self._fingerprint(store, "name", name))
        self._learn(name, failures, age)
        verifier = None if found is None else found.verifier
        if verifier is not None and self._rounds is not None and verifier.iterations not in self._rounds:
            await self._count_rounds()  # otherwise that number would show that the user exists
        return found

    async def add_identity(self, identity: Identity) -> None:
        if not isinstance(identity, Identity):
            raise TypeError(f"identity: must be an Identity, not {type(identity).__name__}")
        await self._do(lambda store: store.add(identity))

    async def remove_identity(self, name: str) -> None:
        _known(name)
        await self._do(lambda store: store.remove(name))

    async def set_secrets(
        self, name: str, verifier: ScramVerifier | None, legacy_digest: LegacyDigest | None = None
    ) -> None:
        _known(name)
        await self._do(lambda store: store.set_secrets(name, verifier, legacy_digest))

    async def set_disabled(self, name: str, disabled: bool) -> None:
        _known(name)
        await self._do(lambda store: store.set_disabled(name, disabled))

    async def grant(self, name: str, service: str, perspective: str | None = None) -> None:
        key = checked_key(service, name if perspective is None else perspective)
        _known(name)
        await self._do(lambda store: store.grant(name, *key))

    async def revoke(self, name: str, service: str, perspective: str | None = None) -> None:
        key = checked_key(service, name if perspective is None else perspective)
        _known(name)
        await self._do(lambda store: store.revoke(name, *key))

    async def list(self) -> AsyncIterator[Identity]:
        after = ""  # no name is empty
        while page := await self._page(after):
            for identity in page:
                yield identity
            after = page[-1].name

    async def iterations(self) -> int:
        return (await self._opened()).iterations

    async def fake_verifier(self, name: str) -> ScramVerifier:
        store = await self._opened()
        now = asyncio.get_running_loop().time()
        if now >= self._count_again or self._rounds is None:
            # Concurrent calls use the old count meanwhile, if there is one.
            self._count_again = now + _COUNT_SECONDS
            await self._count_rounds()
        return fake_verifier(store.fake_key, name, iterations=store.iterations, in_use=self._rounds)

    async def _count_rounds(self) -> None:
        self._rounds = await self._do(lambda store: store.rounds_in_use())

    # ------------------------------------------------------------ attempts

    async def record_failure(self, name: str, now: float) -> bool:
        self._attempts.record_failure(name, now)
        if not self._seen.failures(name, now):
            return False
        await self._count_name(name, now)
        return True

    async def record_refusal(self, name: str, source: str | None, now: float, *, counted: bool) -> float:
        if not counted:
            await self._count_name(name, now)
        store = await self._opened()
        if now >= self._purge_again:
            self._purge_again = now + _PURGE_SECONDS
            await self._to_its_end(store.forget_old_failures())
        if source is None:
            return 0.0
        fingerprint = self._fingerprint(store, "source", source)
        return await self._to_its_end(store.count_failure(fingerprint, of_source=True))

    async def record_success(self, name: str) -> None:
        seen = self._seen.failures(name, asyncio.get_running_loop().time())
        self._attempts.record_success(name)
        self._seen.record_success(name)
        if seen:
            store = await self._opened()
            await self._to_its_end(store.forget_failures(self._fingerprint(store, "name", name)))

    async def _count_name(self, name: str, now: float) -> None:
        store = await self._opened()
        counted = await self._to_its_end(store.count_failure(self._fingerprint(store, "name", name)))
        for table in (self._attempts, self._seen):
            table.learn(name, int(counted), now, now)

    def _learn(self, name: str, failures: int, age: float) -> None:
        """Take over what the store has of a name."""
        now = asyncio.get_running_loop().time()
        for table in (self._attempts, self._seen):
            if failures:
                table.learn(name, failures, now - age, now)
            else:  # the user has logged in through another program
                table.forget(name, now - _SETTLED_SECONDS)

    def _fingerprint(self, store: Store, kind: str, text: str) -> bytes:
        """Return what stands for a name or a source in the database, the same in all programs."""
        person = kind.encode()
        return hashlib.blake2b(
            text.encode("utf-8", "surrogatepass"), digest_size=16, key=store.fake_key, person=person
        ).digest()

    # ------------------------------------------------------------ the store

    async def close(self) -> None:
        """Wait for running operations and close all connections. Later use raises :class:`StoreError`."""
        self._check_loop()
        self._closed = True
        if self._running:
            await asyncio.wait(self._running)
        await self._to_its_end(self._store.close())

    async def _page(self, after: str) -> Sequence[Identity]:
        return await self._do(lambda store: store.page(after))

    async def _do(self, operation: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
        return await self._to_its_end(operation(await self._opened()))

    async def _opened(self) -> Store:
        if self._closed:
            raise StoreError(f"{self._store.label} is closed")
        self._check_loop()
        if not self._store.ready:
            await self._to_its_end(self._store.open())
        return self._store

    async def _to_its_end(self, operation: Coroutine[Any, Any, T]) -> T:
        """Await ``operation`` in a task that goes on when the caller is cancelled.

        A database driver that is cancelled in the middle leaves its connection, and with SQLite the lock of the
        connection, to the garbage collector. Operations are short, so they run to their end.
        """
        task = asyncio.ensure_future(operation)
        self._running.add(task)
        task.add_done_callback(self._ended)
        await asyncio.wait((task,))
        return task.result()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved, even if the caller was cancelled

    def _check_loop(self) -> None:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        if self._loop is not asyncio.get_running_loop():
            raise UsageError(
                "a SQLAuthorizer belongs to the event loop that used it first; make one for this loop"
            )

    def __repr__(self) -> str:
        return f"<SQLAuthorizer {self._store.label}{' closed' if self._closed else ''}>"


def _known(name: str) -> None:
    """Raise UnknownIdentity for a name that no identity can have, without a query."""
    if not is_possible_name(name):
        raise UnknownIdentity(f"there is no identity {name!a}")
