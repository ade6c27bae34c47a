"""One call of a method of the peer, for the commands that make it and then go on with the answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from ..aio import RemoteReference
from ..flavors.values import Value
from .arguments import Arguments
from .client import ClientOptions
from .status import CommandError, Status

__all__ = ["answer", "patience"]


@contextlib.asynccontextmanager
async def patience(url: str, options: ClientOptions, what: str) -> AsyncIterator[None]:
    """Give the peer ``--timeout`` seconds for the block.

    Raises:
        CommandError: it took longer.
    """
    limit = asyncio.timeout(options.seconds)
    try:
        async with limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        text = f"{url} did not answer {what} within {options.timeout:g} s"
        raise CommandError(Status.CONNECTION, text) from None


async def answer(
    root: RemoteReference, url: str, options: ClientOptions, method: str, arguments: Arguments
) -> Value:
    """Call a method and return what it answers.

    Raises:
        CommandError: no answer has come in time.
    """
    async with patience(url, options, repr(method)):
        return await root.call(method, *arguments.args, **arguments.kwargs)
