"""Listening: the one place where a broker tells of the peer's calls. Nobody listens unless the program asked for it."""

from __future__ import annotations

from ..native import mypyc_attr
from .incoming_call import IncomingCall

__all__ = ["CallListener"]


@mypyc_attr(allow_interpreted_subclasses=True)
class CallListener:
    """Is told when the method of a call begins, and when the call has ended. Never raises."""

    def call_began(self, call: IncomingCall) -> None:
        """The method of ``call`` is about to run."""
        raise NotImplementedError

    def call_ended(self, call: IncomingCall, error: BaseException | None) -> None:
        """``call`` has ended; it may have been refused before its method began."""
        raise NotImplementedError
