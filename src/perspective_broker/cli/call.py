"""``pb call``: one call from the shell."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

from cyclopts import Parameter

from ..aio import run
from ..flavors.values import Value
from .arguments import parse_arguments
from .client import ClientOptions, Credentials, Url, connected
from .output import show, show_json
from .status import CommandError, Status

__all__ = ["EXAMPLES", "call"]


#: Shown at the end of its help.
EXAMPLES: Final = r"""
Examples:

```console
pb call tcp://127.0.0.1:8787 greet world
pb call tcp://127.0.0.1:8787 add 1 2.5
pb call unix:///run/jobs.sock submit "['build', 'test']" priority=3
pb call tcp://127.0.0.1:8787 say '"1"'      # the text, not the number
pb call tcp://127.0.0.1:8787 say -- --loud  # after -- nothing is an option
pb call tcp://127.0.0.1:8787 status --json | jq .load
pb call tls://chat.example.org join lobby --user alice --service chat
```

Exit codes: 0 answered, 1 the peer reports an error, 2 wrong usage, 3 no connection or no answer,
4 no login.
"""


def call(
    url: Annotated[Url, Parameter(help="Where the peer listens, such as tcp://127.0.0.1:8787.")],
    method: Annotated[
        str, Parameter(help="The name of a method of the root object, or of your perspective.")
    ],
    /,
    *args: Annotated[
        str, Parameter(help="An argument: a Python literal, or else text; name=value is a keyword.")
    ],
    json: Annotated[
        bool, Parameter(help="Print the answer as one line of JSON.", negative="", show_default=False)
    ] = False,
    options: ClientOptions = ClientOptions(),  # noqa: B008 # a frozen value
) -> None:
    """Call a method of a peer's root object, or of your perspective there, and print what it returns.

    Text is printed as it is, None prints nothing, other values print as Python writes them.
    """
    options.prepare()
    positional, keywords = parse_arguments(args)
    value = run(_call(url, options, options.credentials(url), method, positional, keywords))
    if not json:
        show(value)
        return
    try:
        show_json(value)
    except ValueError as error:
        raise CommandError(Status.REMOTE, f"the answer cannot be shown: {error}") from None


async def _call(
    url: str,
    options: ClientOptions,
    credentials: Credentials,
    method: str,
    args: list[Value],
    kwargs: dict[str, Value],
) -> Value:
    async with connected(url, options, credentials) as root:
        try:
            async with asyncio.timeout(options.seconds) as limit:
                return await root.call(method, *args, **kwargs)
        except TimeoutError:
            if not limit.expired():
                raise
            text = f"{url} did not answer {method!r} within {options.timeout:g} s"
            raise CommandError(Status.CONNECTION, text) from None
