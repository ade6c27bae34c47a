"""``pb identity``: the users in a store that servers share, and their keys."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import parse_qs, urlsplit

from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..aio import run
from ..cred import Authorizer, Identity, IdentityExists, SQLAuthorizer, UnknownIdentity
from .logs import configure_logging, counted
from .output import print_error, printable, show_json
from .passwords import PasswordFile, obtain_password
from .status import CommandError, Status

__all__ = ["EXAMPLES", "identity"]

_T = TypeVar("_T")

#: The end of the help of all commands.
_EXIT_CODES: Final = """\
Exit codes: 0 done, 1 there is (or is not) such an identity or key, 2 wrong usage, 3 the store cannot be used.
"""

_STORE: Final = "--store sqlite:///identities.db"


def _examples(*commands: str) -> str:
    """Return the end of a command's help; ``STORE`` stands for the option of all commands."""
    lines = "\n".join(f"pb identity {command.replace('STORE', _STORE)}" for command in commands)
    return f"\nExamples:\n\n```console\n{lines}\n```\n\n{_EXIT_CODES}"


#: Shown at the end of its help.
EXAMPLES: Final = _examples("add alice STORE", "grant alice chat STORE", "list STORE")

identity: App = App(
    name="identity",
    help="Manage users and the services to which they may log in. Help for each command: pb identity add --help.",
    help_epilogue=EXAMPLES,
)

_Name = Annotated[str, Parameter(help="The name of the identity, as its user logs in.")]
_Service = Annotated[str, Parameter(help="The name of a service.")]
_Perspective = Annotated[
    str | None, Parameter(help="The name of a perspective of it; the identity's own name when not given.")
]
_Legacy = Annotated[
    bool,
    Parameter(
        help="Keep the password's MD5 digest too, for the logins of 2002 and of today's Twisted.",
        negative="",
        show_default=False,
    ),
]
_NoPassword = Annotated[
    bool,
    Parameter(help="Keep no password; the user logs in by certificate.", negative="", show_default=False),
]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class StoreOptions:
    """Options of all these commands.

    Attributes:
        store: the url of the store.
        timeout: seconds to wait for a store that is locked.
        verbose: how much to log.
    """

    store: Annotated[
        str,
        Parameter(
            help="Where identities are kept: sqlite:///relative.db, sqlite:////absolute.db or "
            "postgresql://user@host/database (its password belongs in ~/.pgpass)."
        ),
    ]
    timeout: Annotated[
        float, Parameter(help="Seconds to wait for a store that is locked.", validator=Number(gt=0))
    ] = 8.0
    verbose: Annotated[int, counted("Log more to standard error; twice (-vv) everything.")] = 0

    def use(self, operation: Callable[[Authorizer], Awaitable[_T]], *, make: bool = False) -> _T:
        """Run an operation on the store, and return its result.

        Args:
            operation: takes the open store.
            make: whether a store that does not exist is made.

        Raises:
            CommandError: the url or an argument is not valid.
            StoreError: the operation has failed.
        """
        configure_logging(self.verbose)
        url = urlsplit(self.store)
        if url.password is not None or "password" in parse_qs(url.query):
            text = "a password in --store could be read by others on this machine; put it into ~/.pgpass"
            raise CommandError(Status.USAGE, text)
        path = url.path[1:]
        if not make and url.scheme.startswith("sqlite") and path and not os.path.exists(path):
            raise CommandError(Status.CONNECTION, f"{path}: there is no store; pb identity add makes one")

        async def main() -> _T:
            async with SQLAuthorizer(self.store, busy_timeout=self.timeout) as authorizer:
                return await operation(authorizer)

        try:
            return run(main())
        except ValueError as error:
            raise CommandError(Status.USAGE, str(error)) from None

    def find(self, name: str, *, make: bool = False) -> Identity | None:
        """Return the identity of that name, or None."""
        return self.use(lambda authorizer: authorizer.get_identity(name), make=make)


@identity.command(
    help_epilogue=_examples(
        "add alice STORE", "add alice STORE --password-file alice.password", "add robot STORE --no-password"
    )
)
def add(
    name: _Name,
    /,
    *,
    options: StoreOptions,
    password_file: PasswordFile = None,
    no_password: _NoPassword = False,
    legacy: _Legacy = False,
) -> None:
    """Add an identity, and ask for its password. A store that does not exist is made."""
    _check_password_options(password_file, no_password, legacy)
    # Checked before the prompt for the password, and again by the store.
    if options.find(name, make=True) is not None:
        raise IdentityExists(f"there is an identity {name!a} already")
    password = _new_password(name, password_file, no_password)
    options.use(lambda authorizer: authorizer.create(name, password, legacy=legacy), make=True)
    _warn_of(legacy)


