"""One call of ours, from the moment it is made to its end, and how it depends on the answers of others.

A call depends on the unsettled promises that it mentions, as its target or among its arguments. Where the peer can be
told so, the call is sent at once and the peer waits for the answers ("pipelined"). Where it cannot, the call *waits
alone*: it is neither encoded nor in the queue, and holds up nothing else. ``docs/understand/order-and-errors.md``
explains the law; :mod:`.asking` applies it.
"""

from __future__ import annotations

import copy
from typing import Any, Final, TypeAlias

from ..errors import ConnectionLost, with_ran
from ..flavors import Exportable, Reference, RemoteCache
from ..ports import Answerable, Message
from .caches import Observed

__all__ = [
    "ALONE",
    "DEPENDENT_PLACE",
    "ENDED",
    "HERE",
    "LENT_PLACE",
    "MADE",
    "NO_PLACE",
    "QUEUED",
    "SENT",
    "WINDOW_PLACE",
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

#: Where a call is (integers, because every call sets them several times).
MADE: Final = 0  #: it was made, and is being encoded, or deferred until the message before it is encoded
ALONE: Final = 1  #: it waits for an answer before it can be encoded
QUEUED: Final = 2  #: it is encoded and waits for room in the window
SENT: Final = 3  #: the peer has it
HERE: Final = 4  #: its target is an object of this program, whose method runs
ENDED: Final = 5  #: the program has its outcome, or does not want it any more

#: What a call takes of the window while it is on its way.
NO_PLACE: Final = 0  #: nothing: it is not on its way, or is a message of a stream or an update
WINDOW_PLACE: Final = 1  #: one of ``Limits.calls_in_flight``, and its bytes of ``Limits.window_bytes``
LENT_PLACE: Final = 2  #: a place lent by a call of the peer that has not ended here
DEPENDENT_PLACE: Final = 3  #: none of the window: it waits at the peer for an answer


class Unready(Exception):
    """A promise is mentioned whose answer is not known here and cannot be built upon. Never leaves the library.

    Attributes:
        call: the call whose answer it is.
    """

    def __init__(self, call: OutgoingCall) -> None:
        super().__init__("a promise that is not kept yet")
        self.call = call


#: What one message mentions of this connection's tables: ids of objects of ours that it gives the peer a count on,
#: cacheables of ours whose replicas it gives the peer a count on, references and replicas that go home.
Content: TypeAlias = list[int | Observed | Reference | RemoteCache]


class Parts:
    """What a call is made of, as long as it may have to be encoded again.

    Attributes:
        target: a reference, an observer, the call whose answer is called, or what that answer turned out to be.
        name: of the method.
        args: positional arguments.
        kwargs: keyword arguments.
    """

    __slots__ = ("args", "kwargs", "name", "target")

    def __init__(self, target: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.target = target
        self.name = name
        self.args = args
        self.kwargs = kwargs

    def references(self) -> list[Reference]:
        """Return the references that the call is to or mentions, in containers too, but not in objects' states."""
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
    """What makes calls: a broker, or nothing yet."""

    def dependency_settled(self, call: OutgoingCall, on: OutgoingCall) -> None:
        """Note that a call depends on ``on``, which has an outcome now."""
        raise NotImplementedError

    def look_at_settled(self) -> None:
        """Act on what :meth:`dependency_settled` has noted."""
        raise NotImplementedError


class Links:
    """How a call depends on others, and others on it. Made when there is something to note: most calls have none.

    Attributes:
        owner: the broker that makes the call; None while there is none.
        parts: what the call is made of.
        dependents: calls that depend on this one's answer.
        dependencies: calls whose answers the message of this one mentions.
        unsettled: how many of these have no outcome here.
        waits_for: the call for whose answer this one waits alone.
        because: the call because of whose answer the peer has not run this one; its outcome has not come yet.
        kept: whether the peer keeps the answer until it is told to forget it.
        mentions: messages in the queue that mention the answer.
        answered: whether the peer has answered, so that it can be told to forget when nothing mentions the answer.
        alone_only: whether a call waits alone for the answer; then later ones must as well, or they would overtake it.
        value: the outcome,
        error: or the exception, once the call has ended;
        cancelled: or that it was given up.
        never_left: whether the call ended before its message left, so that no other message may mention it.
    """

    __slots__ = (
        "_is_disordered",
        "_latest",
        "alone_only",
        "answered",
        "because",
        "cancelled",
        "dependencies",
        "dependents",
        "error",
        "kept",
        "mentions",
        "never_left",
        "owner",
        "parts",
        "unsettled",
        "value",
        "waits_for",
    )

    def __init__(self) -> None:
        self.owner: Owner | None = None
        self.parts: Parts | None = None
        self.dependents: dict[OutgoingCall, None] = {}
        self.dependencies: dict[OutgoingCall, None] = {}
        self.unsettled = 0
        self.waits_for: OutgoingCall | None = None
        self.because: OutgoingCall | None = None
        self.kept = False
        self.mentions = 0
        self.answered = False
        self.alone_only = False
        self.value: Any = None
        self.error: Exception | None = None
        self.cancelled = False
        self.never_left = False
        self._latest = 0
        self._is_disordered = False

    @property
    def came_home(self) -> bool:
        """Whether the answer is an object of this program."""
        return isinstance(self.value, Exportable)

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
    """One call of ours, with an answer or without one.

    Attributes:
        answerable: told how the call ends; None without an answer, and from the end on.
        wants_answer: whether the peer answers it.
        perspective: under which arguments and answer are coded.
        serial: its place in the order in which calls were made.
        request: the id of its present message; 0 while it has none.
        size: bytes of the window that the message takes.
        stage: where it is: MADE, ALONE, QUEUED, SENT, HERE or ENDED.
        place: what it takes of the window.
        is_update: whether it is to a replica.
        is_stub: whether it only stands for the message of a call that is made again.
        at_once: whether it stands in no queue: an update, or a message of a stream.
        message: the encoded call while it is in the queue.
        content: what the message mentions, while the call has not left.
        held: the references that must not be given back before the call has left, while it waits in the queue or alone.
        batch: which of the batches of messages that leave together has its message,
        position: and where there; what has not left can still be changed.
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
        "place",
        "position",
        "request",
        "serial",
        "size",
        "stage",
        "wants_answer",
    )

    def __init__(self, answerable: Answerable | None, perspective: Any) -> None:
        self.answerable: Answerable | None = answerable
        self.wants_answer = answerable is not None
        self.perspective = perspective
        self.serial = 0
        self.request = 0
        self.size = 0
        self.stage = MADE
        self.place = NO_PLACE
        self.is_update = False
        self.is_stub = False
        self.at_once = False
        self.message: Message | None = None
        self.content: Content | None = None
        self.held: list[Reference] | None = None
        self.batch = 0
        self.position = 0
        self.links: Links | None = None
        self.handle: Any = None

    @property
    def waits_there(self) -> bool:
        """Whether the peer has to wait for an answer of its own before it can start the call."""
        return self.links is not None and self.links.unsettled > 0

    def linked(self) -> Links:
        """Return the links of the call; new ones when it has none."""
        links = self.links
        if links is None:
            links = self.links = Links()
        return links

    def depend_no_more(self) -> None:
        """Be told no more of the outcomes of the calls that this one depends on."""
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

    def pass_on(self, value: Any, error: Exception | None) -> None:
        """The call has ended: let the owners of those that depend on it look at them."""
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
        """End a call that no connection has made: with an error, or given up when there is none."""
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
    on: OutgoingCall, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], answerable: Answerable
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


def not_callable(value: Any) -> TypeError:
    """Return the error of a call on a promise that was kept with what has no methods for callers."""
    return TypeError(f"the promise was kept with a {type(value).__name__}, which cannot be called")


def not_run(error: Exception) -> Exception:
    """Return the error of one call for another that was not run because of it: the same, but that ``ran`` is False."""
    return _again(error, False)


def of_this_call(error: Exception, ran: bool) -> Exception:
    """Return what the program raised in a call, saying whether that has run.

    It may be the error of another call, which keeps its own word about that one.
    """
    return with_ran(error, ran) if getattr(error, "ran", None) is None else _again(error, ran)


def _again(error: Exception, ran: bool) -> Exception:
    """Return a copy of an error that says something else in ``ran``; the error itself where none can be made."""
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
