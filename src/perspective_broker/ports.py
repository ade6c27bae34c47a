"""The seams: what dialects, sessions and drivers may ask of each other.

``dialects`` and ``session`` are siblings that do not import each other; they meet here. Ownership contracts
stand on these interfaces, once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Final, NamedTuple, Protocol

from .errors import SerializationError, UnknownObject
from .limits import Limits

__all__ = [
    "CANCEL",
    "DEADLINES",
    "DELIVERED",
    "FAREWELL",
    "LARGE_MESSAGE",
    "NEEDS_DATA",
    "OLD",
    "PIECES",
    "PING",
    "PIPELINING",
    "READING",
    "SENT_BEFORE",
    "AnswerOf",
    "Answerable",
    "Data",
    "Deadline",
    "Dialect",
    "Exporter",
    "Host",
    "Importer",
    "InParts",
    "Message",
    "NullPort",
    "Rank",
    "Receiver",
]


class AnswerOf(NamedTuple):
    """In the place of an object, or of a value: what the call with that id will be answered with."""

    request: int


#: An object id on the wire: a number from the owner's table, or the name of an object that is always there.
ObjectId = int | str

#: What event loops hand in: bytes, whatever holds them.
Data = bytes | bytearray | memoryview

#: What is called: an object, or where the dialect can pipeline the answer of an earlier call.
CallTarget = ObjectId | AnswerOf


#: In the place of a cacheable's state: the peer has the replica already.
SENT_BEFORE: Final = object()


#: Bytes of a message from which on it travels in pieces, where the dialect has them. Above the messages of a stream
#: (256 KiB and what one chunk adds), which wait for each other anyway; 512 KiB leave a connection of 100 Mbit/s in
#: 40 ms.
LARGE_MESSAGE: Final = 512 * 1024

#: What :meth:`Dialect.next_message` has done (integers, because every message returns one).
NEEDS_DATA: Final = 0
DELIVERED: Final = 1
READING: Final = 2


class InParts:
    """A large message of ours in parts that are not joined: the application's bytes objects stand in it as they are.

    A joined copy of 1 MiB costs a third of a millisecond, most of it for memory that the system has to clear first.

    Args:
        parts: what leaves, in order. The first holds all that stands before the values.
    """

    __slots__ = ("_size", "parts")

    def __init__(self, parts: list[bytes]) -> None:
        self.parts = parts
        self._size = sum(map(len, parts))

    def __len__(self) -> int:
        """Bytes of the message."""
        return self._size

    def headed(self, head: bytes) -> InParts:
        """Return the same message with another first part."""
        return InParts([head, *self.parts[1:]])

    def cut(self, start: int, end: int) -> list[memoryview]:
        """Return the bytes from ``start`` to ``end``, which is behind it, where they lie."""
        found = []
        at = 0
        for part in self.parts:
            if max(at, start) < min(at + len(part), end):
                found.append(memoryview(part)[max(0, start - at) : end - at])
            at += len(part)
        return found


#: What a dialect's encoders return. Only what travels in pieces is ever in parts.
Message = bytes | InParts


class Exporter(Protocol):
    """What an encoder may ask of the session, to turn objects into ids.

    Every ``export`` and ``export_cache`` adds one count for the peer. The encoder that asked owns these
    counts until its message is handed to the connection; if encoding fails, it gives each back with
    ``retract``, in reverse order.
    """

    def export(self, obj: Any, perspective: Any) -> int:
        """Give the peer a count on ``obj`` (as seen by ``perspective``) and return its id.

        Raises:
            SerializationError: too many objects are exported.
        """

    def retract(self, luid: int) -> None:
        """Take back one count that ``export`` gave in a message that was never sent."""

    def adapt(self, value: Any) -> Any:
        """Return what crosses instead of a value of no flavor: a stream for a generator, an :class:`AnswerOf` or
        the answer itself for a promise. Return ``value`` when there is nothing.

        Raises:
            Exception: the error with which a promise has failed.
        """

    def home_id(self, reference: Any) -> ObjectId:
        """Return the peer's own id of a reference that is sent back to it.

        Raises:
            SerializationError: the reference belongs to another connection, or is dead.
        """

    def export_cache(self, obj: Any, perspective: Any) -> tuple[int, Any]:
        """Give the peer a count on its replica of ``obj`` and return the replica's id and first state.

        The state is :data:`SENT_BEFORE` when the peer has the replica already.

        Raises:
            SerializationError: too many replicas are kept.
        """

    def retract_cache(self, luid: int) -> None:
        """Take back one count that ``export_cache`` gave in a message that was never sent."""

    def home_cache_id(self, replica: Any) -> int | None:
        """Return the peer's own id of a replica that is sent back to it; None when it is not the peer's."""


class Importer(Protocol):
    """What a decoder may ask of the session, to turn ids into objects."""

    def import_reference(self, luid: int, perspective: Any) -> Any:
        """Return the reference to the peer's object ``luid``, counting one receipt.

        Raises:
            ProtocolError: the peer made us hold more references than the limits allow.
        """

    def import_named(self, name: str) -> Any:
        """Return the reference to the object of the other side that is always there under ``name``."""

    def pass_over(self, luid: int, perspective: Any) -> None:
        """Count one receipt of a reference that nobody will get, because what it came in cannot be read."""

    def kept_answer(self, request: int) -> Any:
        """Return what we answered to a call whose answer the peer mentions.

        Raises:
            UnknownObject: an error, or nothing that is kept.
        """

    def local_object(self, luid: ObjectId) -> Any:
        """Return our own object that the peer was given under ``luid``.

        Raises:
            UnknownObject: it was never given to this peer, or was released.
        """

    def introduce_cache(self, luid: int, cls: type) -> Any:
        """Return a new replica without state, an instance of ``cls``, counting one receipt.

        Raises:
            ProtocolError: the id is taken, or the peer made us keep more than the limits allow.
        """

    def spoil_cache(self, luid: int) -> None:
        """The state of a replica that was just introduced cannot be read: never hand it out."""

    def import_cache(self, luid: int) -> Any:
        """Return the replica that was introduced under ``luid``, counting one receipt.

        Raises:
            UnknownObject: it was never sent, or was given up.
            DecodeError: its state could not be read; the receipt is counted.
        """

    def local_cache(self, luid: int) -> Any:
        """Return our own object whose replica the peer sends back.

        Raises:
            UnknownObject: the peer keeps no such replica.
        """


class NullPort:
    """Both ports of a value that is coded with no session: nothing can be exported or imported."""

    def export(self, obj: Any, perspective: Any) -> int:
        raise SerializationError(f"a {type(obj).__name__} needs a connection to cross")

    def retract(self, luid: int) -> None:
        raise AssertionError("nothing was exported")

    def adapt(self, value: Any) -> Any:
        return value

    def home_id(self, reference: Any) -> ObjectId:
        raise SerializationError("a reference needs a connection to cross")

    def export_cache(self, obj: Any, perspective: Any) -> tuple[int, Any]:
        raise SerializationError(f"a {type(obj).__name__} needs a connection to cross")

    def retract_cache(self, luid: int) -> None:
        raise AssertionError("nothing was exported")

    def home_cache_id(self, replica: Any) -> int | None:
        return None

    def import_reference(self, luid: int, perspective: Any) -> Any:
        raise UnknownObject("a reference arrived, but there is no connection")

    def import_named(self, name: str) -> Any:
        raise UnknownObject("a reference arrived, but there is no connection")

    def pass_over(self, luid: int, perspective: Any) -> None:
        raise UnknownObject("a reference arrived, but there is no connection")

    def kept_answer(self, request: int) -> Any:
        raise UnknownObject("an answer is mentioned, but there is no connection")

    def local_object(self, luid: ObjectId) -> Any:
        raise UnknownObject("an object id arrived, but there is no connection")

    def introduce_cache(self, luid: int, cls: type) -> Any:
        raise UnknownObject("a replica arrived, but there is no connection")

    def spoil_cache(self, luid: int) -> None:
        raise AssertionError("no replica was introduced")

    def import_cache(self, luid: int) -> Any:
        raise UnknownObject("a replica arrived, but there is no connection")

    def local_cache(self, luid: int) -> Any:
        raise UnknownObject("a replica's id arrived, but there is no connection")


class Receiver(Protocol):
    """The operations a dialect decodes from the peer's bytes. Called by the dialect, in wire order.

    ``arguments`` and ``payload`` are the dialect's own half-decoded values: only after the receiver has found
    the object that is called does it know under which perspective they are to be decoded, and hands them back
    to :meth:`Dialect.decode_arguments` or :meth:`Dialect.decode_value`.
    """

    def on_ready(self) -> None:
        """The peer has shown that it speaks the dialect; calls may begin."""

    def on_call(
        self,
        request: int,
        target: CallTarget,
        name: str,
        wants_answer: bool,
        arguments: Any,
        keep: bool = False,
        depends_on: Sequence[int] = (),
        seconds: float | None = None,
    ) -> None:
        """A call; ``keep`` its answer until it may be forgotten. ``depends_on`` are the calls whose answers are
        mentioned in the arguments; ``seconds`` what its caller leaves it, if that is bounded.
        """

    def on_forget(self, request: int) -> None:
        """The answer of that call need not be kept any more."""

    def on_update(self, request: int, luid: int, name: str, wants_answer: bool, arguments: Any) -> None:
        """A call of an ``observe_`` method of our replica ``luid``."""

    def on_answer(self, request: int, payload: Any) -> None: ...

    def on_error(self, request: int, payload: Any) -> None: ...

    def on_dropped(self, request: int, because: int) -> None:
        """A call of ours was not run, because of the answer to the call ``because``, which it mentions."""

    def on_release(self, luid: ObjectId, count: int) -> None: ...

    def on_decache(self, luid: int, count: int) -> None:
        """The peer dropped its replica of our object."""

    def on_uncache(self, luid: int) -> None:
        """The owner of a replica of ours will send nothing more for it."""

    def on_cancel(self, request: int) -> None:
        """The peer does not wait for the answer any more; it gets one all the same."""

    def on_ping(self, payload: bytes) -> None: ...

    def on_pong(self, payload: bytes) -> None: ...

    def on_farewell(self, code: str, reason: str) -> None:
        """The peer ends the connection, and says why."""

    def on_draining(self) -> None:
        """The peer takes no new calls and will end the connection soon."""

    def on_complaint(self, text: str) -> None:
        """The peer says that it did not understand something; it goes on."""

    def send(self, data: bytes) -> None:
        """Queue bytes that the dialect has to say by itself (its greeting, a complaint)."""


#: Features of a dialect, see :attr:`Dialect.features`.
CANCEL, DEADLINES, FAREWELL, OLD, PING = "cancel", "deadlines", "farewell", "2002", "ping"
PIECES, PIPELINING = "pieces", "pipelining"


class Rank(Enum):
    """What of several messages may leave before another that is still on its way out."""

    CALL = "call"  #: calls, what is told, updates: one behind the other
    ANSWER = "answer"  #: answers and errors
    GIVES_BACK = "gives back"  #: releases and their like; and the last word
    AT_ONCE = "at once"  #: pings, cancellations, notices


class Dialect(Protocol):
    """How operations become bytes and back: one instance per connection, owned by its broker.

    Decoding never raises anything but :class:`~perspective_broker.errors.ProtocolError`; encoding raises
    :class:`~perspective_broker.errors.SerializationError` or whatever the application's own hooks raise, and
    then has left nothing behind.
    """

    name: str

    #: What the dialect can say beyond what every dialect can, once the peer has said that it understands it; each
    #: names the methods that it has. Those that begin with "encode" return a message.
    #: "pipelining": ``encode_kept(message)``, ``encode_forget(request)``, ``encode_dropped(request, because)``; targets
    #: and values may be :class:`AnswerOf`. ``object_answered(message)`` is the id of the object of ours that an answer
    #: is, or None; ``decode_kept(message, importer)`` the value of an answer of ours, read on this side.
    #: ``home_in(arguments)`` is the ids of our objects, and those of replicas of ours, that come home in arguments
    #: which are not decoded yet.
    #: "cancel": ``encode_cancel(request)``.
    #: "deadlines": ``encode_due(message, seconds)``, the call with what its caller leaves it.
    #: "pieces": ``rank(message)``, its :class:`Rank` and the request that it is or is about; ``piece(message, sent,
    #: number, room)``, the buffers of the next piece of it and how far it has left then.
    #: "ping": ``encode_ping(payload)``, ``encode_pong(payload)``.
    #: "farewell": ``encode_farewell(code, reason)``, ``encode_draining()``.
    #: "2002": it can go back to what programs of 2002 read (``speak_as_in_2002()``).
    features: frozenset[str]

    #: Messages of the peer of which pieces have come but not the last: a number that is used once -> bytes so far. What
    #: can have some has ``forget_unfinished()``, for the end of the connection.
    unfinished: Mapping[int, int]

    def open(self) -> None:
        """Say what the dialect says first. Called once, before any data is received."""

    def use_limits(self, limits: Limits) -> None:
        """Judge what comes from now on by ``limits`` (before and after a login they differ)."""

    def receive_data(self, data: Data) -> None:
        """Keep bytes from the peer. Linear in their number, however they are chopped."""

    def next_message(self) -> int:
        """Go on with what has come.

        Returns:
            ``NEEDS_DATA``: more bytes are needed for the next operation; ``DELIVERED``: the receiver was given one;
            ``READING``: a large message is being read, and this was one step of several.

        Raises:
            ProtocolError: the bytes are not this dialect; nothing more may be asked.
        """

    @property
    def mid_message(self) -> int:
        """Bytes received of a message that is not complete; 0 between messages."""

    @property
    def last_size(self) -> int:
        """Encoded bytes of the message that :meth:`next_message` delivered last."""

    @property
    def last_weight(self) -> int:
        """Bytes of memory, or a little more, that the values of the message take which is being delivered."""

    def decode_arguments(self, arguments: Any, perspective: Any) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """Return ``(args, kwargs)``; raises :class:`CallError`."""

    def decode_value(self, payload: Any, perspective: Any) -> Any:
        """Return the value of an answer; raises :class:`CallError`."""

    def decode_error(self, payload: Any, perspective: Any) -> Exception:
        """Return (never raise) the exception that an error message stands for."""

    def encode_call(
        self,
        request: int,
        target: CallTarget,
        name: str,
        wants_answer: bool,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        perspective: Any,
    ) -> Message:
        """Return the message; the objects of ours in it are counted."""

    def encode_answer(self, request: int, value: Any, perspective: Any) -> Message: ...

    def encode_error(
        self, request: int, error: BaseException, traceback: bool, perspective: Any
    ) -> Message: ...

    def encode_releases(self, owed: Mapping[int, int]) -> bytes:
        """Return what gives back counts on the peer's objects: id -> count, one of them at least."""

    def encode_update(
        self,
        request: int,
        luid: int,
        name: str,
        wants_answer: bool,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        perspective: Any,
    ) -> Message:
        """The same as :meth:`encode_call`, to the peer's replica ``luid``."""

    def encode_decache(self, luid: int, count: int) -> bytes: ...

    def encode_uncache(self, luid: int) -> bytes: ...