@identity.command(
    help_epilogue=_examples("passwd alice STORE", "passwd alice STORE --password-file alice.password")
)
def passwd(
    name: _Name,
    /,
    *,
    options: StoreOptions,
    password_file: PasswordFile = None,
    no_password: _NoPassword = False,
    legacy: _Legacy = False,
) -> None:
    """Replace the password of an identity. Without --legacy, an MD5 digest that was kept is removed."""
    _check_password_options(password_file, no_password, legacy)
    before = options.find(name)
    if before is None:
        raise UnknownIdentity(f"there is no identity {name!a}")
    password = _new_password(name, password_file, no_password)
    options.use(lambda authorizer: authorizer.set_password(name, password, legacy=legacy))
    _warn_of(legacy)
    if before.legacy_digest is not None and not legacy:
        print_error("pb", "note: the old MD5 digest was removed; --legacy keeps one")


@identity.command(
    usage="Usage: pb identity grant --store STR [OPTIONS] NAME SERVICE [PERSPECTIVE]",
    help_epilogue=_examples("grant alice chat STORE", "grant alice chat moderator STORE"),
)
def grant(
    name: _Name, service: _Service, perspective: _Perspective = None, /, *, options: StoreOptions
) -> None:
    """Let an identity attach to a perspective of a service."""
    options.use(lambda authorizer: authorizer.grant(name, service, perspective))


@identity.command(
    usage="Usage: pb identity revoke --store STR [OPTIONS] NAME SERVICE [PERSPECTIVE]",
    help_epilogue=_examples("revoke alice chat STORE", "revoke alice chat moderator STORE"),
)
def revoke(
    name: _Name, service: _Service, perspective: _Perspective = None, /, *, options: StoreOptions
) -> None:
    """Take back what grant gave. A client that is attached already stays so until its connection ends."""
    options.use(lambda authorizer: authorizer.revoke(name, service, perspective))


@identity.command(help_epilogue=_examples("disable alice STORE"))
def disable(name: _Name, /, *, options: StoreOptions) -> None:
    """Refuse the logins of an identity. A client that is logged in already stays so until its connection ends."""
    options.use(lambda authorizer: authorizer.disable(name))


@identity.command(help_epilogue=_examples("enable alice STORE"))
def enable(name: _Name, /, *, options: StoreOptions) -> None:
    """Allow the logins of an identity that was disabled."""
    options.use(lambda authorizer: authorizer.enable(name))


@identity.command(help_epilogue=_examples("remove alice STORE"))
def remove(name: _Name, /, *, options: StoreOptions) -> None:
    """Remove an identity and its keys."""
    options.use(lambda authorizer: authorizer.remove_identity(name))


@identity.command(
    name="list",
    help_epilogue=_examples(
        "list STORE", "list --store postgresql://chat@db.example.org/chat --json | jq '.[].name'"
    ),
)
def list_(
    *,
    options: StoreOptions,
    json: Annotated[bool, Parameter(help="Print one line of JSON.", negative="", show_default=False)] = False,
) -> None:
    """List all identities: how each may log in, and to what. Secrets are not shown."""
    found = options.use(_all)
    if json:
        show_json([_as_dict(one) for one in found])
        return
    table = Table(box=box.SIMPLE)
    for heading in ("name", "login", "keys"):
        table.add_column(heading, overflow="fold")
    for one in found:
        keys = "\n".join(printable(_key_text(one, *key)) for key in sorted(one.keys))
        # Not as str, in which rich would look for its markup.
        table.add_row(Text(printable(one.name)), _login_text(one), Text(keys))
    Console().print(table)


async def _all(authorizer: Authorizer) -> list[Identity]:
    return [one async for one in authorizer.list()]


def _as_dict(one: Identity) -> dict[str, Any]:
    return {
        "name": one.name,
        "password": one.verifier is not None,
        "legacy": one.legacy_digest is not None,
        "disabled": one.disabled,
        "keys": sorted(one.keys),
    }


def _login_text(one: Identity) -> str:
    kinds = [kind for kind, has in (("password", one.verifier), ("MD5", one.legacy_digest)) if has]
    return ", ".join(["disabled"] * one.disabled + (kinds or ["no password"]))


def _key_text(one: Identity, service: str, perspective: str) -> str:
    return service if perspective == one.name else f"{service} as {perspective}"


def _check_password_options(file: object, none: bool, legacy: bool) -> None:
    if none and (file is not None or legacy):
        raise CommandError(Status.USAGE, "--no-password goes with neither --password-file nor --legacy")


def _new_password(name: str, file: Path | None, none: bool) -> str | None:
    return None if none else obtain_password(file, f"New password for {printable(name)}", twice=True)


def _warn_of(legacy: bool) -> None:
    if legacy:
        print_error(
            "pb",
            "warning: anyone who reads the MD5 digest in the store can log in with it, at any legacy server",
        )
