"""The broker: the protocol machine of one connection. Sans-I/O: bytes and times come in as arguments.

A driver feeds it (:meth:`Broker.receive_data`, :meth:`Broker.receive_eof`, :meth:`Broker.handle_deadline`) and writes
what it returns (:meth:`Broker.data_to_send`). None of these raises: an exception that nothing here expects is a defect,
and ends this one connection with the code ``internal``.

The broker owns its parts, and each part owns its state::

    the peer's bytes ──▶ dialect ──▶ receiver ─┬▶ incoming ──▶ host: methods of this program
                                               ├▶ outgoing ──▶ promises of this program
                                               └▶ exporter, importer, ending
    references of this program ──▶ outgoing ──▶ sender ─┐
    methods that have ended ─────▶ incoming ──▶ replies ┴▶ encoding, dialect ──▶ outbox ──▶ the peer

"Life of a call" (``docs/understand/life-of-a-call.md``) follows one call through them.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ProtocolError
from ..flavors import Reference
from ..limits import Limits
from ..ports import NEEDS_DATA, READING, Data, Dialect
from .answers import Answers
from .call_sender import CallSender
from .cause import CloseCause
from .connection_tables import ConnectionTables
from .context import Context
from .deadlines import Deadlines
from .encoding import Encoding
from .ending import Ending
from .exporter import Exporter
from .host import Host
from .importer import Importer
from .incoming_calls import IncomingCalls
from .lifecycle import Lifecycle
from .memory import Memory, SharedMemory
from .outbox import Outbox
from .outgoing_calls import OutgoingCalls
from .pieces import Capacity
from .questions import Questions
from .receiver import Receiver
from .releases import Releases
from .replies import Replies
from .reports import Reports, SharedAllowance
from .statistics import Statistics

__all__ = ["Broker"]


class Broker:
    """One connection's protocol machine, as its driver sees it.

    Args:
        host: the driver.
        limits: what the peer may ask of us.
        now: the driver's clock, in seconds; only differences matter.
        unsafe_tracebacks: whether the peer is sent the tracebacks of our exceptions.
        allowance: how much is logged about this peer and those that share it; None when none do.
        shared_memory: what this connection and those that share it hold; None when none do.
        takes_receivers: see :class:`.tables.Exports`.

    Attributes:
        host: the driver.
        outgoing: our calls, for references and promises.
        incoming: the peer's calls, for the driver that runs their methods.
        exporter: turns our objects into ids.
        importer: turns the peer's ids into objects, and gives references back.
        receiver: acts on the peer's operations.
        encoding: the message that is being encoded, and updates that are left for later.
        outbox: the messages that the driver has not taken.
        ending: how the connection ends.
        tables: what the two sides hold of each other.
        is_paused: whether the driver wants nothing more of the peer's for now; set by the driver.
        messages_received: operations of the peer's so far.
    """

    def __init__(
        self,
        host: Host,
        limits: Limits,
        now: float,
        *,
        unsafe_tracebacks: bool = False,
        allowance: SharedAllowance | None = None,
        shared_memory: SharedMemory | None = None,
        takes_receivers: bool = True,
    ) -> None:
        self.host = host
        context = self._context = Context(self, host, limits, now, allowance)
        self.lifecycle: Lifecycle = context.lifecycle
        self.deadlines: Deadlines = context.deadlines
        self.reports: Reports = context.reports
        self.memory: Memory = Memory(limits, shared_memory)
        self._releases = Releases(context)
        self.tables: ConnectionTables = ConnectionTables(self, host, limits, self._releases, takes_receivers)
        tables = self.tables
        self.outbox: Outbox = Outbox(context, self.memory, tables.observers)
        outbox = self.outbox
        self.encoding: Encoding = Encoding(context, tables.observers)
        encoding = self.encoding
        self.exporter: Exporter = Exporter(context, outbox, encoding, tables)
        self.importer: Importer = Importer(context, outbox, self._releases, tables)
        self.answers: Answers = Answers(limits, self.memory)
        sender = self._sender = CallSender(
            context, outbox, encoding, self.exporter, self.importer, tables.observers, self.answers
        )
        self.questions: Questions = sender.questions
        self.outgoing: OutgoingCalls = OutgoingCalls(
            context, outbox, encoding, self.exporter, tables.observers, sender
        )
        replies = Replies(context, outbox, encoding, unsafe_tracebacks)
        self.incoming: IncomingCalls = IncomingCalls(
            context,
            outbox,
            encoding,
            self.importer,
            tables,
            self.answers,
            self.questions,
            self.memory,
            replies,
        )
        self.ending: Ending = Ending(
            context,
            outbox,
            encoding,
            tables,
            self._releases,
            self.memory,
            self.questions,
            self.outgoing,
            self.incoming,
        )
        context.closer = self.ending
        exporter = self.exporter
        self.receiver: Receiver = Receiver(
            context, outbox, encoding, exporter, tables, sender, self.outgoing, self.incoming, self.ending
        )
        self.is_paused = False
        self.messages_received: int = 0
        self._has_unread = False  # whether the dialect may have a complete message
        self._has_eof = False  # whether the peer's bytes have ended; acted on behind what came before
        self._bytes_received = 0

    # -- the beginning

    def start(self, negotiation: Dialect) -> None:
        """Begin with the greeting. Called once, before anything else."""
        self._context.use_dialect(negotiation)
        negotiation.open()

    @property
    def dialect(self) -> Dialect:
        """The agreed dialect; before there is one, the negotiation, which has no name."""
        return self._context.dialect

    @property
    def limits(self) -> Limits:
        """The present limits of the peer."""
        return self._context.limits

    def use_limits(self, limits: Limits) -> None:
        """Judge the peer by other limits from now on (it has logged in)."""
        self._context.use_limits(limits)
        self.tables.use_limits(limits)
        self.questions.use_limits(limits)
        self.answers.use_limits(limits)
        self.memory.use_limits(limits)
        self.outbox.use_limits(limits)

    def root(self, name: str = "root") -> Reference:
        """Return the reference to what the peer serves under a name.

        Raises:
            DeadReferenceError: the connection has ended.
        """
        if self.lifecycle.ended:
            self.lifecycle.check_usable()
        return self.tables.imports.named(name)

    # -- the end

    @property
    def is_classic(self) -> bool:
        """Whether one of the classic dialects was agreed on."""
        return self._context.is_classic

    @property
    def is_idle(self) -> bool:
        """Whether no call is under way in either direction and nothing waits to be sent."""
        unsent = self.outbox.size or self.encoding.has_updates
        return not (len(self.answers) or not self.questions.idle or unsent)

    def drain(self) -> None:
        """Refuse new calls of the peer from now on, the first ones too; calls that run may end."""
        self.ending.drain()

    def announce_draining(self) -> None:
        """Tell the peer to make no new calls; those that come are still taken, until :meth:`drain`."""
        self.ending.announce_draining()

    def close(self, code: str = "closed", reason: str = "the program closed it") -> None:
        """End the connection now, with a farewell. Messages of the peer that have not been acted on are dropped."""
        self.ending.end(CloseCause(code, reason, clean=True), tell=True)

    def finish(self, code: str, reason: str, now: float) -> None:
        """Begin to end the connection in order: take no new calls, send the queue, then wait for the peer's end.

        One-way calls that wait alone may leave first, for ``Limits.close_seconds`` at most. Until the peer's end its
        one-way calls run. The driver calls :meth:`give_up` when nothing moves any more.
        """
        self.ending.finish(code, reason, now)

    def give_up(self) -> None:
        """Nothing moves any more in a connection that ends in order: it has ended."""
        self.ending.give_up()

    @property
    def progress(self) -> tuple[int, ...]:
        """Numbers that change when a call begins or ends or, before the peer's last message, when bytes come."""
        moves = (self.answers.moves, self.questions.moves)
        return moves if self.lifecycle.heard_last is not None else (*moves, self._bytes_received)

    def peer_hung_up(self) -> None:
        """The peer will send nothing beyond what waits to be read, and receives nothing: see :meth:`receive_eof`."""
        self.ending.peer_hung_up()

    def connection_lost(self, reason: str) -> None:
        """The transport broke."""
        self.ending.end(self.lifecycle.closing or CloseCause("lost", reason, clean=False))

    # -- bytes in

    def receive_eof(self) -> None:
        """The peer will send nothing more. Earlier bytes are acted on first."""
        self._has_eof = True
        if self._has_unread and not self.lifecycle.ended:
            self.host.wake()
            return
        try:
            self.ending.receive_eof()
        except Exception as error:
            self.ending.fail_by_defect(error)

    def receive_data(self, data: Data, now: float) -> None:
        """Keep bytes from the peer; :meth:`process` acts on them."""
        if self.lifecycle.ended:
            return
        self._bytes_received += len(data)
        self.deadlines.bytes_came(now)
        try:
            self._context.dialect.receive_data(data)
        except ProtocolError as error:
            self.ending.fail(error)
            return
        except Exception as error:
            self.ending.fail_by_defect(error)
            return
        self._has_unread = True

    def process(self, messages: int, now: float) -> bool:
        """Act on at most ``messages`` of the peer's operations.

        Returns:
            Whether there may be more that can be acted on at once.
        """
        try:
            return self._process(messages, now)
        except Exception as error:
            self.ending.fail_by_defect(error)
            return False

    def _process(self, messages: int, now: float) -> bool:
        if self.answers.queued:
            self.incoming.start_queued()
        if self.receiver.has_more:
            self.receiver.has_more = False
            self._has_unread = True
        # A property, because it changes while messages are acted on: compiled code takes a tested attribute as fixed.
        if not self._has_unread or self._is_over:
            return False
        deadlines = self.deadlines
        for _ in range(messages):
            if self._is_over:
                return False
            if not (self.wants_data or self._has_eof):
                deadlines.reading_stopped()
                return False
            dialect = self._context.dialect
            try:
                step = dialect.next_message()
                if step == NEEDS_DATA:
                    self._has_unread = False
                    if self._has_eof:
                        self.ending.receive_eof()
                        return False
                    if dialect.mid_message:
                        deadlines.message_goes_on(now)
                    else:
                        deadlines.message_ended()
                    if dialect.unfinished:
                        deadlines.pieces_came(dialect.unfinished, now)
                        self.host.on_deadline()
                    return False
            except ProtocolError as error:
                self.ending.fail(error)
                return False
            deadlines.message_ended()
            if step == READING:
                return True
            self.messages_received += 1
        return True

    @property
    def _is_over(self) -> bool:
        """Whether nothing more is taken: the connection has ended, or the peer has sent its last message."""
        return self.lifecycle.ended or self.lifecycle.heard_last is not None

    @property
    def wants_data(self) -> bool:
        """Whether the driver should go on reading."""
        return not (self.outbox.holds_refusals or self.answers.is_full or self.is_paused)

    @property
    def mid_message(self) -> bool:
        """Whether a message of the peer has begun and not ended."""
        return self.deadlines.message_began is not None

    @property
    def unread_bytes(self) -> int:
        """Bytes that have come and were not acted on."""
        return self._context.dialect.mid_message

    # -- bytes out

    def data_to_send(self, room: Capacity | None = None) -> Sequence[bytes | memoryview]:
        """Return, and forget, what is to be written now, in order.

        Args:
            room: knows how many bytes the transport takes now; asked only when a message is so large that it leaves
                in pieces. Then more may be left for the next time. None takes everything.
        """
        try:
            if self.encoding.has_updates:
                self.encoding.send_updates()
            if self._releases:
                self.importer.send_releases()
            out = self.outbox.take(room)
            if self._context.writer.frames:
                out = self._context.writer.frame(out)
            if self.answers.queued and self.incoming.may_start_queued:
                self.host.wake()  # there is room now, unless the transport reports that it is full
            return out
        except Exception as error:
            self.ending.fail_by_defect(error)
            return []

    def set_blocked(self, blocked: bool, now: float, buffered: int = 0) -> None:
        """The transport can take no more, or can again: while it cannot, no further method is started.

        Args:
            blocked: which of these.
            now: the driver's clock.
            buffered: bytes that the transport keeps.
        """
        if self.lifecycle.ended:
            return
        self.outbox.set_blocked(blocked, now, buffered)
        if not blocked:
            self.incoming.start_queued()

    # -- time

    def next_deadline(self) -> float | None:
        """Return when :meth:`handle_deadline` wants to be called next, or None."""
        if self.lifecycle.ended:
            return None
        due = self.answers.expiry.next()
        other = self.deadlines.next(self._context.dialect.mid_message)
        for standstill in (self.incoming.standstill, self._sender.standstill):
            if (
                standstill is not None
                and standstill.due is not None
                and (other is None or standstill.due < other)
            ):
                other = standstill.due
        return due if other is None or (due is not None and due < other) else other

    def handle_deadline(self, now: float) -> None:
        """Act on the time being ``now``."""
        try:
            self._handle_deadline(now)
        except Exception as error:
            self.ending.fail_by_defect(error)

    def _handle_deadline(self, now: float) -> None:
        if self.lifecycle.ended:
            return
        context, deadlines = self._context, self.deadlines
        answers, questions, limits = self.answers, self.questions, context.limits
        try:
            self.incoming.expire(now)
            standstill = self.incoming.standstill
            if standstill is not None and standstill.is_over(now, answers.moves, answers.waiting, limits):
                self.incoming.refuse_stalled()
            standstill = self._sender.standstill
            if standstill is not None and standstill.is_over(now, questions.moves, questions.queued, limits):
                self.outgoing.refuse_first()
        except ProtocolError as error:  # in arguments that are decoded only now
            self.ending.fail(error)
            return
        if deadlines.closing is not None and now >= deadlines.closing and not self.lifecycle.muted:
            self.ending.send_last()  # calls that wait alone do not leave any more
        if not self.wants_data:
            # Its pings are unread, too: ours, sent in the same rhythm, show it that we live.
            self._ping_if_due(now)
            deadlines.did_not_listen(now)
        overdue = deadlines.overdue(now, context.dialect.mid_message)
        if overdue is not None:
            self.ending.fail(overdue)
            return
        self._ping_if_due(now)

    def _ping_if_due(self, now: float) -> None:
        if self.deadlines.wants_ping(now):
            self.outbox.send(self._context.writer.encode_ping(b""))

    # -- looking

    def statistics(self) -> Statistics:
        """Return the state of the connection now."""
        return Statistics(
            phase=self.lifecycle.phase.value,
            dialect=self._context.dialect.name,
            exported=len(self.tables.exports),
            imported=len(self.tables.imports),
            observed=len(self.tables.observers),
            replicas=len(self.tables.replicas),
            calls_out=len(self.questions),
            calls_held=self.questions.queued + len(self.questions.alone),
            calls_in=len(self.answers.running),
            calls_waiting=self.answers.waiting,
            bytes_received=self._bytes_received,
            bytes_sent=self.outbox.bytes_sent,
            bytes_buffered=self.outbox.exact_size,
            messages_received=self.messages_received,
            answers_kept=self.incoming.answers_kept,
            ignored=self.receiver.ignored,
        )
