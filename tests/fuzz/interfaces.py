"""Any call of a method with any annotations is one that fits them, or BadArguments of one line; nothing else, in time.

The bytes choose the annotations of up to three parameters, and arguments that nearly fit. What the method gets is
judged by a second reading of the annotations, which is plain and slow. An answer goes through the same annotation.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple, Protocol, Union, get_args, get_origin

import msgspec

import perspective_broker as pb
from perspective_broker.interfaces import HOOKS, Form, converter
from perspective_broker.interfaces.declarations import parameters_of
from tests.fuzz.budget import judged
from tests.fuzz.draw import Draw

__all__ = ["target"]


class Mood(Enum):
    GOOD = "good"
    BAD = 2


@dataclass
class Note:
    text: str
    tags: list[str]
    more: Note | None = None


class Point(NamedTuple):
    x: int
    y: float = 0.0


class Movie(typing.TypedDict, total=False):
    title: typing.Required[str]
    year: int


class Room(pb.Interface, Protocol):
    async def say(self, text: str) -> int: ...


class RoomServer(pb.Referenceable, Room):
    async def say(self, text: str) -> int:
        return len(text)


class Other(pb.Referenceable):
    """An object that no interface is about."""


_PLAIN: list[Any] = [
    *(str, int, bool, float, bytes, None, Any, Mood, Note, Point, Movie, Room),
    *(Literal["a", 1, True], Annotated[int, msgspec.Meta(ge=0, lt=100)], Annotated[str, msgspec.Meta(max_length=3)]),
    *(list, dict, tuple, complex, Callable[[str], Awaitable[int]]),
]  # fmt: skip

_OBJECTS: list[Any] = [RoomServer(), Other(), pb.callback(len)]


def annotation(draw: Draw, depth: int = 0) -> Any:
    """Return an annotation; not every one can be checked."""
    kind = draw.byte()
    if depth > 3 or kind < 120:
        return draw.choice(_PLAIN)
    inner = annotation(draw, depth + 1)
    if kind < 140:
        return list[inner]
    if kind < 155:
        return dict[draw.choice([str, int, inner]), inner]  # type: ignore[misc]
    if kind < 170:
        return tuple[inner, ...]
    if kind < 185:
        return tuple[inner, annotation(draw, depth + 1)]  # type: ignore[misc]
    if kind < 195:
        return draw.choice([set, frozenset])[inner]
    if kind < 205:
        return draw.choice([Sequence, Mapping])[(inner,) if kind % 2 else (str, inner)]
    try:
        return Union[inner, annotation(draw, depth + 1)]  # noqa: UP007
    except TypeError:
        return inner


def value(draw: Draw, wanted: Any, depth: int = 0) -> Any:
    """Return a value that often fits."""
    if draw.byte() < 50 or depth > 6:
        wanted = draw.choice(_PLAIN)
    origin, inner = get_origin(wanted), get_args(wanted)
    if origin in (Union, types.UnionType):
        return value(draw, draw.choice(inner), depth)
    if origin is Annotated or origin is Literal:
        return (
            draw.choice([*inner[:1], 1, "a", True, 200, -1, "abcd"]) if origin is Literal else draw.integer()
        )
    many = draw.below(4)
    if origin in (list, Sequence, set, frozenset, tuple) or wanted in (list, tuple):
        part = inner[0] if inner else Any
        if origin is tuple and inner[-1] is not ...:
            return tuple(value(draw, each, depth + 1) for each in inner)
        items = [value(draw, part, depth + 1) for _ in range(many)]
        if origin in (set, frozenset):
            return origin(item for item in items if _hashable(item))
        return tuple(items) if origin is tuple or wanted is tuple or draw.byte() > 230 else items
    if origin in (dict, Mapping) or wanted is dict:
        kinds = inner if len(inner) == 2 else (str, Any)
        pairs = [(value(draw, kinds[0], depth + 1), value(draw, kinds[1], depth + 1)) for _ in range(many)]
        return {key: item for key, item in pairs if _hashable(key)}
    if wanted in (Note, Movie):
        made: dict[Any, Any] = {
            "text": value(draw, str, depth + 1),
            "tags": value(draw, list[str], depth + 1),
        }
        made |= (
            {"more": value(draw, Note, depth + 1)} if draw.flag() else {"title": "x", "year": draw.integer()}
        )
        return {key: item for key, item in made.items() if draw.byte() < 240}
    if wanted is Point:
        return [value(draw, int, depth + 1), value(draw, float, depth + 1)][: draw.below(4)]
    if wanted is Room or origin is not None:
        return draw.choice(_OBJECTS)
    if wanted is Mood:
        return draw.choice(["good", 2, "bad", True])
    return draw.choice(
        [draw.text, draw.integer, draw.flag, lambda: draw.integer() / 3, draw.data, lambda: None]
    )()


def _hashable(key: Any) -> bool:
    try:
        hash(key)
    except TypeError:
        return False
    return True


def fits(made: Any, wanted: Any) -> bool:
    """Return whether a value is one of an annotation, by the plain words of the documentation."""
    origin, inner = get_origin(wanted), get_args(wanted)
    if wanted is Any:
        return True
    if wanted is None:
        return made is None
    if origin in (Union, types.UnionType):
        return any(fits(made, None if part is type(None) else part) for part in inner)
    if origin is Annotated:
        meta = inner[1]
        if not fits(made, inner[0]):
            return False
        return 0 <= made < 100 if meta.ge is not None else len(made) <= 3
    if origin is Literal:
        return any(made == one and type(made) is type(one) for one in inner)
    if origin is tuple and inner[-1] is not ...:
        return type(made) is tuple and len(made) == len(inner) and all(map(fits, made, inner))
    if origin in (list, tuple, set, frozenset, Sequence):
        kinds = (list, tuple) if origin is Sequence else (origin,)
        return type(made) in kinds and all(fits(item, inner[0]) for item in made)
    if origin in (dict, Mapping):
        return type(made) is dict and all(
            fits(key, inner[0]) and fits(item, inner[1]) for key, item in made.items()
        )
    if wanted is Note:
        return (
            type(made) is Note
            and fits(made.text, str)
            and fits(made.tags, list[str])
            and fits(made.more, Note | None)
        )
    if wanted is Point:
        return type(made) is Point and fits(made.x, int) and fits(made.y, float)
    if wanted is Movie:
        return (
            type(made) is dict
            and fits(made.get("title"), str)
            and fits(made.get("year", 0), int)
            and len(made) <= 2
        )
    if wanted is Room:
        return isinstance(made, Room)
    return callable(made) if origin is not None else type(made) is wanted


def target(data: bytes) -> None:
    draw = Draw(data)
    hints: dict[str, Any] = {}
    parameters = []
    for name in ("one", "two", "three")[: draw.below(4)]:
        hints[name] = annotation(draw)
        kind = draw.choice([inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY])
        if parameters and parameters[-1].kind is inspect.Parameter.KEYWORD_ONLY:
            kind = inspect.Parameter.KEYWORD_ONLY
        parameters.append(inspect.Parameter(name, kind))
    signature = inspect.Signature(parameters)
    try:
        made, more, more_named = parameters_of(signature, lambda name: converter(hints[name], HOOKS))
        answer = converter(hints.get("one", Any), HOOKS)
    except TypeError as refused:
        assert "\n" not in str(refused)
        return  # it cannot be checked, which is said when the class is made
    form = Form("method", str(signature), made, more, more_named, answer, None)
    while draw.left:
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for parameter in parameters:
            if draw.byte() > 250:
                continue
            given = value(draw, hints[parameter.name])
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY or kwargs or draw.byte() > 200:
                kwargs[parameter.name] = given
            else:
                args.append(given)
        if draw.byte() > 250:
            args.append(draw.text())
        _check(form, signature, hints, args, kwargs)


def _check(
    form: Form, signature: inspect.Signature, hints: dict[str, Any], args: list[Any], kwargs: dict[str, Any]
) -> None:
    def receive(meter: Any) -> Any:
        with meter:
            try:
                return form.receive(tuple(args), kwargs, False)
            except pb.BadArguments as error:
                return error

    received = judged(len(repr((args, kwargs))), receive)
    if isinstance(received, pb.BadArguments):
        text = str(received)
        assert text.startswith("method")
        assert "\n" not in text
        return
    bound = signature.bind(*received[0], **received[1])  # so it has each of them, once
    for name, got in bound.arguments.items():
        assert fits(got, hints[name]), (got, hints[name])
    if received[2] is not None and "one" in bound.arguments:
        try:
            sent = received[2].send(bound.arguments["one"])
        except pb.SerializationError:  # a set of what would cross as maps
            return
        again = form.receive_answer(sent, False)
        assert fits(again, hints["one"]), (again, hints["one"])
