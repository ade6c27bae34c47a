"""Forms: arguments and answers of one method, at both ends."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from perspective_broker.errors import BadAnswer, BadArguments
from perspective_broker.flavors.annotations import parameters_text
from perspective_broker.interfaces import HOOKS, Form, converter
from perspective_broker.interfaces.declarations import parameters_of
from perspective_broker.interfaces.forms import OfferedOverloads
from tests.interfaces.chat import Mood, Note


def form_of(method: Any) -> Form:
    signature = inspect.signature(method, eval_str=True)
    annotations = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    parameters = parameters_of(signature, lambda name: converter(annotations[name], HOOKS))
    answer = converter(signature.return_annotation, HOOKS)
    return Form(method.__name__, parameters_text(signature), *parameters, answer, None)


def plain(one: int, two: str = "", *, three: bool = False) -> int: ...  # type: ignore[empty-body]


def many(first: Any, /, *more: int, **named: str) -> None: ...


def made(note: Note, mood: Mood = Mood.GOOD) -> list[Note]: ...  # type: ignore[empty-body]


def needs(*, name: str) -> None: ...


def test_arguments_that_fit_are_not_touched() -> None:
    args = (1, "x")
    received, named, sender = form_of(plain).receive(args, {}, False)
    assert received is args
    assert named == {}
    assert sender is None


@pytest.mark.parametrize(
    ("method", "args", "kwargs"),
    [
        (plain, (1,), {}),
        (plain, (1,), {"two": "x", "three": True}),
        (plain, (), {"one": 1}),
        (many, (None,), {}),
        (many, ("x", 1, 2), {"name": "x", "first": "y"}),
        (needs, (), {"name": "x"}),
    ],
)
def test_every_way_to_call_it(method: Any, args: Any, kwargs: Any) -> None:
    received, named, _ = form_of(method).receive(args, kwargs, False)
    assert (tuple(received), dict(named)) == (args, kwargs)


@pytest.mark.parametrize(
    ("method", "args", "kwargs", "text"),
    [
        (plain, (), {}, "plain takes (one, two=..., *, three=...)"),
        (plain, (1, "x", True), {}, "plain takes (one, two=..., *, three=...)"),
        (plain, (1,), {"one": 1}, "plain takes (one, two=..., *, three=...)"),
        (plain, (1,), {"four": 1}, "plain takes (one, two=..., *, three=...)"),
        (plain, (True,), {}, "plain: one: expected int, got bool"),
        (plain, (1, b"x"), {}, "plain: two: expected str, got bytes"),
        (plain, (1,), {"three": None}, "plain: three: expected bool, got None"),
        (many, (), {}, "many takes (first, /, *more, **named)"),
        (many, (1, "x"), {}, "many: argument 2: expected int, got str"),
        (many, (1,), {"name": 1}, "many: a named argument: expected str, got int"),
        (needs, (), {}, "needs takes (*, name)"),
        (needs, ("x",), {}, "needs takes (*, name)"),
    ],
)
def test_what_does_not_fit(method: Any, args: Any, kwargs: Any, text: str) -> None:
    with pytest.raises(BadArguments) as caught:
        form_of(method).receive(args, kwargs, False)
    assert str(caught.value) == text


def test_values_are_made_at_one_end_and_taken_apart_at_the_other() -> None:
    form = form_of(made)
    sent = form.send_arguments((Note("a", ["b"]),), {"mood": Mood.BAD})
    assert sent == (({"text": "a", "tags": ["b"]},), {"mood": "bad"})
    received, named, sender = form.receive(*sent, False)
    assert (list(received), named) == ([Note("a", ["b"])], {"mood": Mood.BAD})
    assert sender is not None
    answer = sender.send([Note("a", [])])
    assert answer == [{"text": "a", "tags": []}]
    assert form.receive_answer(answer, False) == [Note("a", [])]


def test_arguments_beyond_the_form_are_left_to_the_callee() -> None:
    form = form_of(made)
    assert form.send_arguments((Note("a", []), Mood.BAD, 5), {"more": 5})[0][1:] == ("bad", 5)


def test_an_answer_that_does_not_fit() -> None:
    with pytest.raises(BadAnswer, match=r"^plain: in the answer: expected int, got str$"):
        form_of(plain).receive_answer("x", False)
    with pytest.raises(BadAnswer, match=r"^made: in the answer\[0\]\.text: expected str, got int$"):
        form_of(made).receive_answer([{"text": 5, "tags": []}], False)
    with pytest.raises(BadAnswer, match=r"^plain: in an item: expected int, got str$"):
        form_of(plain).receive_item("x", False)


def test_overloads_take_what_fits_one_of_them() -> None:
    offered = OfferedOverloads("get", False, [form_of(plain), form_of(needs)])
    assert offered.receive((1,), {}, False)[0] == (1,)
    assert offered.receive((), {"name": "x"}, False)[1] == {"name": "x"}
    with pytest.raises(BadArguments, match=r"^plain: fits none of its 2 forms$"):
        offered.receive((), {"name": 5}, False)
