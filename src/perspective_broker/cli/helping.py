"""``help(root)`` and ``help(root.greet)`` at the prompt: what the peer says of its objects."""

from __future__ import annotations

import builtins
from collections.abc import Generator
from typing import Any

from ..aio import Remote, RemoteReference
from ..aio.untyped import UntypedMethod
from .descriptions import ask, missing, print_text, whole, whole_method

__all__ = ["Explained", "Help"]


class Help:
    """Python's ``help``, and of the peer's objects and methods."""

    def __call__(self, *things: Any) -> Explained | None:
        if len(things) == 1 and isinstance(things[0], (Remote, RemoteReference, UntypedMethod)):
            return Explained(things[0])
        builtins.help(*things)
        return None

    def __repr__(self) -> str:
        return "help(root) describes the peer's object, help(root.name) a method, help(pb.serve) what is here"


class Explained:
    """A description that is to be printed, by awaiting it."""

    def __init__(self, thing: Remote | RemoteReference | UntypedMethod) -> None:
        self._thing = thing

    def __await__(self) -> Generator[Any, None, None]:
        return self._print().__await__()

    async def _print(self) -> None:
        thing = self._thing
        if not isinstance(thing, UntypedMethod):
            print_text(whole(await ask(thing)))
            return
        assert isinstance(thing.__self__, Remote)
        description = await ask(thing.__self__)
        method = description.method(thing.__name__)
        if method is None:
            raise missing(description, thing.__name__)
        print_text(whole_method(method))
