"""The end of a connection: in order, because of an error, or because the transport broke.

**An orderly end.** When a side closes, or receives the peer's farewell, it takes no new calls, sends its queue, and
then sends nothing more. It runs the one-way calls that the peer sent before its own end. Then the connection
has ended::

    finish() ──▶ queue sent ──▶ farewell, end of bytes ──▶ reads on ──▶ the peer's last message, or its end ──▶ closed
                                      │                                          ▲
    the peer: reads its calls ◀───────┘ ──▶ the one-way calls have begun ────────┘
"""

from __future__ import annotations

import logging

from ..errors import ProtocolError
from ..ports import Feature
from .caches import tell_end
from .cause import CloseCause
from .connection_tables import ConnectionTables
from .context import Closer, Context
from .encoding import Encoding
from .incoming_calls import IncomingCalls
from .lifecycle import Phase
from .memory import Memory
from .outbox import Outbox
from .outgoing_calls import OutgoingCalls
from .questions import Questions
from .releases import Releases

__all__ = ["Ending"]


class Ending(Closer):
    """How one connection ends."""

    def __init__(
        self,
        context: Context,
        outbox: Outbox,
        encoding: Encoding,
        tables: ConnectionTables,
        releases: Releases,
        memory: Memory,
        questions: Questions,
        outgoing: OutgoingCalls,
        incoming: IncomingCalls,
    ) -> None:
        self._context = context
        self._host = context.host
        self._lifecycle = context.lifecycle
        self._outbox = outbox
        self._encoding = encoding
        self._tables = tables
        self._releases = releases
        self._memory = memory
        self._questions = questions
        self._outgoing = outgoing
        self._incoming = incoming
        self._drains_when_open = False
        self._has_announced = False
        self._host_knows_end = False

    # -- errors

    def fail(self, error: ProtocolError) -> None:
        self._context.log(logging.WARNING, "closing the connection: %s", error)
        self.end(CloseCause(error.code, error.reason, clean=False), tell=True)

    def fail_by_defect(self, error: Exception) -> None:
        """End the connection because of an exception that nothing here expects, so that it harms no other."""
        self._context.log_defect(error)
        cause = CloseCause("internal", "this side met an error of its own", clean=False)
        try:
            self.end(cause, tell=True)
        except Exception:
            if self._host_knows_end:
                raise
            self.end(cause)  # without the last message, which could not be made
        if not self._host_knows_end:  # the end itself was interrupted
            self._host_knows_end = True
            self._host.on_closed(cause)

    # -- draining

    def drain(self) -> None:
        """Refuse new calls of the peer from now on, the first ones too; calls that run may end."""
        self._drains_when_open = True
        if self._lifecycle.phase is Phase.OPEN:
            self.announce_draining()
            self._lifecycle.enter(Phase.DRAINING)

    def announce_draining(self) -> None:
        """Tell the peer to make no new calls; those that come are still taken, until :meth:`drain`."""
        writer = self._context.writer
        if self._lifecycle.phase is Phase.OPEN and writer.has(Feature.FAREWELL) and not self._has_announced:
            self._has_announced = True
            self._outbox.send(writer.encode_draining())

    def drain_if_asked(self) -> None:
        """The greeting is over: drain, if that was asked for before."""
        if self._drains_when_open:
            self.drain()

    # -- in order

    def finish(self, code: str, reason: str, now: float) -> None:
        """See :meth:`.Broker.finish`."""
        lifecycle = self._lifecycle
        if lifecycle.ended or lifecycle.closing is not None:
            return
        cause = CloseCause(code, reason, clean=True)
        lifecycle.begin_closing(cause)
        if lifecycle.phase in (Phase.NEGOTIATING, Phase.GREETING):
            self.end(cause, tell=True)
            return
        if lifecycle.heard_last is not None:
            return  # it ends by itself, when the calls that the peer has sent have begun
        self._enter_closing()
        if lifecycle.ended:
            return
        if self._questions.tells_undecided:
            self._context.deadlines.wait_to_close(now + self._context.limits.close_seconds)
            self._host.on_deadline()
        else:
            self.send_last()

    def _enter_closing(self) -> None:
        if self._encoding.has_updates:
            self._encoding.send_updates()
            if self._lifecycle.ended:  # by a hook of the application
                return
        self._lifecycle.enter(Phase.CLOSING)
        self._host.on_closing()

    def outgoing_settled(self) -> None:
        if not (self._lifecycle.muted or self._lifecycle.ended or self._questions.tells_undecided):
            self.send_last()

    def send_last(self) -> None:
        """Send the queue, with slots or without, and the farewell: nothing is sent behind it, and no answer comes."""
        cause = self._lifecycle.closing
        assert cause is not None
        self._context.deadlines.wait_to_close(None)
        self._send_queue()
        writer = self._context.writer
        if writer.has(Feature.FAREWELL):
            self._outbox.send(writer.encode_farewell(cause.code, cause.reason))
        self._outgoing.lose(cause)
        self._lifecycle.mute()
        self._incoming.stop_unheard()
        self._host.on_last_message()

    def _send_queue(self) -> None:
        """Send the calls that wait for slots: the last chance of one-way calls."""
        if not self._lifecycle.muted:
            self._questions.flush()

    def hear_last(self, cause: CloseCause) -> None:
        """The peer has sent its last message. The one-way calls before it run; then the connection has ended.

        The peer reads on until our end, and runs the one-way calls that we have sent.
        """
        lifecycle = self._lifecycle
        if lifecycle.ended or lifecycle.heard_last is not None:
            return
        if lifecycle.phase is Phase.GREETING:  # nothing has begun
            self.end(cause)
            return
        last = lifecycle.closing or cause
        lifecycle.hear_last(last)
        if lifecycle.closing is None:
            self._enter_closing()
        self._send_queue()
        if lifecycle.ended:  # by a hook of the application
            return
        lifecycle.mute()
        self._outgoing.lose(last)
        self._incoming.stop_unheard()
        self.incoming_begun()

    def incoming_begun(self) -> None:
        lifecycle = self._lifecycle
        if lifecycle.heard_last is not None and not self._incoming.answers.tells and not lifecycle.ended:
            self.end(lifecycle.heard_last, in_order=True)

    def give_up(self) -> None:
        """See :meth:`.Broker.give_up`."""
        cause = self._lifecycle.closing or self._lifecycle.heard_last
        if cause is not None:
            if tells := self._incoming.answers.tells:
                text = "%d calls without an answer had not begun when the connection ended"
                self._context.log(logging.WARNING, text, tells)
            self.end(cause, in_order=True)

    def peer_hung_up(self) -> None:
        """See :meth:`.Broker.peer_hung_up`."""
        if not self._lifecycle.ended and not self._lifecycle.muted:
            self._lifecycle.mute()
            self._incoming.stop_unheard()

    def receive_eof(self) -> None:
        """The bytes of the peer have ended, and all messages in them are acted on."""
        lifecycle = self._lifecycle
        if lifecycle.ended:
            return
        dialect = self._context.dialect
        if lifecycle.phase is Phase.NEGOTIATING:
            reason = "the peer hung up before the greeting was over"
            self.end(CloseCause("bad-handshake", reason, clean=False))
        elif lifecycle.phase is Phase.GREETING and dialect.mid_message:
            reason = "the peer hung up in the middle of its greeting"
            self.end(CloseCause("bad-handshake", reason, clean=False))
        elif self._context.writer.has(Feature.FAREWELL):
            self.hear_last(CloseCause("lost", "the peer is gone without a farewell", clean=False))
        else:  # the end of its bytes is the only farewell that it has
            self.hear_last(CloseCause("lost", "the peer closed the connection", clean=True))

    # -- now

    def end(self, cause: CloseCause, *, tell: bool = False, in_order: bool = False) -> None:
        """End the connection.

        Args:
            cause: why.
            tell: whether to send the reason to the peer, where the dialect has a message for it.
            in_order: the messages before the end are acted on: the peer's one-way calls run, and the calls on which
                these depend.
        """
        lifecycle, dialect, writer = self._lifecycle, self._context.dialect, self._context.writer
        if tell and self._encoding.has_updates and lifecycle.phase in (Phase.OPEN, Phase.DRAINING):
            self._encoding.send_updates()
        if (
            lifecycle.phase in (Phase.OPEN, Phase.DRAINING, Phase.CLOSING)
            and tell
            and writer.has(Feature.FAREWELL)
        ):
            self._outbox.send(writer.encode_farewell(cause.code, cause.reason))
        if lifecycle.ended:
            return
        undelivered = self._outgoing.undelivered
        if undelivered:
            cause = CloseCause(cause.code, cause.reason, cause.clean, undelivered)
        lifecycle.close(cause)
        self._context.deadlines.stop()
        self._context.reports.sum_up()
        self._incoming.abandon(in_order)
        self._outgoing.lose(cause)
        observed_at_the_end = self._tables.observers.abandon()
        exported = self._tables.exports.clear()
        self._tables.imports.clear()
        self._memory.clear()
        self._releases.clear()
        self._encoding.drop_updates()
        self._host_knows_end = True
        self._host.on_closed(cause)  # which carries away the last message
        exported.clear()  # not before callbacks for the end have run: some belong to objects that only the peer held
        self._outbox.drop_pieces()
        if dialect.unfinished:
            dialect.forget_unfinished()
        for observed in observed_at_the_end:
            observed.stopped()
        for replica in self._tables.replicas.abandon():
            tell_end(replica)
