"""One call of ours, from the moment it is made to its end, and how it depends on the answers of other calls.

A call depends on the unsettled promises to which it refers, as its target or among its arguments. Where the dialect can
encode that, the call is sent at once and the peer waits for the answers ("pipelined"). Where it cannot, the call *waits
alone*: it is neither encoded nor in the queue, and delays no other call. ``docs/understand/order-and-errors.md``
explains the law; :mod:`.outgoing_calls` applies it.
"""

from __future__ import annotations

import copy
from typing import Any, Final, TypeAlias

from ..errors import ConnectionLost, with_ran
from ..flavors import Reference, RemoteCache
from ..ports import Answerable, Message, Perspective, Value
from .observed import Observed

__all__ = [
    "ALONE",
    "DEPENDENT_SLOT",
    "ENDED",
    "HERE",
    "LENT_SLOT",
    "MADE",
    "NO_SLOT",
    "QUEUED",
    "SENT",
    "WINDOW_SLOT",
    "Content",
    "Links",
    "OutgoingCall",
    "Owner",
    "Parts",
    "Unready",
    "call_when_connected",
    "not_callable",
    "not_run",
    "of_this_call",
]

#: The stage of a call (integers, because every call sets them several times).
MADE: Final = 0  #: it was made, and is being encoded, or deferred until the message before it is encoded
ALONE: Final = 1  #: it waits for an answer before it can be encoded
QUEUED: Final = 2  #: it is encoded and waits for room in the window
SENT: Final = 3  #: it was sent to the peer
HERE: Final = 4  #: its target is an object of this program, whose method runs
ENDED: Final = 5  #: the program has its outcome, or has given it up

#: The slot that a call has in the window while it is on its way.
NO_SLOT: Final = 0  #: none: it is not on its way, or is a message of a stream or an update
WINDOW_SLOT: Final = 1  #: one of ``Limits.calls_in_flight``, and its bytes of ``Limits.window_bytes``
LENT_SLOT: Final = 2  #: one that is lent by a call of the peer which has not ended here
DEPENDENT_SLOT: Final = 3  #: none of the window: it waits at the peer for an answer


class Unready(Exception):
    """A message refers to a promise without an outcome, and cannot depend on it. Never leaves the library.

    Attributes:
        call: the call whose answer it is.
    """

    def __init__(self, call: OutgoingCall) -> None:
        super().__init__("a promise that is not kept yet")
        self.call = call


#: References of one message to this connection's tables: ids of objects of ours that it gives the peer a count on,
#: cacheables of ours whose replicas it gives the peer a count on, references and replicas that go home.
Content: TypeAlias = list[int | Observed | Reference | RemoteCache]


class Parts:
    """The parts of a call, as long as it may have to be encoded again.

    Attributes:
        target: a reference, an observer, the call whose answer is called, or that answer once it is known.
        name: of the method.
        args: positional arguments.
        kwargs: keyword arguments.
    """

    __slots__ = ("args", "kwargs", "name", "target")

    def __init__(self, target: Value, name: str, args: tuple[Value, ...], kwargs: dict[str, Value]) -> None:
        self.target: Value = target
        self.name: str = name
        self.args: tuple[Value, ...] = args
        self.kwargs: dict[str, Value] = kwargs

    def references(self) -> list[Reference]:
        """Return the references among target and arguments, in containers too, but not in objects' states."""
        found: list[Reference] = []
        seen: set[int] = set()
        todo: list[Any] = [self.target, self.args, self.kwargs]
        while todo:
            value = todo.pop()
            if isinstance(value, Reference):
                found.append(value)
            elif isinstance(value, (list, tuple, dict, set, frozenset)) and id(value) not in seen:
                seen.add(id(value))
                todo.extend(value)
                if isinstance(value, dict):
                    todo.extend(value.values())
        return found


class Owner:
    """Makes calls again whose dependencies have an outcome: a connection's calls, or nothing yet."""

    def dependency_settled(self, call: OutgoingCall, on: OutgoingCall) -> None:
        """Note that ``on``, on which ``call`` depends, has an outcome now."""
        raise NotImplementedError

    def look_at_settled(self) -> None:
        """Act on the notes of :meth:`dependency_settled`."""
        raise NotImplementedError


