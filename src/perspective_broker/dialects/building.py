"""Build what a peer described: which class it may become, and which keys a dictionary may have.

The same for every dialect. No name that a peer sent is imported or looked up as an attribute here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

from ..errors import BadArguments, DecodeError, InsecureJelly
from ..flavors import Form, Policy, Registry
from ..flavors.guard import ordinary
from ..ports import Value

__all__ = ["MAX_KEY_BITS", "KeyBudget", "KeyCheck", "find_class", "guarded", "instance", "made"]

#: Bits of an integer that is a key (of a dictionary or a set, but also an object id or a reference number). Python's
#: hash of an integer is its remainder by 2**61 - 1, so beyond 64 bits a peer can make any number of them collide.
MAX_KEY_BITS: Final = 64

#: The tags that a classic peer sends in the place of an object that it cannot send.
_PLACEHOLDER_TAGS: Final = ("unpersistable", "persistent")

#: Keys of one dictionary or set that may have the same hash. A peer can choose numbers, and tuples of numbers, that
#: collide; n of them cost n * n comparisons. An honest grid of six dimensions around zero has 64, because -1 and -2
#: have the same hash.
MAX_SAME_HASH: Final = 64

#: Parts of one key. A tuple in it counts as often as the key refers to it, because it is hashed that often.
MAX_KEY_PARTS: Final = 1024

#: Parts that all keys of one message may have beyond its size, whether shared or not. Frozensets that are nested as
#: deep as a message allows, 256 levels, are keys of each other and have 33 thousand.
FREE_KEY_PARTS: Final = 48 * 1024

#: Containers of at least this many parts are counted once. Counting a smaller one again is as cheap as a lookup.
_WORTH_KEEPING: Final = 32

_UNLIMITED: Final = 1 << 60

#: A key that is made of parts.
_Container: TypeAlias = tuple[Value, ...] | frozenset[Value]


class KeyBudget:
    """The work that all keys of one message may cost, in parts that are hashed or compared.

    Before Python 3.14 a tuple does not keep its hash: each key hashes its parts again, at every level. The size of the
    message bounds the parts that are not shared, so the budget is at least that. A shared part counts as often as
    keys refer to it. A part costs at most 50 ns, so the keys of a message of 1 MiB cost at most 50 ms.

    Args:
        size: of the message, in bytes or values; None for values of this side, whose keys are not limited.
    """

    __slots__ = ("_left", "_shapes", "forms")

    def __init__(self, size: int | None = None) -> None:
        self._left = _UNLIMITED if size is None else FREE_KEY_PARTS + size
        self.forms: object = None  #: what bounds the work of making registered values, see :func:`made`
        # id -> a container (kept, so that its id stays unique) and the containers among its parts
        self._shapes: dict[int, tuple[_Container, list[_Container]]] = {}

    def earn(self, size: int) -> None:
        """Raise the budget by the size of what was read since."""
        self._left += size

    def parts_of(self, key: _Container) -> int:
        """Return the number of parts of a tuple or frozenset, at every level.

        Raises:
            DecodeError: one key may not have that many.
        """
        count = 0
        containers = [key]
        while containers:
            container = containers.pop()
            size = len(container)
            count += size
            if count > MAX_KEY_PARTS:
                raise DecodeError(f"a key may have {MAX_KEY_PARTS} parts")
            known = self._shapes.get(id(container)) if size >= _WORTH_KEEPING else None
            if known is None:
                within = [part for part in container if type(part) is tuple or type(part) is frozenset]
                if size >= _WORTH_KEEPING:
                    self._shapes[id(container)] = (container, within)
            else:
                within = known[1]
            containers += within
        return count

    def spend(self, parts: int) -> None:
        """Take the work of one key from the budget.

        Raises:
            DecodeError: the budget is used up.
        """
        self._left -= parts
        if self._left < 0:
            raise DecodeError("keys that share their parts cost more than the message's size allows")


class KeyCheck:
    """Check each key of one dictionary or set before it is inserted, so that no choice of keys is slow.

    Args:
        budget: of the message that the keys are in.

    Raises (when called):
        DecodeError: the key cannot be looked up, costs too much to hash, or has the same hash as too many others.
    """

    __slots__ = ("_budget", "_same_hash")

    def __init__(self, budget: KeyBudget) -> None:
        self._budget = budget
        self._same_hash: dict[int, int] = {}

    def __call__(self, key: Value) -> None:
        kind = type(key)
        if kind is str or kind is bytes:  # a peer cannot choose their hashes, which are seeded
            return
        if kind is int:
            if key.bit_length() > MAX_KEY_BITS:
                raise DecodeError(f"an integer key may have {MAX_KEY_BITS} bits")
            return
        if kind is float and key != key:
            raise DecodeError("not-a-number cannot be a key")
        parts = 0
        if kind is tuple or kind is frozenset:
            parts = self._budget.parts_of(key)
            self._budget.spend(parts)  # before it is hashed
        try:
            value = hash(key)
        except BaseException as error:  # a class of the application
            raise ordinary(error)  # noqa: B904 # it has its own cause
        same = self._same_hash[value] = self._same_hash.get(value, 0) + 1
        if same > MAX_SAME_HASH:
            raise DecodeError("too many keys with the same hash")
        if same > 1 and parts:
            # The key is compared with each of those, which is cheaper than hashing: most differ in an early part.
            self._budget.spend(parts * (same - 1) // 8)


def find_class(tag: str, registry: Registry, policy: Policy) -> type | None:
    """Return the class registered under a type tag; None when a factory is registered instead.

    Raises:
        InsecureJelly: neither is registered, or this connection may not use it.
    """
    if policy.allows_class(tag):
        found = registry.find_class(tag)
        if found is not None or registry.find_factory(tag) is not None:
            return found
    if tag in _PLACEHOLDER_TAGS:
        raise InsecureJelly(f"the peer could not send a value and sent {tag!r} in its place")
    shown = tag if len(tag) <= 64 else tag[:61] + "..."
    raise InsecureJelly(f"{shown!a} is not allowed here: no class or factory is registered for it")


def instance(cls: type[object]) -> Value:
    """Return an instance of a class, without state.

    Raises:
        DecodeError: the class does not allow it.
    """
    try:
        return cls.__new__(cls)
    except BaseException as error:
        raise _refusal(error)  # noqa: B904 # it has its own cause


def guarded(take: Callable[[Value], Value], state: Value) -> Value:
    """Give a state to a class of the application. Any exception becomes an error of the call that sent the state."""
    try:
        return take(state)
    except (DecodeError, BadArguments):
        raise
    except BaseException as error:
        raise _refusal(error)  # noqa: B904 # it has its own cause


def made(factory: Callable[[Value], Value], state: Value, budget: KeyBudget) -> Value:
    """Return what a factory makes of a state in which values may be shared; ``budget`` is that of the message."""
    if isinstance(factory, Form):
        if budget.forms is None:
            budget.forms = factory.lenient()
        factory = partial(factory.build, work=budget.forms)
    return guarded(factory, state)


def _refusal(raised: BaseException) -> BaseException:
    """Return the error of a message when a class of the application cannot be built from it."""
    error = ordinary(raised)
    if not isinstance(error, Exception):
        return error
    refusal = DecodeError(f"a state was refused by its class ({type(raised).__name__})")
    refusal.__cause__ = error
    return refusal
