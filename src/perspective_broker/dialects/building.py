"""Building what a peer described: which class it may become, and which keys a dictionary may get.

The same for every dialect. Nothing here imports, or looks up as an attribute, a name that a peer sent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from ..errors import DecodeError, InsecureJelly
from ..flavors import Policy, Registry
from ..flavors.guard import ordinary
from ..ports import Value

__all__ = ["MAX_KEY_BITS", "KeyBudget", "KeyCheck", "find_class", "guarded", "instance"]

#: Integers that may be keys (of dictionaries and sets, but also object ids and reference numbers): Python's hash
#: of an integer is its remainder by 2**61 - 1, so beyond 64 bits any number of them can be made to collide.
MAX_KEY_BITS: Final = 64

#: What a classic peer sends for an object that it will not, or cannot, send.
_STANDING_FOR_NOTHING: Final = ("unpersistable", "persistent")

#: Keys of one dictionary or set that may have the same hash. Numbers and tuples of numbers can be chosen to
#: collide, and n of them cost n * n comparisons. An honest grid of six dimensions around zero has 64, because
#: -1 and -2 have one hash.
MAX_SAME_HASH: Final = 64

#: Parts of one key, tuples in it counted as often as they are mentioned: that often they are hashed.
MAX_KEY_PARTS: Final = 1024


#: Parts that the keys of one message may have together beyond its size, however they are shared. Frozensets nested as
#: deep as a message may be, 256, are keys in each other and have 33 thousand.
FREE_KEY_PARTS: Final = 48 * 1024

#: Containers of at least so many parts are counted once; counting a smaller one again is as cheap as finding it again.
_WORTH_KEEPING: Final = 32

_UNLIMITED: Final = 1 << 60

#: A key that is made of parts.
_Container: TypeAlias = tuple[Value, ...] | frozenset[Value]


class KeyBudget:
    """The work that all keys of one message may cost, in parts that are hashed or compared.

    A tuple has no hash of its own until Python 3.14: each key hashes its parts, and theirs, again. Parts that are not
    shared are bounded by the size of the message, so that much is allowed; shared ones are counted as often as they
    are mentioned. A part costs at most 50 ns, so the keys of a message of 1 MiB cost at most 50 ms.

    Args:
        size: of what was read, in bytes or values; None for values of our own, whose keys may cost what they like.
    """

    __slots__ = ("_left", "_shapes")

    def __init__(self, size: int | None = None) -> None:
        self._left = _UNLIMITED if size is None else FREE_KEY_PARTS + size
        # id -> a container, kept so that no other gets its id, and the containers among its parts
        self._shapes: dict[int, tuple[_Container, list[_Container]]] = {}

    def earn(self, size: int) -> None:
        """Count what was read since."""
        self._left += size

    def parts_of(self, key: _Container) -> int:
        """Return the number of parts of a tuple or frozenset, those of its parts included.

        Raises:
            DecodeError: they are more than one key may have.
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
        """Count the work of one key.

        Raises:
            DecodeError: it is too much.
        """
        self._left -= parts
        if self._left < 0:
            raise DecodeError("keys that share their parts cost more than the message's size allows")


class KeyCheck:
    """Judges the keys of one dictionary or set, each before it is put in, so that no choice of keys is slow.

    Args:
        budget: of the message that the keys are in.

    Raises (when called):
        DecodeError: the key cannot be found again, costs too much to hash, or has the hash of too many others.
    """

    __slots__ = ("_budget", "_same_hash")

    def __init__(self, budget: KeyBudget) -> None:
        self._budget = budget
        self._same_hash: dict[int, int] = {}

    def __call__(self, key: Value) -> None:
        kind = type(key)
        if kind is str or kind is bytes:  # their hashes are seeded: nobody can choose them
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
            raise ordinary(error)  # noqa: B904 # which says itself what caused it
        same = self._same_hash[value] = self._same_hash.get(value, 0) + 1
        if same > MAX_SAME_HASH:
            raise DecodeError("too many keys with the same hash")
        if same > 1 and parts:
            # Compared with each of those, which is cheaper than hashing: most differ in an early part.
            self._budget.spend(parts * (same - 1) // 8)


def find_class(tag: str, registry: Registry, policy: Policy) -> type | None:
    """Return the class registered under a type tag; None when a factory is.

    Raises:
        InsecureJelly: neither is, or this connection may not use it.
    """
    if policy.allows_class(tag):
        found = registry.find_class(tag)
        if found is not None or registry.find_factory(tag) is not None:
            return found
    if tag in _STANDING_FOR_NOTHING:
        raise InsecureJelly(f"the peer cannot send a value that it meant to, and says {tag!r} in its place")
    shown = tag if len(tag) <= 64 else tag[:61] + "..."
    raise InsecureJelly(f"{shown!a} is not allowed here: no class or factory is registered for it")


def instance(cls: type[object]) -> Value:
    """Return an instance that has no state yet.

    Raises:
        DecodeError: its class cannot be made so.
    """
    try:
        return cls.__new__(cls)
    except BaseException as error:
        raise _refusal(error)  # noqa: B904 # which says itself what caused it


def guarded(take: Callable[[Value], Value], state: Value) -> Value:
    """Let an application's class take a state; whatever it raises, the state was not good for it."""
    try:
        return take(state)
    except DecodeError:
        raise
    except BaseException as error:
        raise _refusal(error)  # noqa: B904 # which says itself what caused it


def _refusal(raised: BaseException) -> BaseException:
    """Return what a message costs in which a class of the application cannot be built."""
    error = ordinary(raised)
    if not isinstance(error, Exception):
        return error
    refusal = DecodeError(f"a state was refused by its class ({type(raised).__name__})")
    refusal.__cause__ = error
    return refusal