class Deadline(Protocol):
    """The moment at which a caller gives its call up."""

    def left(self) -> float:
        """Return the seconds until then; less than nothing when it has passed."""


class Answerable(Protocol):
    """Where the outcome of one call of ours goes. Exactly one of its methods is called, once."""

    @property
    def deadline(self) -> Deadline | None:
        """When its caller gives the call up, if it has said so; asked when the message is made."""

    def succeed(self, value: Any) -> None: ...

    def fail(self, error: Exception) -> None: ...

    def abandon(self) -> None:
        """The call was given up, together with one that it depends on."""


class Host(Protocol):
    """What a broker asks of its driver: the half that knows an event loop. Never called after ``on_closed``."""

    def invoke(self, call: Any, method: Method, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Run a method of ours and report to ``broker.answer_call`` or ``broker.fail_call``, once.

        Methods start in the order in which this is called. The call's ``handle`` is the driver's to use.
        """

    def cancel(self, call: Any) -> None:
        """Stop a running method whose answer nobody waits for any more; its end is reported like any other."""

    def on_draining(self) -> None:
        """The peer takes no new calls any more."""

    def on_deadline(self) -> None:
        """``broker.next_deadline()`` may be earlier than it was."""

    def adapt(self, value: Any) -> Any:
        """See :meth:`Exporter.adapt`; a promise without an outcome is what ``broker.mention`` returns for it."""

    def call_here(
        self, call: Any, target: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Call a method of ``target``, what a promise turned out to be, and report to ``broker.ended_here``, once.

        Raises:
            Unready: an argument is a promise without an outcome; nothing was called.
        """

    def cancel_here(self, call: Any) -> None:
        """Stop what :meth:`call_here` began: its outcome is not wanted any more."""

    def on_closing(self) -> None:
        """The connection ends in order: no new calls are taken. The driver sees to it that it does end."""

    def on_last_word(self) -> None:
        """This side has said its last: write it, and end the bytes that are sent. What comes is still read."""

    def make_observer(self, luid: int, perspective: Any) -> Any:
        """Return a new :class:`~perspective_broker.flavors.Observer` for the peer's replica ``luid``."""

    def make_reference(self, luid: ObjectId, perspective: Any) -> Any:
        """Return a new reference (a :class:`~perspective_broker.flavors.Reference`) to the peer's object."""

    def wake(self) -> None:
        """There is something to send, or to do: ask for ``data_to_send`` soon. Called in the loop's thread."""

    def wake_from_anywhere(self) -> None:
        """The same, from whatever thread a finaliser runs in, in the middle of whatever it interrupted."""

    def on_open(self) -> None:
        """Calls may begin."""

    def on_closed(self, cause: Any) -> None:
        """The connection has ended; every call of ours has been told already."""


#: A method ready to be called with the decoded arguments.
Method = Callable[..., Any | Awaitable[Any]]