class Links:
    """How a call depends on others, and others on it. Made when needed, because most calls do not need it.

    Attributes:
        owner: makes the call; None before there is a connection.
        parts: what the call is made of.
        dependents: calls that depend on this one's answer.
        dependencies: calls to whose answers the message of this one refers.
        unsettled: how many of these have no outcome here.
        waits_for: the call for whose answer this one waits alone.
        because: the call because of whose answer the peer has not run this one; its outcome has not come yet.
        kept: whether the peer keeps the answer until we send a forget.
        uses: messages in the queue that refer to the answer.
        answered: whether the peer has answered, so that it can forget the answer when no message refers to it.
        alone_only: whether a call waits alone for the answer; then later ones must as well, or they would overtake it.
        came_home: whether the answer is an object of this program, or of another peer of it.
        value: the outcome,
        error: or the exception, once the call has ended;
        cancelled: or that it was given up.
        never_left: whether the call ended before its message left, so that no other message may refer to it.
    """

    __slots__ = (
        "_is_disordered",
        "_latest",
        "alone_only",
        "answered",
        "because",
        "came_home",
        "cancelled",
        "dependencies",
        "dependents",
        "error",
        "kept",
        "never_left",
        "owner",
        "parts",
        "unsettled",
        "uses",
        "value",
        "waits_for",
    )

    def __init__(self) -> None:
        self.owner: Owner | None = None
        self.parts: Parts | None = None
        self.dependents: dict[OutgoingCall, None] = {}
        self.dependencies: dict[OutgoingCall, None] = {}
        self.unsettled: int = 0
        self.waits_for: OutgoingCall | None = None
        self.because: OutgoingCall | None = None
        self.kept: bool = False
        self.uses: int = 0
        self.answered: bool = False
        self.alone_only: bool = False
        self.value: Value = None
        self.error: Exception | None = None
        self.came_home: bool = False
        self.cancelled: bool = False
        self.never_left: bool = False
        self._latest = 0
        self._is_disordered = False

    def add_dependent(self, call: OutgoingCall) -> None:
        """Note that ``call`` depends on this answer."""
        self.dependents[call] = None
        if call.serial < self._latest:  # found to depend on it only when another answer had come
            self._is_disordered = True
        else:
            self._latest = call.serial

    def take_dependents(self) -> list[OutgoingCall]:
        """Return, and forget, the calls that depend on this answer, in the order in which they were made."""
        dependents = sorted(self.dependents, key=_serial) if self._is_disordered else list(self.dependents)
        self.dependents = {}
        return dependents


