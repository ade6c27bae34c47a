"""Tab at the prompt: names of Python, and the methods of the peer's objects."""

from __future__ import annotations

import asyncio
import contextlib
import re
import rlcompleter
from collections.abc import Callable, Coroutine
from typing import Any, Final

from ..aio import Remote, describe
from ..aio.untyped import names_of, target_of
from ..errors import BrokerError

__all__ = ["Completing"]

#: What is before the last dot of a name that is being typed.
_OWNER: Final = re.compile(r"(\w+(?:\.\w+)*)\.\w*")

#: Seconds that a person waits after Tab.
_PATIENCE: Final = 2.0


class Completing(rlcompleter.Completer):
    """Completes names.

    Args:
        names: those at the prompt.
        run: runs a coroutine in the event loop of the connection, and waits for it here.
    """

    def __init__(self, names: dict[str, Any], run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        super().__init__(names)
        self._names = names
        self._run = run

    def attr_matches(self, text: str) -> list[str]:
        """Return the attributes that begin so; ask the peer first when they are those of its object."""
        owner = _OWNER.match(text)
        if owner is not None:
            with contextlib.suppress(Exception):  # there is nothing of that name
                found = eval(owner[1], self._names)
                if isinstance(found, Remote) and not names_of(found) and _has_come(found):
                    self._run(_learn(found))
        return super().attr_matches(text)


def _has_come(remote: Remote) -> bool:
    """Return whether an object is there, because waiting for it here, and giving up, would cancel the call."""
    target = target_of(remote)
    return not isinstance(target, asyncio.Future) or (
        target.done() and not target.cancelled() and target.exception() is None
    )


async def _learn(remote: Remote) -> None:
    """Let an object have the names of its methods, if the peer gives them soon."""
    with contextlib.suppress(BrokerError, TypeError, TimeoutError):
        async with asyncio.timeout(_PATIENCE):
            await describe(remote)
