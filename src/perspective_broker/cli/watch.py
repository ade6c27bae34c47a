"""``pb watch``: follow what a method returns, a line for each change."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Annotated, Final

from cyclopts import Parameter

from ..aio import RemoteReference, run
from ..errors import ConnectionLost
from ..flavors import Registry, RemoteCache, default_registry
from ..flavors.values import Value
from .arguments import Arguments, Data, Texts, read_arguments
from .call import or_no_json
from .calling import answer, patience
from .client import ClientOptions, Credentials, Url, connected
from .descriptions import ask
from .output import printable, show_item, show_json
from .status import CommandError, Status

__all__ = ["EXAMPLES", "watch"]

#: Shown at the end of its help.
EXAMPLES: Final = r"""
Examples:

```console
pb watch tcp://127.0.0.1:8787 score
pb watch unix:///run/jobs.sock job 17 --json | jq .done
pb watch tcp://127.0.0.1:8787 log --data '{"level": "error"}'
```

Exit codes: 0 no more changes can come, 1 the peer reports an error, 2 wrong usage, or a value that cannot change,
3 no connection, or it was lost, 4 no login, 130 Ctrl-C.
"""


def watch(
    url: Annotated[Url, Parameter(help="Where the peer listens, such as tcp://127.0.0.1:8787.")],
    method: Annotated[str, Parameter(help="The name of a method that returns a live object or a stream.")],
    /,
    *args: Texts,
    data: Data = None,
    json: Annotated[
        bool, Parameter(help="Print each line as JSON.", negative="", show_default=False)
    ] = False,
    options: ClientOptions = ClientOptions(),  # noqa: B008 # a frozen value
) -> None:
    """Call a method, and print what it returns and each change of it, until it ends or Ctrl-C.

    What changes is a live object (pb.Live), another cached object (pb.Cacheable), or a stream, of which each item is
    printed. Of a live object the first line has all fields, each further one those that changed; of another one
    each further line is an update. The classes need not be known here.
    """
    options.prepare()
    arguments = read_arguments(args, data, stdin_taken=options.reads_stdin)
    run(_watch(url, options, options.credentials(url), method, arguments, show_json if json else show_item))


async def _watch(
    url: str,
    options: ClientOptions,
    credentials: Credentials,
    method: str,
    arguments: Arguments,
    show: Callable[[Value], None],
) -> None:
    async with connected(url, options, credentials, _AnyReplica(default_registry)) as root:
        value = await answer(root, url, options, method, arguments)
        if isinstance(value, _Replica):
            changes = value.changes()
        elif isinstance(value, RemoteReference) and await _is_stream(value, url, options):
            changes = aiter(value)
        else:
            raise CommandError(
                Status.USAGE,
                f"{method!r} returns nothing that changes: a live object (pb.Live), another pb.Cacheable, or a stream",
            )
        async for change in changes:
            or_no_json(show, change)
        cause = root.connection.close_cause
        if cause is not None:
            raise ConnectionLost(cause.code, cause.reason)


async def _is_stream(reference: RemoteReference, url: str, options: ClientOptions) -> bool:
    """Return whether an object is a stream; a peer that does not tell is taken to have sent one."""
    try:
        async with patience(url, options, "what it has returned"):
            return (await ask(reference)).is_stream
    except CommandError as error:
        if error.status is not Status.REMOTE:
            raise
        return True


class _Replica(RemoteCache):
    """A replica of any class: its state, and the updates that have not been shown."""

    __slots__ = ("_ended", "_news", "_unseen")

    def set_copyable_state(self, state: Value) -> None:
        self._unseen: deque[Value] = deque([state])
        self._ended = False
        self._news = asyncio.Event()

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Take any update of the peer."""
        if not name.startswith("observe_"):
            raise AttributeError(name)
        return partial(self._observe, name.removeprefix("observe_"))

    def _observe(self, update: str, /, *args: Value, **kwargs: Value) -> None:
        # A live object's one update has the fields that changed; to its reader they are the change.
        is_live = update == "changed" and len(args) == 1 and type(args[0]) is dict and not kwargs
        self._put(args[0] if is_live else _Update(update, args, kwargs))

    def _put(self, change: Value) -> None:
        self._unseen.append(change)
        self._news.set()

    def updates_ended(self) -> None:
        self._ended = True
        self._news.set()

    async def changes(self) -> AsyncIterator[Value]:
        """Yield the first state, and then each change."""
        while True:
            while self._unseen:
                yield self._unseen.popleft()
            if self._ended:
                return
            self._news.clear()
            await self._news.wait()

    def __repr__(self) -> str:
        return "<a live object>"


class _Update:
    """An update of a cached object: its name and arguments."""

    def __init__(self, name: str, args: tuple[Value, ...], kwargs: dict[str, Value]) -> None:
        self.update = name
        self.args = args
        self.kwargs = kwargs

    def __repr__(self) -> str:
        shown = [repr(value) for value in self.args]
        shown += [f"{name}={value!r}" for name, value in self.kwargs.items()]
        return f"{printable(self.update)}({', '.join(shown)})"


class _AnyReplica(Registry):
    """The registered classes, except that everything that is followed arrives as a :class:`_Replica`."""

    def find_class(self, tag: str) -> type | None:
        found = super().find_class(tag)
        if found is None:
            return None if self.find_factory(tag) is not None else _Replica
        return _Replica if issubclass(found, RemoteCache) else found
