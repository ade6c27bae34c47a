"""Random methods and arguments: what the programs of an end send."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

import perspective_broker as pb
from tests.lives.ends import End
from tests.lives.history import Call
from tests.lives.values import Odd, Oddity, Packed, Parcel, Unsendable

__all__ = ["GIVE_OBJECTS", "Arguments"]

#: Methods of :class:`~tests.lives.ends.Node`, and how often they are called.
_METHODS: Final = {
    "value": 4,
    "make": 4,
    "counter": 2,
    "give": 5,
    "fail": 1,
    "odd": 1,
    "large": 1,
    "slow_value": 3,
    "slow_make": 3,
    "slow_give": 3,
    "slow_act": 4,
}

#: Those whose promises are worth a call, because they may answer with an object, an error, or late.
GIVE_OBJECTS: Final = ("make", "slow_make", "give", "slow_give", "fail", "slow_value")

#: Kinds of arguments, and how often they are sent.
_PLAIN: Final = {
    "number": 1,
    "text": 1,
    "bytes": 1,
    "mine": 2,
    "held": 2,
    "promise": 3,
    "counter": 1,
    "replica": 1,
    "flawed": 0.3,
}
_CONTAINERS: Final = {"list": 1, "tuple": 1, "dict": 1, "parcel": 1}

#: Containers nest so deep.
_MOST_NESTED: Final = 2

#: Sizes of values: small, below a window, beyond a write buffer, in pieces.
_SIZES: Final = (10, 700, 20_000, 300_000)

#: A value and its description.
_Described = tuple[Any, Any]


class Arguments:
    """Chooses what one program sends.

    Args:
        end: where the program runs.
        random: decides.
        promises: those of the program.
        hook: called while some parcels are encoded.
    """

    def __init__(
        self,
        end: End,
        random: Random,
        promises: Sequence[tuple[pb.Promise, Call]],
        hook: Callable[[], object],
    ) -> None:
        self._end = end
        self._random = random
        self._promises = promises
        self._hook = hook

    def draw(self, callee: str, depth: int) -> tuple[str, list[Any], list[Any]]:
        """Return the name of a method of the end ``callee``, and arguments with their descriptions.

        Args:
            depth: how deep programs may still nest.
        """
        random = self._random
        method = self._choose(_METHODS if depth > 0 else _METHODS | {"slow_act": 0})
        drawn = [self._argument(callee) for _ in range(random.choice((0, 1, 1, 2)))]
        match method:
            case "large":
                drawn.insert(0, _same(random.choice(_SIZES)))
            case "slow_act":
                drawn[:0] = [_same(depth - 1), _same(random.randrange(4))]
            case "slow_value" | "slow_make":
                drawn.insert(0, _same(random.randrange(12)))
            case "give" | "slow_give":  # mostly of objects
                drawn.insert(0, self._argument(callee, random.choice((0, _MOST_NESTED, _MOST_NESTED))))
        return method, [value for value, _ in drawn], [description for _, description in drawn]

    def _choose(self, weights: dict[str, Any]) -> str:
        (chosen,) = self._random.choices(list(weights), list(weights.values()))
        return str(chosen)

    def _argument(self, callee: str, nested: int = 0) -> _Described:
        random, end = self._random, self._end
        kind = self._choose(_PLAIN if nested == _MOST_NESTED else _PLAIN | _CONTAINERS)
        if kind in _CONTAINERS:
            return self._container(
                kind, [self._argument(callee, nested + 1) for _ in range(random.randrange(3))]
            )
        match kind:
            case "mine":
                node = random.choice(end.nodes) if end.nodes and random.random() < 0.6 else end.make()
                return node, node.thing
            case "counter":
                counter = random.choice(end.counters) if end.counters else end.make_counter()
                return counter, counter.description
            case "held" if held := self._of(callee, end.pool):
                return random.choice(held)
            case "replica" if replicas := self._of(callee, end.replicas):
                return random.choice(replicas)
            case "promise" if self._promises:
                return random.choice(self._promises[-6:])
            case "flawed":
                of = random.choice((end.name, callee))
                return random.choice(((Oddity(of), Odd(of)), _same(Unsendable())))
            case "text":
                return _same("text é")
            case "bytes":
                return _same(bytes(random.choice(_SIZES[:3])))
        return _same(random.randrange(1000))

    def _of(self, callee: str, held: Sequence[_Described]) -> list[_Described]:
        """Return what lives at an end; what lives at a third one, too, if it can cross, and otherwise now and then."""
        often = 0.5 if self._end.history.forwards else 0.05
        return [pair for pair in held if pair[1].end == callee or self._random.random() < often]

    def _container(self, kind: str, drawn: list[_Described]) -> _Described:
        values, descriptions = [value for value, _ in drawn], [description for _, description in drawn]
        match kind:
            case "tuple":
                return tuple(values), tuple(descriptions)
            case "dict":
                return dict(zip("ab", values, strict=False)), dict(zip("ab", descriptions, strict=False))
            case "parcel":
                return Parcel(values, self._hook if self._random.random() < 0.2 else None), Packed(
                    descriptions
                )
        return values, descriptions


def _same(value: Any) -> _Described:
    """Return a value that describes itself."""
    return value, value
