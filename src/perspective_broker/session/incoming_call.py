"""One call of the peer, the answers of ours on which it depends, and what these refer to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..errors import LimitExceeded, UnknownObject
from ..flavors import Cacheable, Reference, RemoteCache, Target
from ..flavors.offer import Sender
from ..ports import Message, Method, NullImporter, ObjectId, Perspective, Undecoded, Value
from .call_states import ARRIVED, ENDED, NEXT_STATE, RUNNING, STOPS, illegal

__all__ = [
    "LEAST_WAITING",
    "LENT_SLOT",
    "NO_SLOT",
    "OWN_SLOT",
    "Dependency",
    "IncomingCall",
    "KeptAnswer",
    "Pins",
]

#: Bytes as which a call that waits counts at least: what it takes here beside its arguments.
LEAST_WAITING: Final = 256

#: The slot in which a call runs.
NO_SLOT: Final = 0  #: none: it does not run, or is a message of a stream or an update
OWN_SLOT: Final = 1  #: one of ``Limits.calls_in_flight``
LENT_SLOT: Final = 2  #: one that is lent by a call of ours which has no answer


class IncomingCall:
    """One call of the peer, from its arrival to its answer.

    Attributes:
        request: the peer's id of it.
        name: the method's name.
        wants_answer: False for a one-way call.
        size: encoded bytes.
        weight: bytes of memory that it is charged until it ends.
        waiting_size: the bytes as which it counts while it waits.
        method: to be run with ``args`` and ``kwargs``; set when the call is ready.
        perspective: under which the answer is encoded.
        sender: makes of what the method returns what crosses, where an interface says so.
        handle: the driver's own, such as the task that runs the method.
        state: see :mod:`.call_states`.
        is_cancelled: whether the peer has cancelled it.
        is_expired: whether its deadline has passed.
        is_passed_on: whether its method is that of a third program, to which this program forwards the call.
        due: its deadline by the driver's clock; None when the caller did not give one.
        slot: in which it runs.
        dependency: the answers for which it waits, while it is dependent.
    """

    __slots__ = (
        "args",
        "dependency",
        "due",
        "handle",
        "is_cancelled",
        "is_expired",
        "is_passed_on",
        "kwargs",
        "method",
        "name",
        "perspective",
        "request",
        "sender",
        "size",
        "slot",
        "state",
        "waiting_size",
        "wants_answer",
        "weight",
    )

    method: Method
    args: Sequence[Value]
    kwargs: Mapping[str, Value]

    def __init__(self, request: int, name: str, wants_answer: bool, size: int) -> None:
        self.request: int = request
        self.name: str = name
        self.wants_answer: bool = wants_answer
        self.size: int = size
        self.weight: int = 0
        self.waiting_size: int = 0
        self.perspective: Perspective = None
        self.sender: Sender | None = None
        self.handle: Any = None
        self.state: int = ARRIVED
        self.is_cancelled: bool = False
        self.is_expired: bool = False
        self.is_passed_on: bool = False
        self.due: float | None = None
        self.slot: int = NO_SLOT
        self.dependency: Dependency | None = None

    def go(self, event: int) -> None:
        """Go to the next state.

        Raises:
            AssertionError: the event cannot happen in this state.
        """
        state = NEXT_STATE[self.state * 5 + event]
        if state < 0:
            raise illegal(self.state, event)
        self.state = state

    @property
    def has_ended(self) -> bool:
        """Whether nothing is to be done for it any more."""
        return self.state == ENDED

    @property
    def was_stopped(self) -> bool:
        """Whether its method has been stopped: it is not disturbed again while it cleans up."""
        return self.is_cancelled or self.is_expired

    def stop(self) -> bool:
        """Its method is being stopped; return whether it runs."""
        if self.state != RUNNING:
            return False
        self.go(STOPS)
        return True

    def forget_arguments(self) -> None:
        """Its method is not run: let go of the arguments."""
        self.args, self.kwargs = (), {}


class Dependency:
    """The parts of a call that depends on answers which are not there yet.

    Attributes:
        target: the object that is called; None when that is one of ``answers``,
        called: which this is then.
        arguments: not decoded yet.
        answers: on which the call depends, by request.
        missing: how many of these are not there.
        pins: our objects to which its arguments refer.
    """

    __slots__ = ("answers", "arguments", "called", "missing", "pins", "target")

    def __init__(
        self, target: Target | None, arguments: Undecoded, answers: dict[int, KeptAnswer], pins: Pins
    ) -> None:
        self.target: Target | None = target
        self.called: KeptAnswer | None = next(iter(answers.values())) if target is None else None
        self.arguments: Undecoded = arguments
        self.answers: dict[int, KeptAnswer] = answers
        self.missing: int = sum(1 for answer in answers.values() if not answer.is_known)
        self.pins: Pins = pins

    def cost(self, call: IncomingCall) -> int:
        """Return the bytes as which a call counts while it waits: a dependency takes two entries of tables."""
        return call.waiting_size + LEAST_WAITING * len(self.answers)

    def obstacle(self) -> KeptAnswer | None:
        """Return the answer because of which the call cannot run, or None."""
        for answer in self.answers.values():
            if answer.is_known and answer.is_obstacle(self.called is answer):
                return answer
        return None


class Pins(NullImporter):
    """Objects by their ids, held so that the ids mean the same later, even if the peer releases them meanwhile.

    It is the :class:`~perspective_broker.ports.Importer` of an answer that is decoded by the side that encoded it.

    Attributes:
        objects: ours, by the id under which the peer holds them.
        references: to the peer's objects, by their id.
        caches: our cacheables, by their replica's id.
        replicas: of the peer's cacheables, by their id.
    """

    def __init__(self) -> None:
        self.objects: dict[ObjectId, Value] = {}
        self.references: dict[ObjectId, Reference] = {}
        self.caches: dict[int, Cacheable] = {}
        self.replicas: dict[int, RemoteCache] = {}

    def local_object(self, luid: ObjectId) -> Value:
        return _found(self.objects.get(luid))

    def import_reference(self, luid: ObjectId, perspective: Perspective) -> Value:
        return _found(self.references.get(luid))

    def import_named(self, name: str) -> Value:
        return _found(self.references.get(name))

    def local_cache(self, luid: int) -> Value:
        return _found(self.caches.get(luid))

    def import_cache(self, luid: int) -> Value:
        return _found(self.replicas.get(luid))


def _found(value: Value) -> Value:
    if value is None:
        raise UnknownObject("an answer refers to an object that it did not hold")
    return value


class KeptAnswer:
    """One answer of ours that the peer may still refer to.

    Attributes:
        request: the call's.
        is_known: whether the call has ended.
        is_forgotten: whether no further message refers to it, although calls wait for it.
        message: the answer as it was sent; None when it was an error.
        pins: the objects to which it refers.
        target: the object that calls to it reach; None when it is not an object of ours.
        error: the error of calls that depend on it, when it is too large to be kept.
        dependents: calls of the peer that wait for it, in the order in which they came.
        size: bytes as which it counts.
    """

    __slots__ = (
        "dependents",
        "error",
        "is_forgotten",
        "is_known",
        "message",
        "pins",
        "request",
        "size",
        "target",
    )

    def __init__(self, request: int) -> None:
        self.request: int = request
        self.is_known: bool = False
        self.is_forgotten: bool = False
        self.message: Message | None = None
        self.pins: Pins | None = None
        self.target: Target | None = None
        self.error: LimitExceeded | None = None
        self.dependents: dict[IncomingCall, None] = {}
        self.size: int = 0

    def is_obstacle(self, is_target: bool) -> bool:
        """Whether a call that depends on the answer, which is known, cannot run.

        Args:
            is_target: whether it is a call *to* the answer.
        """
        return self.message is None or (is_target and self.target is None)
