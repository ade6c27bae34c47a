"""callback and wrap: what they take, what they open, and what makes two of them one object."""

from __future__ import annotations

import functools
import math
import types
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.errors import BadArguments, NoSuchMethod
from perspective_broker.flavors import export_key, export_target
from perspective_broker.flavors.dispatch import blame, find_method, look_up


class Calculator:
    """Of a library that knows nothing of this one."""

    precision = 2
    secret = "s3cret"

    def add(self, one: int, two: int = 0) -> int:
        return one + two

    def view_all(self, depth: int) -> None: ...

    def multiply(self, one: int, two: int) -> int:
        return one * two

    def _reset(self) -> None: ...

    @property
    def broken(self) -> Any:
        raise OSError("the disk is gone")

    def __call__(self, one: int) -> int:
        return -one


def add(one: int, two: int = 0) -> int:
    return one + two


async def add_later(one: int, two: int = 0) -> int:
    return one + two


def reached(obj: Any, name: str) -> Callable[..., Any]:
    """Return the method that a peer reaches under a name."""
    target = export_target(obj, None)
    return find_method(target.holder, target.prefix, name)


# -- callback


@pytest.mark.parametrize(
    ("function", "args", "result"),
    [
        (add, (1, 2), 3),
        (lambda *args: args, (1, 2), (1, 2)),
        (Calculator().add, (1, 2), 3),
        (functools.partial(add, 1), (2,), 3),
        (functools.partial(Calculator().add, two=5), (2,), 7),
        (Calculator(), (1,), -1),
        (deque([1, 2, 2]).count, (2,), 2),
        (math.sqrt, (4,), 2.0),
        (int, ("7",), 7),
    ],
)
def test_a_callback_is_called(function: Callable[..., Any], args: tuple[Any, ...], result: Any) -> None:
    callback = pb.callback(function)
    assert isinstance(callback, pb.Referenceable)
    assert reached(callback, "call")(*args) == result


async def test_a_callback_may_be_async() -> None:
    assert await reached(pb.callback(add_later), "call")(1, 2) == 3


def test_a_callback_is_a_decorator() -> None:
    @pb.callback
    def hear(text: str) -> str:
        return text.upper()

    assert reached(hear, "call")("x") == "X"


@pytest.mark.parametrize("value", [None, 1, "print", pb.Root(), pb.callback(add)])
def test_what_cannot_be_called_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=f"not {type(value).__name__}$"):
        pb.callback(value)


def test_a_coroutine_is_refused_because_it_was_called_already() -> None:
    coroutine = add_later(1)
    with pytest.raises(TypeError, match="callback: must be a function or another callable, not coroutine"):
        pb.callback(coroutine)  # type: ignore[arg-type] # so says mypy, too
    coroutine.close()


@pytest.mark.parametrize(
    "name", ["", "add", "_call", "__call__", "remote_call", "exposed", "_key", "forgotten", "function"]
)
def test_nothing_else_of_a_callback_is_reached(name: str) -> None:
    with pytest.raises(NoSuchMethod, match=r"^Callback has no method '.*' for its callers; "):
        reached(pb.callback(Calculator().add), name)


def test_a_caller_with_another_name_is_told_the_right_one() -> None:
    with pytest.raises(NoSuchMethod, match=r"^Callback has no method 'hear' .*; a callback has one, 'call'$"):
        reached(pb.callback(print), "hear")


def test_the_same_function_is_one_callback() -> None:
    calculator = Calculator()
    queue: deque[int] = deque()
    for function, again in [
        (add, add),
        (calculator.add, calculator.add),
        (calculator, calculator),
        (queue.append, queue.append),
    ]:
        one, two = pb.callback(function), pb.callback(again)  # type: ignore[arg-type] # mypy joins them to object
        assert one == two
        assert hash(one) == hash(two)
        assert export_key(one, None) == export_key(two, "whoever")


def test_other_functions_are_others() -> None:
    calculator, other = Calculator(), Calculator()
    queue: deque[int] = deque()
    same: deque[int] = deque()  # equal to the first
    functions: list[Callable[..., Any]] = [
        *(add, add_later, functools.partial(add, 1), functools.partial(add, 1), calculator, other),
        *(calculator.add, calculator.multiply, other.add, queue.append, queue.clear, same.append),
    ]
    assert len({pb.callback(function) for function in functions}) == len(functions)
    assert pb.callback(add) != object()


def test_a_callable_object_is_known_by_identity() -> None:
    class Equal(Calculator):
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            return True

    assert pb.callback(Equal()) != pb.callback(Equal())
    one = Equal()
    assert pb.callback(one.add) == pb.callback(one.add) != pb.callback(Equal().add)


