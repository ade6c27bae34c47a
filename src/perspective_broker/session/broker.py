"""The broker: the protocol machine of one connection. Sans-I/O: bytes and times come in as arguments.

A driver feeds it (:meth:`Broker.receive_data`, :meth:`Broker.receive_eof`, :meth:`Broker.handle_deadline`) and
carries away what it has to say (:meth:`Broker.data_to_send`). None of these raises: an exception that nothing here
expects is a defect, and ends this one connection with the code ``internal``. Dialects call its ``on_*`` methods with
the peer's operations; applications call through references, which end in :meth:`Broker.call` and
:meth:`Broker.tell`.

The broker is put together from what it does: :mod:`.speaking` makes messages, :mod:`.holding` keeps what the sides hold
of each other, :mod:`.asking` calls, :mod:`.answering` is called. Here are its beginning and its end, bytes and time.

**An orderly end.** When a side closes, or reads the peer's farewell, it takes no new calls, sends its queue, and then
sends nothing more. It runs the calls that the peer sent before its own end, if they want no answer. Then the connection
has ended::

    finish() ──▶ queue sent ──▶ farewell, end of bytes ──▶ reads on ──▶ the peer's last word, or its end ──▶ closed
                                      │                                          ▲
    the peer: reads its calls ◀───────┘ ──▶ those without an answer have begun ──┘
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, cast

from ..errors import (
    ProtocolError,
)
from ..limits import Limits
from ..ports import (
    FAREWELL,
    LARGE_MESSAGE,
    NEEDS_DATA,
    OLD,
    PIECES,
    PING,
    READING,
    Data,
    Dialect,
    Message,
    Rank,
)
from .answering import Answerer
from .cause import CloseCause
from .deadlines import MUCH_UNREAD
from .lifecycle import Phase
from .outgoing import NOTHING_LARGE, Outgoing, weight
from .statistics import Statistics

__all__ = ["Broker"]

#: What a peer may say of the end: a word, and a line.
_MAX_CODE, _MAX_REASON = 32, 200


class Broker(Answerer):
    """One connection's protocol machine.

    Args:
        host: the driver.
        limits: what the peer may ask of us.
        now: the driver's clock, in seconds; only differences matter.
        unsafe_tracebacks: whether the peer is sent the tracebacks of our exceptions.
        allowance: how much is logged about this peer and those that share it; None when none do.
        shared_memory: what this connection and those that share it hold; None when none do.
        takes_receivers: see :class:`.tables.Exports`.
    """

    def start(self, negotiation: Any) -> None:
        """Begin with the greeting. Called once, before anything else."""
        self._dialect = negotiation
        negotiation.open()

    @property
    def dialect_name(self) -> str:
        """The agreed dialect's name; ``""`` before there is one."""
        return self._agreed

    def use_limits(self, limits: Limits) -> None:
        """Judge the peer by other limits from now on (it has logged in)."""
        self.limits = self.exports.limits = self.imports.limits = self.questions.limits = limits
        self.deadlines.limits = self.observers.limits = self.replicas.limits = limits
        self.serving.use_limits(limits)
        self.memory.use_limits(limits)
        if self._dialect is not None:
            self._dialect.use_limits(limits)

    def speak_as_in_2002(self) -> None:
        """The peer is a program of 2002: write only what such a one can read, where the dialect is that old."""
        if OLD in self._dialect.features:
            self._dialect.speak_as_in_2002()

    def drain(self) -> None:
        """Refuse new calls of the peer from now on, the first ones too; what runs may end."""
        self._drains = True
        if self.lifecycle.phase is Phase.OPEN:
            self.lifecycle.enter(Phase.DRAINING)
            if FAREWELL in self._dialect.features:
                self.send(self._dialect.encode_draining())

    @property
    def idle(self) -> bool:
        """Whether no call is under way in either direction and nothing waits to be sent."""
        serving = self.serving
        unsent = self._out or self.outgoing or self.unsent_updates
        return not (len(serving) or not self.questions.idle or unsent)

    def close(self, code: str = "closed", reason: str = "the program closed it") -> None:
        """End the connection now, with a farewell. What the peer has said and was not acted on is dropped."""
        self._end(CloseCause(code, reason, clean=True), tell=True)

    def finish(self, code: str, reason: str, now: float) -> None:
        """Begin to end the connection in order: take no new calls, send what was made, then wait for the peer's end.

        Calls without an answer that wait alone may leave first, for ``Limits.close_seconds`` at most. Until the peer's
        end its calls without an answer run. The driver calls :meth:`close` when nothing moves any more.
        """
        if self.lifecycle.ended or self._closing is not None:
            return
        self._closing = CloseCause(code, reason, clean=True)
        if self.lifecycle.phase in (Phase.NEGOTIATING, Phase.GREETING):
            self._end(self._closing, tell=True)
            return
        if self._peer_said_last is not None:
            return  # it ends by itself, when what the peer said has begun
        self._enter_closing()
        if self.lifecycle.ended:
            return
        if self.questions.tells_undecided:
            self.deadlines.closing = now + self.limits.close_seconds
            self._host.on_deadline()
        else:
            self._say_last()

    def _maybe_say_last(self) -> None:
        if not (self._mute or self.lifecycle.ended or self.questions.tells_undecided):
            self._say_last()

    def _say_last(self) -> None:
        """Send what waits, room or not, and the farewell; nothing is sent behind it, and no answer can come."""
        cause = self._closing
        assert cause is not None
        self.deadlines.closing = None
        self._send_what_waits()
        if FAREWELL in self._dialect.features:
            self.send(self._dialect.encode_farewell(cause.code, cause.reason))
        self._lose_calls(cause)
        self._mute = True
        self._stop_unheard()
        self._host.on_last_word()

    def _send_what_waits(self) -> None:
        """Send what waits for room: the last chance of calls without an answer."""
        if not self._mute:
            self.questions.flush()

    def _hear_last(self, cause: CloseCause) -> None:
        """The peer has said its last. What came before runs if it wants no answer; then the connection has ended.

        The peer reads on until our end, and runs what we have said if it wants no answer.
        """
        if self.lifecycle.ended or self._peer_said_last is not None:
            return
        if self.lifecycle.phase is Phase.GREETING:  # nothing has begun
            self._end(cause)
            return
        self._peer_said_last = self._closing or cause
        if self._closing is None:
            self._enter_closing()
        self._send_what_waits()
        if self.lifecycle.ended:  # by a hook of the application
            return
        self._mute = True
        self._lose_calls(self._peer_said_last)
        self._stop_unheard()
        self._maybe_end()

    def _enter_closing(self) -> None:
        if self.unsent_updates:
            self.send_updates()
            if self.lifecycle.ended:  # by a hook of the application
                return
        self.lifecycle.enter(Phase.CLOSING)
        self._host.on_closing()

    def give_up(self) -> None:
        """Nothing moves any more in a connection that ends in order: it has ended."""
        cause = self._closing or self._peer_said_last
        if cause is not None:
            if self.serving.tells:
                text = "%d calls without an answer had not begun when the connection ended"
                self.reports.say(self.deadlines.heard, logging.WARNING, text, self.serving.tells)
            self._end(cause, in_order=True)

    @property
    def progress(self) -> tuple[int, ...]:
        """What changes when a call begins or ends or, before the peer's last word, when it says something."""
        moves = (self.serving.moves, self.questions.moves)
        return moves if self._peer_said_last is not None else (*moves, self._bytes_received)

    @property
    def has_heard_last(self) -> bool:
        """Whether the peer has said its last; what is left is that its calls begin."""
        return self._peer_said_last is not None

    @property
    def has_farewell(self) -> bool:
        """Whether the dialect has a word for the end."""
        return FAREWELL in self._dialect.features

    def peer_hung_up(self) -> None:
        """The peer will say nothing beyond what waits to be read, and hears nothing: see :meth:`receive_eof`."""
        if not self.lifecycle.ended and not self._mute:
            self._mute = True
            self._stop_unheard()

    def receive_eof(self) -> None:
        """The peer will send nothing more. What came before is acted on first."""
        self._eof = True
        if self._unread and not self.lifecycle.ended:
            self._host.wake()
            return
        try:
            self._act_on_eof()
        except Exception as error:
            self._fail_by_defect(error)

    def _act_on_eof(self) -> None:
        if self.lifecycle.ended:
            return
        if self.lifecycle.phase is Phase.NEGOTIATING:
            self._end(
                CloseCause("bad-handshake", "the peer hung up before the greeting was over", clean=False)
            )
        elif self.lifecycle.phase is Phase.GREETING and self._dialect.mid_message:
            self._end(
                CloseCause("bad-handshake", "the peer hung up in the middle of its greeting", clean=False)
            )
        elif FAREWELL in self._dialect.features:
            self._hear_last(CloseCause("lost", "the peer is gone without a farewell", clean=False))
        else:  # a dialect that has no word for it
            self._hear_last(CloseCause("lost", "the peer closed the connection", clean=True))

    def connection_lost(self, reason: str) -> None:
        """The transport broke."""
        self._end(self._closing or CloseCause("lost", reason, clean=False))

    def receive_data(self, data: Data, now: float) -> None:
        """Keep bytes from the peer; :meth:`process` acts on them."""
        if self.lifecycle.ended:
            return
        self._bytes_received += len(data)
        self.deadlines.heard = now
        try:
            self._dialect.receive_data(data)
        except ProtocolError as error:
            self._fail(error)
            return
        except Exception as error:
            self._fail_by_defect(error)
            return
        self._unread = True
        if self.deadlines.message_began is None:
            self.deadlines.message_began = now

    def process(self, messages: int, now: float) -> bool:
        """Act on at most ``messages`` of the peer's operations.

        Returns:
            Whether there may be more that can be acted on at once.
        """
        try:
            return self._process(messages, now)
        except Exception as error:
            self._fail_by_defect(error)
            return False

    def _process(self, messages: int, now: float) -> bool:
        lifecycle = self.lifecycle
        if self.serving.waits:
            self._start_waiting()
        # A property, because it changes while messages are acted on: compiled code takes a tested attribute as fixed.
        if not self._unread or self.has_heard_last:  # nothing is taken behind the peer's last word
            return False
        for _ in range(messages):
            if lifecycle.ended or self.has_heard_last:
                return False
            if not (self.wants_data or self._eof):
                self.deadlines.reading_stopped()
                return False
            try:
                step: int = self._dialect.next_message()
                if step == NEEDS_DATA:
                    self._unread = False
                    if self._eof:
                        self._act_on_eof()
                        return False
                    # Between messages no time runs; within one it began with these bytes at the latest.
                    if not self._dialect.mid_message:
                        self.deadlines.message_began = None
                    elif self.deadlines.message_began is None:
                        self.deadlines.message_began = now
                    if self._dialect.unfinished:
                        self.deadlines.pieces_came(self._dialect.unfinished, now)
                        self._host.on_deadline()
                    return False
            except ProtocolError as error:
                self._fail(error)
                return False
            self.deadlines.message_began = None
            if step == READING:
                return True
            self.messages_received += 1
        return True

    @property
    def wants_data(self) -> bool:
        """Whether the driver should go on reading."""
        # Refusals need no method that would wait for room; who does not read them causes no more.
        if self._refusal_bytes and self._refusal_bytes > self.limits.write_buffer_high:
            return False
        return not (self.serving.is_full or self.paused)

    def data_to_send(self, room: Callable[[], int] | None = None) -> Sequence[bytes | memoryview]:
        """Return, and forget, what is to be written now, in order.

        Args:
            room: returns how many bytes the transport takes now; asked only when something is so large that it leaves
                in pieces. Then more may be left for the next time. None takes everything.
        """
        try:
            return self._data_to_send(room)
        except Exception as error:
            self._fail_by_defect(error)
            return []

    def _data_to_send(self, room: Callable[[], int] | None) -> Sequence[bytes | memoryview]:
        if self.unsent_updates:
            self.send_updates()
        if self._releases:
            self._send_releases()
        out: Sequence[bytes | memoryview]
        if self._out_bytes < LARGE_MESSAGE or PIECES not in self._dialect.features:
            out = cast("list[bytes | memoryview]", self._out)  # none of them is so large that it is in parts
            self._out = []
            self._batch += 1
            self._bytes_sent += self._out_bytes
            self._out_bytes = 0
            if self._refusal_bytes:
                self._refusals_left()
        else:
            out = self._pieces_to_send(room)
        if self.memory.unread:
            self._count_unread()
        if self._strict:
            self._strict.clear()
        if self.serving.waits:
            first = self.serving.first()
            if first is not None and self._may_start(first):
                self._host.wake()  # there is room now, unless the transport says otherwise
        return out

    def _pieces_to_send(self, room: Callable[[], int] | None) -> list[bytes | memoryview]:
        """The same while something large is on its way out."""
        messages, self._out = self._out, []
        self._batch += 1
        if not self.outgoing and max(map(len, messages)) < LARGE_MESSAGE:  # only many small ones
            self._bytes_sent += self._out_bytes
            self._out_bytes = 0
            self._refusals_left()
            return cast("list[bytes | memoryview]", messages)
        if self.outgoing is NOTHING_LARGE:
            self.outgoing = Outgoing()
        out = self.outgoing.take(messages, self._dialect, self._passes_nothing, room)
        self._bytes_sent += sum(map(len, out))
        self._out_bytes = self.outgoing.weight
        if self.outgoing:
            self._host.wake()  # more in another turn, unless the transport says otherwise
        else:
            self._refusals_left()
        return out

    def _refusals_left(self) -> None:
        if self._refusal_bytes > self.limits.write_buffer_high:
            self._host.wake()  # reading may go on
        self._refusal_bytes = 0

    def _passes_nothing(self, message: Message, rank: Rank) -> bool:
        """Whether a message mentions a replica of ours, or may: it must not pass what introduces that."""
        if rank is Rank.ANSWER:
            return id(message) in self._strict
        return rank is Rank.CALL and len(self.observers) > 0

    @property
    def bytes_buffered(self) -> int:
        """Bytes made and not yet taken by :meth:`data_to_send`, or more: see :meth:`weigh_buffered`."""
        return self._out_bytes

    def weigh_buffered(self) -> int:
        """Return the same with every large message counted as a few small ones. It looks at all of them."""
        return self.outgoing.weight + sum(map(weight, self._out))

    def set_blocked(self, blocked: bool, now: float, buffered: int = 0) -> None:
        """The transport can take no more, or can again: while it cannot, no further method is started.

        Args:
            blocked: which of these.
            now: the driver's clock.
            buffered: bytes that the transport keeps.
        """
        if self.lifecycle.ended:
            return
        self._blocked = blocked
        self._in_transport = buffered
        self.deadlines.blocked_since = now if blocked else None
        if blocked or self.memory.unread:
            self._count_unread()
        if not blocked:
            self._start_waiting()

    def _count_unread(self) -> None:
        unread = self._in_transport + self._out_bytes - self.outgoing.weight + self.outgoing.bytes
        self.memory.leaves_unread(unread)
        self.deadlines.unread = unread
        if self._blocked and unread > MUCH_UNREAD:
            self._host.on_deadline()

    @property
    def mid_message(self) -> bool:
        """Whether a message of the peer has begun and not ended."""
        return self.deadlines.message_began is not None

    @property
    def unread_bytes(self) -> int:
        """Bytes that have come and were not acted on."""
        unread: int = self._dialect.mid_message
        return unread

    def next_deadline(self) -> float | None:
        """Return when :meth:`handle_deadline` wants to be called next, or None."""
        if self.lifecycle.ended:
            return None
        due = self.serving.expiry.next()
        other = self.deadlines.next(self._dialect.mid_message)
        for standstill in (self._line_standstill, self._queue_standstill):
            if standstill.due is not None and (other is None or standstill.due < other):
                other = standstill.due
        return due if other is None or (due is not None and due < other) else other

    def handle_deadline(self, now: float) -> None:
        """Act on the time being ``now``."""
        try:
            self._handle_deadline(now)
        except Exception as error:
            self._fail_by_defect(error)

    def _handle_deadline(self, now: float) -> None:
        if self.lifecycle.ended:
            return
        try:
            if overdue_calls := self.serving.expiry.take(now):
                self._expire(overdue_calls)
            if self._line_standstill.is_over(now, self.serving.moves, self.serving.waiting, self.limits):
                self._refuse_stalled()
            if self._queue_standstill.is_over(now, self.questions.moves, self.questions.queued, self.limits):
                self._refuse_first()
        except ProtocolError as error:  # in what came with these calls, and is looked at only now
            self._fail(error)
            return
        if self.deadlines.closing is not None and now >= self.deadlines.closing and not self._mute:
            self._say_last()  # what waits alone does not leave any more
        if not self.wants_data:
            # Its pings are unread, too: ours, sent in the same rhythm, show it that we live.
            if self.deadlines.wants_ping(now):
                self.send(self._dialect.encode_ping(b""))
            self.deadlines.did_not_listen(now)
        overdue = self.deadlines.overdue(now, self._dialect.mid_message)
        if overdue is not None:
            self._fail(overdue)
            return
        if self.deadlines.wants_ping(now):
            self.send(self._dialect.encode_ping(b""))

    def on_dialect(self, dialect: Dialect, rest: bytes) -> None:
        self._dialect = dialect
        self._agreed = dialect.name
        self.lifecycle.enter(Phase.GREETING)
        dialect.open()
        if rest:
            dialect.receive_data(rest)

    def on_ready(self) -> None:
        self.lifecycle.enter(Phase.OPEN)
        self.deadlines.established(keepalive=PING in self._dialect.features)
        self._host.on_open()
        if self._drains:
            self.drain()

    def on_ping(self, payload: bytes) -> None:
        self.send(self._dialect.encode_pong(payload))

    def on_pong(self, payload: bytes) -> None:
        """That bytes came was the answer."""

    def on_farewell(self, code: str, reason: str) -> None:
        code = code[:_MAX_CODE] if code.replace("-", "").isalnum() and code.isascii() else "lost"
        reason = reason[:_MAX_REASON].encode("unicode_escape").decode()[:_MAX_REASON]
        self._hear_last(CloseCause(code, f"the peer says: {reason}", clean=True))

    def on_draining(self) -> None:
        if not self.peer_draining:
            self.peer_draining = True
            self._host.on_draining()

    def on_complaint(self, text: str) -> None:
        self.ignored += 1
        self.reports.say(self.deadlines.heard, logging.INFO, "%s", text)

    def statistics(self) -> Statistics:
        """Return the state of the connection now."""
        return Statistics(
            phase=self.lifecycle.phase.value,
            dialect=self.dialect_name,
            exported=len(self.exports),
            imported=len(self.imports),
            observed=len(self.observers),
            replicas=len(self.replicas),
            calls_out=len(self.questions),
            calls_held=self.questions.queued + len(self.questions.alone),
            calls_in=len(self.serving.running),
            calls_waiting=self.serving.waiting,
            bytes_received=self._bytes_received,
            bytes_sent=self._bytes_sent,
            bytes_buffered=self._out_bytes - self.outgoing.weight + self.outgoing.bytes,
            messages_received=self.messages_received,
            answers_kept=len(self.kept),
            ignored=self.ignored,
        )
