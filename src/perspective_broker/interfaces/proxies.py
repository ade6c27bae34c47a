"""Proxies: objects that call what lives at the peer by an interface.

:class:`Callee` is the port to the drivers: their references and promises derive from it. This room makes the proxies
and never sends anything itself::

    room.say("hi") ──▶ Proxy ──▶ Form: arguments as they cross ──▶ Callee ──▶ the driver's call
                                                     Form: the answer ◀── the driver, when it has come
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

from ..errors import BadArguments, SerializationError
from ..flavors.handle import Name
from ..flavors.values import Value
from .forms import Form, Sent

__all__ = [
    "Callee",
    "Overloads",
    "Proxy",
    "RemoteFunction",
    "make_proxy",
    "proxy_class",
    "read",
    "tell",
    "underlying",
]


class Callee:
    """What can be called by an interface: a reference, one that reconnects, or a promise."""

    __slots__ = ()

    def _pb_call(self, form: Form, args: tuple[Value, ...], kwargs: dict[str, Value]) -> Awaitable[Value]:
        """Call a method with arguments that can cross; the answer goes through ``form.receive_answer``."""
        raise NotImplementedError

    def _pb_tell(self, form: Form, args: tuple[Value, ...], kwargs: dict[str, Value]) -> Awaitable[None]:
        """The same without an answer."""
        raise NotImplementedError

    def _pb_read(self, form: Form, args: tuple[Value, ...], kwargs: dict[str, Value]) -> AsyncIterator[Value]:
        """Call a method whose answer is a stream; its items go through ``form.receive_item``."""
        raise NotImplementedError

    def _pb_items(self, form: Form) -> AsyncIterator[Value]:
        """Read the stream that this refers to; its items go through ``form.receive_item``."""
        raise NotImplementedError


class Overloads:
    """The forms of an overloaded method, at the caller."""

    def __init__(self, forms: Sequence[Form]) -> None:
        self._forms = forms

    def choose(self, args: tuple[Value, ...], kwargs: dict[str, Value]) -> tuple[Form, Sent]:
        """Return the first form that takes the arguments, and these as they cross.

        Raises:
            SerializationError: no form takes them.
        """
        for form in self._forms:
            try:
                sent = form.send_arguments(args, kwargs)
                form.receive(*sent, False)
            except (BadArguments, SerializationError):
                continue
            return form, sent
        if any(isinstance(value, Callee) for value in (*args, *kwargs.values())):
            return self._forms[0], (args, kwargs)  # a promise may turn out to be anything
        raise SerializationError(f"{self._forms[0].name}: fits none of its {len(self._forms)} forms")


class Proxy(Name):
    """Base of the objects that call a callee by an interface. Two are equal when they call the same object."""

    __slots__ = ("_pb_callee",)

    _pb_callee: Callee

    def __eq__(self, other: object) -> bool:
        return self._pb_callee == other._pb_callee if isinstance(other, Proxy) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._pb_callee)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._pb_callee!r}>"


class RemoteFunction(Name):
    """A function of the peer, where a parameter or an answer is annotated as a ``Callable``."""

    __slots__ = ("__weakref__", "_pb_callee", "_pb_form")

    def __init__(self, callee: Callee, form: Form) -> None:
        self._pb_callee = callee
        self._pb_form = form

    def __call__(self, /, *args: Value, **kwargs: Value) -> Awaitable[Value]:
        form = self._pb_form
        return self._pb_callee._pb_call(form, *form.send_arguments(args, kwargs))

    def __eq__(self, other: object) -> bool:
        return self._pb_callee == other._pb_callee if isinstance(other, RemoteFunction) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._pb_callee)

    def __repr__(self) -> str:
        return f"<RemoteFunction of {self._pb_callee!r}>"


def make_proxy(cls: type[Proxy], callee: Callee) -> Proxy:
    """Return a proxy of a class that :func:`proxy_class` made."""
    proxy = cls.__new__(cls)  # a Protocol has an __init__ of its own
    proxy._pb_callee = callee
    return proxy


def read(callee: Callee, form: Form) -> AsyncIterator[Value]:
    """Read the stream to which a reference refers; its items go through ``form.receive_item``."""
    return callee._pb_items(form)


def underlying(value: Value) -> Value:
    """Return the callee of a proxy or a remote function; any other value as it is."""
    return value._pb_callee if isinstance(value, (Proxy, RemoteFunction)) else value


def tell(method: Callable[..., Value], args: tuple[Value, ...], kwargs: dict[str, Value]) -> Awaitable[None]:
    """Call a method of a proxy, or a remote function, and ask for no answer.

    Raises:
        TypeError: it is neither.
    """
    form: Form | Overloads | None = getattr(method, "_pb_form", None)
    owner = getattr(method, "__self__", method)
    if form is None or not isinstance(owner, (Proxy, RemoteFunction)):
        raise TypeError("tell: takes a method of an object at the peer, as in tell(room.say, ...)")
    if isinstance(form, Overloads):
        chosen, sent = form.choose(args, kwargs)
        return owner._pb_callee._pb_tell(chosen, *sent)
    return owner._pb_callee._pb_tell(form, *form.send_arguments(args, kwargs))


# -- the classes of proxies


def proxy_class(
    interface: type, name: str, methods: Mapping[str, tuple[Callable[..., Any], Sequence[Form]]]
) -> type[Proxy]:
    """Return the class of the proxies of an interface.

    Args:
        interface: from which it derives.
        name: as the interface is written, with type arguments.
        methods: what it declares: the function and the forms of each method, by name.
    """
    made: dict[str, Any] = {key: _method(function, forms) for key, (function, forms) in methods.items()}
    made["__module__"], made["__slots__"] = interface.__module__, ()
    for method in ("__eq__", "__hash__", "__repr__"):  # which a Protocol may have
        made[method] = vars(Proxy)[method]
    return type(interface)(name, (Proxy, interface), made)


def _method(function: Callable[..., Any], forms: Sequence[Form]) -> Callable[..., Any]:
    """Return the method of a proxy that calls what ``function`` declares."""
    form: Form | Overloads = forms[0] if len(forms) == 1 else Overloads(forms)
    if isinstance(form, Overloads):
        made = _overloaded(form)
    elif form.is_stream:
        made = _reading(form)
    else:
        made = _calling(form) if form.sends_as_is else _converting(form)
    made.__name__, made.__qualname__ = function.__name__, function.__qualname__
    made.__module__, made.__doc__ = function.__module__, function.__doc__
    vars(made)["_pb_form"] = form
    return made


def _calling(form: Form) -> Callable[..., Any]:
    def method(self: Proxy, /, *args: Value, **kwargs: Value) -> Awaitable[Value]:
        return self._pb_callee._pb_call(form, args, kwargs)

    return method


def _converting(form: Form) -> Callable[..., Any]:
    def method(self: Proxy, /, *args: Value, **kwargs: Value) -> Awaitable[Value]:
        return self._pb_callee._pb_call(form, *form.send_arguments(args, kwargs))

    return method


def _reading(form: Form) -> Callable[..., Any]:
    def method(self: Proxy, /, *args: Value, **kwargs: Value) -> AsyncIterator[Value]:
        return self._pb_callee._pb_read(form, *form.send_arguments(args, kwargs))

    return method


def _overloaded(overloads: Overloads) -> Callable[..., Any]:
    def method(self: Proxy, /, *args: Value, **kwargs: Value) -> Awaitable[Value] | AsyncIterator[Value]:
        form, sent = overloads.choose(args, kwargs)
        callee = self._pb_callee
        return callee._pb_read(form, *sent) if form.is_stream else callee._pb_call(form, *sent)

    return method
