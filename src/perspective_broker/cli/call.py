"""``pb call``: one call from the shell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

from cyclopts import Parameter

from ..aio import Description, RemoteReference, describe, run
from ..errors import UsageError
from ..flavors.values import Value
from .arguments import Arguments, Data, Texts, read_arguments
from .calling import answer, patience
from .client import ClientOptions, Credentials, Url, connected
from .descriptions import ask, brief, print_text
from .output import show, show_item, show_json
from .status import CommandError, Status

__all__ = ["EXAMPLES", "call", "or_no_json"]


#: Shown at the end of its help.
EXAMPLES: Final = r"""
Examples:

```console
pb call tcp://127.0.0.1:8787                # which methods are there?
pb call tcp://127.0.0.1:8787 greet world
pb call tcp://127.0.0.1:8787 add 1 2.5
pb call unix:///run/jobs.sock submit "['build', 'test']" priority=3
pb call tcp://127.0.0.1:8787 say '"1"'      # the text, not the number
pb call tcp://127.0.0.1:8787 say -- --loud  # after -- nothing is an option
pb call tcp://127.0.0.1:8787 submit --data '{"steps": ["build"], "priority": 3}'
pb call tcp://127.0.0.1:8787 status --json | jq .load
pb call tcp://127.0.0.1:8787 log --json     # a stream: its items, one a line
pb call tls://chat.example.org join lobby --user alice --service chat
```

Exit codes: 0 answered, 1 the peer reports an error, 2 wrong usage, 3 no connection or no answer,
4 no login.
"""


def call(
    url: Annotated[Url, Parameter(help="Where the peer listens, such as tcp://127.0.0.1:8787.")],
    method: Annotated[
        str | None,
        Parameter(
            help="The name of a method of the root object, or of your perspective; without it the command lists them."
        ),
    ] = None,
    /,
    *args: Texts,
    data: Data = None,
    json: Annotated[
        bool, Parameter(help="Print the answer as one line of JSON.", negative="", show_default=False)
    ] = False,
    options: ClientOptions = ClientOptions(),  # noqa: B008 # a frozen value
) -> None:
    """Call a method of a peer's root object, or of your perspective there, and print what it returns.

    Text is printed as it is, None prints nothing, other values print as Python writes them. Of a stream each item is
    printed when it comes, in a line of its own. Of an object, its class and methods are printed.
    """
    options.prepare()
    if method is None and data is not None:
        raise CommandError(Status.USAGE, "--data needs a METHOD to call")
    arguments = read_arguments(args, data, stdin_taken=options.reads_stdin)
    run(_call(url, options, options.credentials(url), method, arguments, json))


async def _call(
    url: str,
    options: ClientOptions,
    credentials: Credentials,
    method: str | None,
    arguments: Arguments,
    json: bool,
) -> None:
    async with connected(url, options, credentials) as root:
        if method is None:
            async with patience(url, options, "what it offers"):
                description = await ask(root)
            if json:
                show_json([found.name for found in description.methods])
            else:
                print_text(brief(description))
            return
        value = await answer(root, url, options, method, arguments)
        found: Description | None = None
        if isinstance(value, RemoteReference):
            async with patience(url, options, "what it has returned"):
                found = await _described(value)
        if found is not None and found.is_stream:
            async for item in value:
                or_no_json(show_json if json else show_item, item)
        elif found is not None and not json:
            print_text(brief(found))
        else:
            or_no_json(show_json if json else show, value)


async def _described(reference: RemoteReference) -> Description | None:
    """Return the description of an object, None where the peer gives none."""
    try:
        return await describe(reference)
    except UsageError:
        return None


def or_no_json(show: Callable[[Value], None], value: Value) -> None:
    """Show a value.

    Raises:
        CommandError: it has no JSON form.
    """
    try:
        show(value)
    except ValueError as error:
        raise CommandError(Status.REMOTE, f"the answer cannot be shown: {error}") from None
