"""The time of an answer does not reveal which users exist: a login does the same work, counted in calls, for all."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.cred import admission, identity, login, memory, saslprep, scram, verifiers
from perspective_broker.cred.verifiers import legacy_response
from tests.cred.conftest import MakeAuthorizer
from tests.cred.logins import Chat, serving
from tests.cred.logins import scram as log_in

#: Where work may depend on the user. Both ends of the connection are in this process, and the client's work is the same
#: for all: it depends on the rounds, which are.
_FILES = {module.__file__ for module in (admission, identity, login, memory, saslprep, scram, verifiers)}

#: Done for the log when the answer has left.
_AFTERWARDS = {"Admission._log_failure", "LoginThrottle.log_name"}

Work = Counter[str]


@contextlib.contextmanager
def counted() -> Iterator[Work]:
    """Count the calls that are made in these modules, also those of functions in C, such as hashes."""
    calls: Work = Counter()

    def note(frame: FrameType, event: str, called: Any) -> None:
        if frame.f_code.co_filename not in _FILES or frame.f_code.co_qualname in _AFTERWARDS:
            return
        if event == "call":
            calls[frame.f_code.co_qualname] += 1
        elif event == "c_call":
            calls[f"{frame.f_code.co_qualname}: {called.__qualname__}"] += 1

    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(None)


async def by_scram(root: pb.RemoteReference, name: str) -> Any:
    return await log_in(root, name, "wrong")


async def by_md5(root: pb.RemoteReference, name: str) -> Any:
    challenge, challenger = await root.call("login", name)
    return await challenger.call("respond", legacy_response("wrong", challenge), None)


#: An unknown name -> names of the same length that are compared with it. The peer chooses the length.
_KINDS = {
    "no-no": ("noone", "alice", "a lot", "leave", "blank", "newer"),
    "\u00ebllen": ("\u00e4llen",),  # SASLprep takes longer for these
}


@pytest.mark.parametrize("how", [by_scram, by_md5])
async def test_users_of_all_kinds_and_those_unknown_cost_the_same(
    how: Any, make_authorizer: MakeAuthorizer
) -> None:
    async with make_authorizer() as known:
        for name in ("alice", "a lot", "leave", "\u00e4llen"):
            await known.create(name, "secret", legacy=True)
        await known.create("newer", "secret")
        await known.create("blank", None)
        await known.grant("alice", "chat")
        for number in range(50):
            await known.grant("a lot", f"service {number}")
        await known.disable("leave")
        app = pb.Application("test", known)
        app.add_service(Chat())
        async with serving(app) as (_, connect):

            async def spent(name: str) -> Work:
                async with connect() as root:
                    with counted() as work, pytest.raises(pb.RemoteError) as caught:
                        await how(root, name)
                assert caught.value.check(pb.LoginFailed)
                return work

            await spent("first")
            for unknown, names in _KINDS.items():
                usual = await spent(unknown)
                assert sum(usual.values()) > 50
                for name in names:
                    work = await spent(name)
                    different = {call for call in usual | work if usual[call] != work[call]}
                    assert not different, name
