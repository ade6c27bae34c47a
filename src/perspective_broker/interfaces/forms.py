"""Forms: how one method is called, by its annotations. An overloaded method has several.

The same form serves both ends. At the callee it checks the arguments before the method runs and makes the answer ready
to cross; at the caller the other way round. It runs for every call by an interface, so it is compiled, and values of
exactly the annotated type (``str``, ``int``, ``bool``, ``bytes``) are looked at and nothing more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from ..errors import BadAnswer, BadArguments, SerializationError
from ..flavors.offer import Arguments, OfferedMethod, Sender
from ..flavors.values import Value
from .conversion import Converter, Misfit

__all__ = ["Form", "OfferedForm", "OfferedOverloads", "Parameter"]

#: Arguments as they cross.
Sent = tuple[tuple[Value, ...], dict[str, Value]]


class Parameter:
    """One parameter of a form.

    Attributes:
        name: as the interface declares it.
        by_position: whether an argument may be given by position,
        by_name: and by name.
        required: whether it has no default.
        converter: of its annotation.
    """

    __slots__ = ("by_name", "by_position", "converter", "name", "required")

    def __init__(
        self, name: str, by_position: bool, by_name: bool, required: bool, converter: Converter
    ) -> None:
        self.name: str = name
        self.by_position: bool = by_position
        self.by_name: bool = by_name
        self.required: bool = required
        self.converter: Converter = converter


class Form(Sender):
    """How a method is called, and what it answers.

    Args:
        name: the method's name for its callers.
        text: its parameters, for errors.
        parameters: in their order, without ``self``, ``*args`` and ``**kwargs``.
        more: the converter of ``*args``; None without.
        more_named: the converter of ``**kwargs``; None without.
        answer: the converter of the answer; of the items, where the answer is a stream.
        stream: makes the stream ready to cross, where the answer is one; None otherwise.
        answer_interface: the interface of the answer; None when that is anything else.
    """

    __slots__ = (
        "_answer",
        "_by_name",
        "_exact",
        "_exact_answer",
        "_least",
        "_more",
        "_more_named",
        "_named",
        "_parameters",
        "_stream",
        "_text",
        "answer_interface",
        "name",
        "sender",
        "sends_as_is",
    )

    def __init__(
        self,
        name: str,
        text: str,
        parameters: list[Parameter],
        more: Converter | None,
        more_named: Converter | None,
        answer: Converter,
        stream: Sender | None,
        answer_interface: object = None,
    ) -> None:
        self.name: str = name
        self._text: str = text
        self._parameters: list[Parameter] = [p for p in parameters if p.by_position]
        self._named: list[Parameter] = [p for p in parameters if not p.by_position]
        self._by_name: dict[str, Parameter] = {p.name: p for p in parameters if p.by_name}
        self._more: Converter | None = more
        self._more_named: Converter | None = more_named
        #: The types with which an argument needs no converter; None where it needs one in any case.
        self._exact: list[object] = [_exact(p.converter) for p in self._parameters]
        #: So many arguments, by position alone, are complete; more than there are when a name has to be given.
        self._least: int = len([p for p in self._parameters if p.required])
        if any(p.required for p in self._named):
            self._least = len(self._parameters) + 1
        self.answer_interface: object = answer_interface
        self._answer: Converter = answer
        self._exact_answer: object = _exact(answer)
        self._stream: Sender | None = stream
        #: What an answer goes through at the callee; None when it is sent as it is.
        self.sender: Sender | None = stream if stream is not None else None if answer.sends_as_is else self
        #: Whether arguments cross as they are.
        self.sends_as_is: bool = (
            all(p.converter.sends_as_is for p in parameters)
            and (more is None or more.sends_as_is)
            and (more_named is None or more_named.sends_as_is)
        )

    @property
    def is_stream(self) -> bool:
        """Whether the answer is a stream."""
        return self._stream is not None

    # -- at the callee

    def receive(self, args: Sequence[Value], kwargs: Mapping[str, Value], classic: bool) -> Arguments:
        """Check the arguments of a peer, and make of them what the annotations say.

        Raises:
            BadArguments: they do not fit.
        """
        count = len(args)
        exact = self._exact
        if not kwargs and self._least <= count <= len(exact):
            i = 0
            while i < count:
                wanted = exact[i]
                if wanted is not _ANYTHING and type(args[i]) is not wanted:
                    break
                i += 1
            else:
                return args, kwargs, self.sender
        return self._receive(args, kwargs, classic)

    def _receive(self, args: Sequence[Value], kwargs: Mapping[str, Value], classic: bool) -> Arguments:
        parameters = self._parameters
        self.check_arguments(args, kwargs)
        received: list[Value] = []
        for i, value in enumerate(args):
            if i < len(parameters):
                parameter = parameters[i]
                received.append(self._received(parameter.converter, parameter.name, value, classic))
            else:
                assert self._more is not None
                received.append(self._received(self._more, f"argument {i + 1}", value, classic))
        named: dict[str, Value] = {}
        for name, value in kwargs.items():
            found = self._by_name.get(name)
            if found is not None:
                named[name] = self._received(found.converter, name, value, classic)
            else:
                assert self._more_named is not None
                # The name is the peer's, so it is not shown.
                named[name] = self._received(self._more_named, "a named argument", value, classic)
        return received, named, self.sender

    def _received(self, converter: Converter, name: str, value: Value, classic: bool) -> Value:
        if not converter.checks:
            return value
        try:
            return converter.receive(value, classic)
        except Misfit as misfit:
            raise BadArguments(f"{self.name}: {name}{_rest(misfit)}") from None

    def check_arguments(self, args: Sequence[Value], kwargs: Mapping[str, Value]) -> None:
        """Check number and names of arguments.

        Raises:
            BadArguments: the form takes others.
        """
        parameters = self._parameters
        count = len(args)
        if count > len(parameters) and self._more is None:
            raise self._takes()
        for name in kwargs:
            found = self._by_name.get(name)
            if found is None:
                if self._more_named is None:
                    raise self._takes()
            elif found.by_position and found in parameters[:count]:
                raise self._takes()
        for parameter in parameters[count:]:
            if parameter.required and not (parameter.by_name and parameter.name in kwargs):
                raise self._takes()
        for parameter in self._named:
            if parameter.required and parameter.name not in kwargs:
                raise self._takes()

    def _takes(self) -> BadArguments:
        return BadArguments(f"{self.name} takes {self._text}")

    def send(self, value: Value) -> Value:
        """Make the answer of the method ready to cross.

        Raises:
            SerializationError: it is not what the annotation says.
        """
        try:
            return self._answer.send(value)
        except Misfit as misfit:
            raise SerializationError(f"{self.name}: the answer{_rest(misfit)}", culprit=value) from None

    # -- at the caller

    def send_arguments(self, args: tuple[Value, ...], kwargs: dict[str, Value]) -> Sent:
        """Make arguments ready to cross. Number and names are left to the callee.

        Raises:
            SerializationError: an argument is not what the annotation says.
        """
        if self.sends_as_is:
            return args, kwargs
        parameters = self._parameters
        sent: list[Value] = []
        for i, value in enumerate(args):
            if i < len(parameters):
                sent.append(self._sent(parameters[i].converter, parameters[i].name, value))
            else:
                sent.append(self._sent(self._more, f"argument {i + 1}", value))
        named: dict[str, Value] = {}
        for name, value in kwargs.items():
            found = self._by_name.get(name)
            named[name] = self._sent(self._more_named if found is None else found.converter, name, value)
        return tuple(sent), named

    def _sent(self, converter: Converter | None, name: str, value: Value) -> Value:
        if converter is None or converter.sends_as_is:
            return value
        try:
            return converter.send(value)
        except Misfit as misfit:
            raise SerializationError(f"{self.name}: {name}{_rest(misfit)}", culprit=value) from None

    def receive_answer(self, value: Value, classic: bool) -> Value:
        """Check an answer, and make of it what the annotation says.

        Raises:
            BadAnswer: it does not fit.
        """
        if type(value) is self._exact_answer or self._exact_answer is _ANYTHING or self._stream is not None:
            return value
        return self._received_answer(value, classic, "in the answer")

    def receive_item(self, value: Value, classic: bool) -> Value:
        """Check an item of the stream that is the answer.

        Raises:
            BadAnswer: it does not fit.
        """
        if type(value) is self._exact_answer or self._exact_answer is _ANYTHING:
            return value
        return self._received_answer(value, classic, "in an item")

    def _received_answer(self, value: Value, classic: bool, where: str) -> Value:
        try:
            return self._answer.receive(value, classic)
        except Misfit as misfit:
            raise BadAnswer(f"{self.name}: {where}{_rest(misfit)}") from None


class OfferedForm(OfferedMethod):
    """A method with one form, as it is found in one class."""

    __slots__ = ("_form",)

    def __init__(self, attribute: str, is_sync: bool, form: Form) -> None:
        super().__init__(attribute, is_sync)
        self._form: Form = form

    def receive(self, args: Sequence[Value], kwargs: Mapping[str, Value], classic: bool) -> Arguments:
        return self._form.receive(args, kwargs, classic)


class OfferedOverloads(OfferedMethod):
    """An overloaded method, as it is found in one class."""

    __slots__ = ("_forms",)

    def __init__(self, attribute: str, is_sync: bool, forms: list[Form]) -> None:
        super().__init__(attribute, is_sync)
        self._forms: list[Form] = forms

    def receive(self, args: Sequence[Value], kwargs: Mapping[str, Value], classic: bool) -> Arguments:
        for form in self._forms:
            try:
                return form.receive(args, kwargs, classic)
            except BadArguments:
                pass
        raise BadArguments(f"{self._forms[0].name}: fits none of its {len(self._forms)} forms")


class _Anything:
    """In the place of a type: every value fits."""


_ANYTHING: Final = _Anything()


def _exact(converter: Converter) -> object:
    return converter.exact if converter.checks else _ANYTHING


def _rest(misfit: Misfit) -> str:
    """Return how a line about a misfit goes on behind the name of the argument."""
    rest = str(misfit)
    return rest if rest[:1] in (".", "[", ":") else f": {rest}"