class OutgoingCall:
    """One call of ours, which wants an answer or is one-way.

    Attributes:
        answerable: receives the outcome; None for a one-way call, and from the end on.
        wants_answer: whether the peer answers it.
        perspective: under which arguments and answer are coded.
        serial: its number in the order in which calls were made.
        request: the id of its present message; 0 while there is no message.
        size: bytes of the window that the message takes.
        stage: where it is: MADE, ALONE, QUEUED, SENT, HERE or ENDED.
        slot: what it has of the window.
        is_update: whether it is to a replica.
        is_stub: whether it only stands for the message of a call that is made again.
        at_once: whether it is not queued: an update, or a message of a stream.
        message: the encoded call while it is in the queue.
        content: what the message refers to, while the call has not left.
        held: the references that must not be released before the call has left, while it waits in the queue or alone.
        batch: the number of the messages among which it leaves,
        position: and its index among them; a message that has not left can still be changed.
        links: how it depends on others, and others on it.
        handle: the driver's own, such as the task that runs the method here.
    """

    __slots__ = (
        "answerable",
        "at_once",
        "batch",
        "content",
        "handle",
        "held",
        "is_stub",
        "is_update",
        "links",
        "message",
        "perspective",
        "position",
        "request",
        "serial",
        "size",
        "slot",
        "stage",
        "wants_answer",
    )

    def __init__(self, answerable: Answerable | None, perspective: Perspective) -> None:
        self.answerable: Answerable | None = answerable
        self.wants_answer: bool = answerable is not None
        self.perspective: Perspective = perspective
        self.serial: int = 0
        self.request: int = 0
        self.size: int = 0
        self.stage: int = MADE
        self.slot: int = NO_SLOT
        self.is_update: bool = False
        self.is_stub: bool = False
        self.at_once: bool = False
        self.message: Message | None = None
        self.content: Content | None = None
        self.held: list[Reference] | None = None
        self.batch: int = 0
        self.position: int = 0
        self.links: Links | None = None
        self.handle: Any = None

    @property
    def waits_there(self) -> bool:
        """Whether the peer has to wait for an answer of its own before it can start the call."""
        return self.links is not None and self.links.unsettled > 0

    def linked(self) -> Links:
        """Return the links of the call; make them if necessary."""
        links = self.links
        if links is None:
            links = self.links = Links()
        return links

    def depend_no_more(self) -> None:
        """Do not wait any longer for the outcomes of the calls that this one depends on."""
        links = self.links
        if links is None:
            return
        for on in links.dependencies:
            on.linked().dependents.pop(self, None)
        if links.waits_for is not None:
            links.waits_for.linked().dependents.pop(self, None)
        if links.parts is not None and isinstance(links.parts.target, OutgoingCall):
            links.parts.target.linked().dependents.pop(self, None)
        links.dependencies = {}

    def pass_on(self, value: Value, error: Exception | None) -> None:
        """The call has ended: let the owners of its dependents look at them."""
        links = self.links
        if links is None:
            return
        self.depend_no_more()  # a call may end before those that it depends on, for example at its deadline
        links.parts = None
        links.value, links.error = value, error
        if links.dependents:
            owners: dict[Owner, None] = {}
            for dependent in links.take_dependents():
                owner = dependent.linked().owner
                if owner is _UNCONNECTED and links.owner is not None:
                    owner = dependent.linked().owner = links.owner
                assert owner is not None
                owner.dependency_settled(dependent, self)
                owners[owner] = None
            for owner in owners:
                owner.look_at_settled()

    def end_unmade(self, error: Exception | None) -> None:
        """End a call that no connection has made: with an error, or as given up when ``error`` is None."""
        if self.stage == ENDED:
            return
        self.stage = ENDED
        self.answerable = None
        self.linked().cancelled = error is None
        self.pass_on(None, error)


class _Unconnected(Owner):
    """Keeps calls on promises whose own calls wait for a connection, until they are made there."""

    def dependency_settled(self, call: OutgoingCall, on: OutgoingCall) -> None:
        if call.stage == ENDED:
            return
        answerable, links = call.answerable, on.linked()
        error = None if links.cancelled else not_run(links.error or ConnectionLost())
        if answerable is not None:
            if error is None:
                answerable.abandon()
            else:
                answerable.fail(error)
        call.end_unmade(error)

    def look_at_settled(self) -> None:
        """Everything was done at once."""


_UNCONNECTED: Final = _Unconnected()


def call_when_connected(
    on: OutgoingCall, name: str, args: tuple[Value, ...], kwargs: dict[str, Value], answerable: Answerable
) -> OutgoingCall:
    """Return a call of what ``on``, which waits for a connection, will be answered with."""
    call = OutgoingCall(answerable, None)
    call.stage = ALONE
    links = call.linked()
    links.owner, links.parts, links.waits_for = _UNCONNECTED, Parts(on, name, args, kwargs), on
    on_links = on.linked()
    on_links.alone_only = True
    on_links.add_dependent(call)
    return call


def not_callable(value: Value) -> TypeError:
    """Return the error of a call on a promise that was kept with a value which has no methods for callers."""
    return TypeError(f"the promise was kept with a {type(value).__name__}, which cannot be called")


def not_run(error: Exception) -> Exception:
    """Return the error of one call for another that was not run because of it: the same, but that ``ran`` is False."""
    return _again(error, False)


def of_this_call(error: Exception, ran: bool) -> Exception:
    """Return an exception of the program with ``ran`` set for this call.

    It may be the error of another call; that object keeps its own ``ran``.
    """
    return with_ran(error, ran) if getattr(error, "ran", None) is None else _again(error, ran)


def _again(error: Exception, ran: bool) -> Exception:
    """Return a copy of an error with another ``ran``; the error itself when it cannot be copied."""
    try:
        same = copy.copy(error)
        if type(same) is not type(error) or same.args != error.args:
            return error
    except Exception:  # of a class of the application that cannot be copied
        return error
    same.__cause__ = error.__cause__  # not the error itself, or a chain of calls would be a chain of causes
    return with_ran(same.with_traceback(error.__traceback__), ran)


def _serial(call: OutgoingCall) -> int:
    return call.serial