def test_a_callback_says_what_it_is() -> None:
    assert repr(pb.callback(Calculator().add)) == "<Callback of Calculator.add>"
    assert repr(pb.callback(functools.partial(add, 1))) == "<Callback of partial>"
    assert repr(pb.callback(Calculator())) == "<Callback of Calculator>"


# -- wrap


def test_named_methods_are_reached() -> None:
    wrapped = pb.wrap(Calculator(), "add", "multiply")
    assert isinstance(wrapped, pb.Referenceable)
    assert reached(wrapped, "add")(1, two=2) == 3
    assert reached(wrapped, "multiply")(3, 4) == 12


def test_an_object_without_a_class_of_its_own() -> None:
    assert reached(pb.wrap(math, "sqrt"), "sqrt")(4) == 2
    assert reached(pb.wrap(types.SimpleNamespace(add=add), "add"), "add")(1) == 1


@pytest.mark.parametrize(
    "name",
    [
        *("", "multiply", "secret", "precision", "_reset", "__init__", "__class__", "__call__", "call"),
        *("remote_add", "exposed", "_key", "_names", "forgotten", "add.__self__", "_pb_export_key"),
    ],
)
def test_nothing_else_of_a_wrapped_object_is_reached(name: str) -> None:
    wrapped = pb.wrap(Calculator(), "add")
    target = export_target(wrapped, None)
    assert look_up(target.holder, target.prefix, name) is None
    with pytest.raises(NoSuchMethod, match=r"^Calculator has no method '.*' for its callers"):
        reached(wrapped, name)


@pytest.mark.parametrize(
    ("names", "error", "text"),
    [
        ((), TypeError, "wrap: needs the names"),
        (("add", 7), TypeError, "wrap: the name of a method is text (str), not int"),
        ((["add"],), TypeError, "wrap: the name of a method is text (str), not list"),
        (("_reset",), ValueError, "wrap: '_reset' begins with an underscore, so it stays private"),
        (("__init__",), ValueError, "wrap: '__init__' begins with an underscore, so it stays private"),
        (("add", "divide"), ValueError, "wrap: a Calculator has no method 'divide'"),
        (("",), ValueError, "wrap: a Calculator has no method ''"),
        (("add.__self__",), ValueError, "wrap: a Calculator has no method 'add.__self__'"),
        (("precision",), TypeError, "wrap: 'precision' of a Calculator is not a method, but a int"),
        (("broken",), OSError, "the disk is gone"),
    ],
)
def test_a_wrong_name_is_refused_when_it_is_wrapped(
    names: tuple[Any, ...], error: type[Exception], text: str
) -> None:
    with pytest.raises(error) as caught:
        pb.wrap(Calculator(), *names)
    assert str(caught.value).startswith(text)


def test_a_class_is_not_an_object() -> None:
    with pytest.raises(
        TypeError, match=r"an object is wrapped, not its class: wrap\(Calculator\(...\), ...\)"
    ):
        pb.wrap(Calculator, "add")


def test_the_same_object_with_the_same_names_is_one() -> None:
    calculator = Calculator()
    one, two = pb.wrap(calculator, "add", "multiply"), pb.wrap(calculator, "multiply", "add", "add")
    assert one == two
    assert hash(one) == hash(two)
    assert export_key(one, None) == export_key(two, "whoever")
    others = [pb.wrap(calculator, "add"), pb.wrap(Calculator(), "add", "multiply"), pb.callback(calculator)]
    assert len({one, *others}) == 4


def test_a_wrapped_object_says_what_it_is() -> None:
    assert repr(pb.wrap(Calculator(), "multiply", "add")) == "<Wrapped Calculator: multiply, add>"


# -- arguments that do not fit


@pytest.mark.parametrize(
    ("exposed", "name", "text"),
    [
        (pb.callback(add), "call", "call takes (one, two=...)"),
        (pb.callback(add_later), "call", "call takes (one, two=...)"),
        (pb.callback(Calculator().add), "call", "call takes (one, two=...)"),
        (pb.callback(Calculator()), "call", "call takes (one)"),
        (pb.callback(functools.partial(add, two=2)), "call", "call takes (one, *, two=...)"),
        (pb.wrap(Calculator(), "add"), "add", "add takes (one, two=...)"),
        (pb.wrap(Calculator(), "view_all"), "view_all", "view_all takes (depth)"),
    ],
)
def test_they_are_the_callers_fault(exposed: pb.Referenceable, name: str, text: str) -> None:
    method = reached(exposed, name)
    args = (1, 2, 3, 4)
    try:
        method(*args)
    except TypeError as raised:
        error = blame(raised, name, method, args, {})
    assert type(error) is BadArguments
    assert str(error) == text
