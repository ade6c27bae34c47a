"""``pb describe``: what an object of a peer offers."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Final

from cyclopts import Parameter

from ..aio import run
from .calling import patience
from .client import ClientOptions, Credentials, Url, connected
from .descriptions import ask, missing, print_text, whole, whole_method
from .output import show_json

__all__ = ["EXAMPLES", "describe"]

#: Shown at the end of its help.
EXAMPLES: Final = r"""
Examples:

```console
pb describe tcp://127.0.0.1:8787
pb describe tcp://127.0.0.1:8787 greet
pb describe unix:///run/jobs.sock --object status
pb describe tls://chat.example.org --user alice --service chat
pb describe tcp://127.0.0.1:8787 submit --json | jq .parameters.required
```

Exit codes: 0 described, 1 there is no such method, or the peer does not describe its objects, 2 wrong usage,
3 no connection or no answer, 4 no login.
"""


def describe(
    url: Annotated[Url, Parameter(help="Where the peer listens, such as tcp://127.0.0.1:8787.")],
    method: Annotated[str | None, Parameter(help="Describe this method only.")] = None,
    /,
    *,
    json: Annotated[
        bool,
        Parameter(
            help="Print one line of JSON; parameters is a JSON Schema of the arguments by name.",
            negative="",
            show_default=False,
        ),
    ] = False,
    options: ClientOptions = ClientOptions(),  # noqa: B008 # a frozen value
) -> None:
    """Print the interfaces, methods and documentation of a peer's root object, or of your perspective there.

    A parameter with =... may be left out. Peers describe their objects to programs of the same machine and to users
    who have logged in, over the dialect pb7.
    """
    options.prepare()
    run(_describe(url, options, options.credentials(url), method, json))


async def _describe(
    url: str, options: ClientOptions, credentials: Credentials, name: str | None, json: bool
) -> None:
    async with connected(url, options, credentials) as root:
        async with patience(url, options, "what it offers"):
            description = await ask(root)
        method = None if name is None else description.method(name)
        if name is not None and method is None:
            raise missing(description, name)
        if json:
            show_json(dataclasses.asdict(description if method is None else method))
        else:
            print_text(whole(description) if method is None else whole_method(method))
