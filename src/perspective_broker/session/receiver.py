"""The peer's operations, one method each: which part of the broker acts on them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial

from .. import ports
from ..errors import ConnectionLost
from ..flavors import Target
from ..ports import CallTarget, Dialect, Feature, Message, ObjectId, Undecoded
from .call_sender import CallSender
from .cause import CloseCause
from .connection_tables import ConnectionTables
from .context import Context
from .encoding import Encoding
from .ending import Ending
from .exporter import Exporter
from .incoming_calls import IncomingCalls, arrive_at
from .lifecycle import Phase
from .outbox import Outbox
from .outgoing_calls import OutgoingCalls

__all__ = ["Receiver"]

#: Most characters of a farewell: of its code, and of its reason.
_MAX_CODE, _MAX_REASON = 32, 200


class Receiver(ports.Receiver):
    """The receiver of one connection.

    Attributes:
        ignored: operations that came too late to mean anything.
        peer_drains: whether the peer takes no new calls.
        has_more: whether the dialect has to be asked for messages although no bytes came.
    """

    def __init__(
        self,
        context: Context,
        outbox: Outbox,
        encoding: Encoding,
        exporter: Exporter,
        tables: ConnectionTables,
        sender: CallSender,
        outgoing: OutgoingCalls,
        incoming: IncomingCalls,
        ending: Ending,
    ) -> None:
        self._context = context
        self._outbox = outbox
        self._encoding = encoding
        self._exporter = exporter
        self._replicas = tables.replicas
        self._sender = sender
        self._outgoing = outgoing
        self._incoming = incoming
        self._ending = ending
        self.ignored: int = 0
        self.peer_drains: bool = False
        self.has_more: bool = False

    def on_dialect(self, dialect: Dialect, rest: bytes) -> None:
        context = self._context
        context.use_dialect(dialect)
        context.lifecycle.enter(Phase.GREETING)
        dialect.open()
        if rest:
            dialect.receive_data(rest)
        context.host.on_agreed()

    def on_ready(self) -> None:
        context = self._context
        context.lifecycle.enter(Phase.OPEN)
        context.deadlines.established(keepalive=context.writer.has(Feature.PING))
        context.host.on_open()
        self._ending.drain_if_asked()

    def on_call(
        self,
        request: int,
        target: CallTarget,
        name: str,
        wants_answer: bool,
        arguments: Undecoded,
        keep: bool = False,
        depends_on: Sequence[int] = (),
        seconds: float | None = None,
    ) -> None:
        if self._exporter.has_freed:
            self._exporter.forget_freed()
        self._incoming.arrive(request, target, name, wants_answer, arguments, keep, depends_on, seconds)
        self._sender.send_queued()

    def on_update(self, request: int, luid: int, name: str, wants_answer: bool, arguments: Undecoded) -> None:
        if self._exporter.has_freed:
            self._exporter.forget_freed()
        self._incoming.update(request, luid, name, wants_answer, arguments)
        self._sender.send_queued()

    def on_forget(self, request: int) -> None:
        if not self._incoming.forget(request):
            self.ignored += 1

    def on_cancel(self, request: int) -> None:
        if not self._incoming.cancel(request):
            self.ignored += 1

    def on_answer(self, request: int, payload: Undecoded) -> None:
        if not self._outgoing.answered(request, payload, is_error=False):
            self.ignored += 1

    def on_error(self, request: int, payload: Undecoded) -> None:
        if not self._outgoing.answered(request, payload, is_error=True):
            self.ignored += 1

    def on_dropped(self, request: int, because: int) -> None:
        if not self._outgoing.dropped(request, because):
            self.ignored += 1

    def on_release(self, luid: ObjectId, count: int) -> None:
        if not self._exporter.release(luid, count, bool(self._sender.questions)):
            self.ignored += 1

    def on_decache(self, luid: int, count: int) -> None:
        if not self._exporter.decache(luid, count, bool(self._sender.questions)):
            self.ignored += 1

    def on_uncache(self, luid: int) -> None:
        if not self._replicas.uncache(luid):
            self.ignored += 1

    def on_ping(self, payload: bytes) -> None:
        self._outbox.send(self._context.writer.encode_pong(payload))

    def on_pong(self, payload: bytes) -> None:
        """The bytes that came were the answer."""

    def on_farewell(self, code: str, reason: str) -> None:
        code = code[:_MAX_CODE] if code.replace("-", "").isalnum() and code.isascii() else "lost"
        reason = reason[:_MAX_REASON].encode("unicode_escape").decode()[:_MAX_REASON]
        self._ending.hear_last(CloseCause(code, f"the peer says: {reason}", clean=True))

    def on_draining(self) -> None:
        if not self.peer_drains:
            self.peer_drains = True
            self._context.host.on_draining()

    def on_complaint(self, text: str) -> None:
        self.ignored += 1
        self._context.log(logging.INFO, "%s", text)

    def send(self, data: Message) -> None:
        self._outbox.send(data)

    # -- for dialects that keep answers, and settle promises, themselves

    def on_call_of(self, request: int, target: Target, name: str, arguments: Undecoded) -> None:
        if self._exporter.has_freed:
            self._exporter.forget_freed()
        arrive_at(self._incoming, request, target, name, arguments)
        self._sender.send_queued()

    def send_made(self, make: Callable[[], Message]) -> None:
        encoding = self._encoding
        if encoding.is_active:
            encoding.defer(partial(self.send_made, make))
            return
        encoding.enter()
        try:
            encoding.begin()
            self._outbox.send(make())
        except ConnectionLost:  # a hook of the program has ended it
            pass
        finally:
            encoding.end()

    def go_on(self) -> None:
        self.has_more = True
        self._context.host.wake()
