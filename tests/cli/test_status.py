"""Every error that is to be expected has an exit code and one line."""

from __future__ import annotations

import errno
import os
import socket

import pytest

import perspective_broker as pb
from perspective_broker.cli.status import CommandError, Status, explain


def _registered() -> Exception:
    error = TimeoutError("slow")  # registered here, so it arrives as itself; but it is the peer's
    error.__cause__ = pb.RemoteError("builtins.TimeoutError", "slow")
    return error


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (CommandError(Status.USAGE, "do\nthis"), 2, "do\\nthis"),
        (pb.RemoteError("builtins.KeyError", "'x'"), 1, "KeyError: 'x'"),
        (pb.RemoteError("shop.Closed", ""), 1, "shop.Closed"),
        (pb.RemoteError("x.Y", "two\nlines\x1b"), 1, "x.Y: two\\nlines\\x1b"),
        (_registered(), 1, "TimeoutError: slow"),
        (pb.NoSuchMethod("no method 'x'"), 1, "NoSuchMethod: no method 'x'"),
        (pb.InsecureJelly("class"), 1, "InsecureJelly: class"),
        (pb.ConnectionLost("lost", "gone"), 3, "lost: gone"),
        (pb.ProtocolError("bad-token", "what"), 3, "bad-token: what"),
        (pb.DeadReferenceError("over"), 3, "over"),
        (pb.SerializationError("no", "args[0]"), 2, "cannot be sent: args[0]: no"),
        (OSError(errno.ECONNREFUSED, "Connect call failed"), 3, os.strerror(errno.ECONNREFUSED)),
        (socket.gaierror(socket.EAI_NONAME, "Name unknown"), 3, "Name unknown"),
        (TimeoutError("no connection"), 3, "no connection"),
    ],
)
def test_explained(error: Exception, status: int, text: str) -> None:
    assert explain(error) == (status, text)


def test_a_defect_is_not_explained_away() -> None:
    assert explain(KeyError("ours")) is None
