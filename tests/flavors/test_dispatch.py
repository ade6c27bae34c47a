"""The dispatch of names: attributes with the prefix are reached, and no others."""

from collections.abc import Callable
from typing import Any

import pytest

from perspective_broker.errors import BadArguments, NoSuchMethod
from perspective_broker.flavors.dispatch import blame, find_method, look_up
from perspective_broker.flavors.message_receiver import MessageReceiver


class Door:
    remote_colour = "green"

    def remote_open(self) -> str:
        return "opened"

    def lock(self) -> None:
        raise AssertionError("nobody reaches this")


def test_a_method_with_the_prefix_is_found() -> None:
    assert find_method(Door(), "remote_", "open")() == "opened"


@pytest.mark.parametrize(
    ("prefix", "name"),
    [("remote_", "lock"), ("view_", "open"), ("", "lock"), ("remote_", "__class__"), ("remote_", "colour")],
)
def test_nothing_else_is(prefix: str, name: str) -> None:
    assert look_up(Door(), prefix, name) is None
    with pytest.raises(NoSuchMethod, match="Door has no method"):
        find_method(Door(), prefix, name)


def test_a_caller_who_spells_the_prefix_is_told_to_leave_it_out() -> None:
    with pytest.raises(
        NoSuchMethod, match=r"no method 'remote_open' for its callers; they leave remote_ out$"
    ):
        find_method(Door(), "remote_", "remote_open")


def test_an_object_that_answers_to_any_name_says_no_more_than_others() -> None:
    class Proxy:
        def __getattr__(self, name: str) -> str:
            return "secret" * 1000

    with pytest.raises(NoSuchMethod, match=r"^Proxy has no method 'open' for its callers$"):
        find_method(Proxy(), "remote_", "open")


def test_a_message_receiver_looks_names_up_itself() -> None:
    class Oracle(MessageReceiver):
        def find_message(self, name: str) -> Callable[..., Any]:
            return lambda: f"asked for {name}"

        def remote_open(self) -> str:
            raise AssertionError("its own rules say otherwise")

    assert find_method(Oracle(), "remote_", "open")() == "asked for open"


class Signatures:
    def remote_two(self, one: int, two: int = 0) -> None:
        raise TypeError("its own")

    async def remote_later(self, one: int) -> None:
        raise AssertionError("nothing awaits it")

    def view_seen(self, perspective: object, what: str, *more: int, how: str, **rest: int) -> None: ...

    def view_all(self, *args: object) -> None: ...

    def remote_view_room(self, x: int) -> None: ...

    def view_none(self) -> None: ...


def _raised(method: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Exception:
    """Return the error of a method that is called in this way."""
    try:
        method(*args, **kwargs)
    except TypeError as error:
        return blame(error, method.__name__.partition("_")[2] or method.__name__, method, args, kwargs)
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize(
    ("method", "args", "kwargs", "text"),
    [
        (Signatures().remote_two, (), {}, "two takes (one, two=...)"),
        (Signatures().remote_two, (1, 2, 3), {}, "two takes (one, two=...)"),
        (Signatures().remote_two, (1,), {"secret": 2}, "two takes (one, two=...)"),
        (Signatures().remote_two, (1,), {"one": 2}, "two takes (one, two=...)"),
        (Signatures().remote_later, (), {}, "later takes (one)"),
        (Signatures().view_seen, (None,), {}, "seen takes (what, *more, how, **rest)"),
        (Signatures().view_all, (None,), {"how": 1}, "all takes (*args)"),
        (Signatures().remote_view_room, (), {}, "view_room takes (x)"),
        ([].index, (), {}, "index takes (value, start=..., stop=..., /)"),
    ],
)
def test_arguments_that_do_not_fit_are_the_callers_fault(
    method: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], text: str
) -> None:
    error = _raised(method, args, kwargs)
    assert type(error) is BadArguments
    assert str(error) == text  # and nothing of what they were


def test_a_signature_without_end_is_cut() -> None:
    parameters = ", ".join(f"parameter_{number}" for number in range(1000))
    method = eval(f"lambda {parameters}: None")
    text = str(_raised(method, (), {}))
    assert text.startswith("<lambda> takes (parameter_0, parameter_1")
    assert text.endswith("...)")
    assert len(text) < 256


def test_a_view_that_forgets_the_perspective_is_the_methods_own_fault() -> None:
    error = _raised(Signatures().view_none, (None,), {})
    assert type(error) is TypeError
    assert str(error) == "view_none takes no perspective, the first argument of every method of a view"


def test_what_a_method_raises_itself_is_its_own() -> None:
    assert str(_raised(Signatures().remote_two, (1,), {})) == "its own"


def test_a_method_in_c_that_does_not_say_what_it_takes_is_believed() -> None:
    error = _raised(getattr, (), {})  # has no signature
    assert type(error) is TypeError
