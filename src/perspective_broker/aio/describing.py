"""describe: ask the peer what an object offers, and check what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..errors import BadAnswer, NoSuchMethod, UsageError
from ..flavors.describing import DESCRIBE, MOST_BYTES, STREAM_NAME
from ..interfaces import Interface, underlying
from ..ports import Feature, Value
from .calls import Promise
from .connection import driver_of
from .held import HeldReference, usable
from .reconnect import ReconnectingReference
from .references import RemoteReference
from .untyped import Remote, name_methods, target_of

__all__ = ["Description", "MethodDescription", "describe"]


@dataclass(frozen=True, slots=True)
class MethodDescription:
    """A method of an object of the peer. All texts are the peer's.

    Attributes:
        name: by which it is called.
        signatures: its name and parameters, as text; several where it has several forms.
        doc: its documentation.
        stream: whether it answers a stream, which is read with ``async for``.
        parameters: a JSON Schema of its arguments by name. Without an interface it contains only their names.
    """

    name: str
    signatures: tuple[str, ...] = ()
    doc: str = ""
    stream: bool = False
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Description:
    """What an object of the peer offers to its callers. All texts are the peer's.

    Attributes:
        name: of its class.
        doc: the documentation of the class, or of its interface.
        interfaces: the names of the interfaces that it implements.
        methods: what can be called.
    """

    name: str
    doc: str = ""
    interfaces: tuple[str, ...] = ()
    methods: tuple[MethodDescription, ...] = ()

    @property
    def is_stream(self) -> bool:
        """Whether the object is a stream: it is read with ``async for``, and has no methods."""
        return self.name == STREAM_NAME

    def method(self, name: str) -> MethodDescription | None:
        """Return the method of that name, or None."""
        return next((method for method in self.methods if method.name == name), None)


async def describe(
    reference: RemoteReference | ReconnectingReference | Promise[Any] | Remote | Interface,
) -> Description:
    """Ask the peer what an object offers.

    Peers describe their objects to peers of the same machine and to those that have authenticated themselves, unless
    ``serve(..., describe=False)``.

    Args:
        reference: to an object of the peer, or an object that calls one. A promise is awaited first.

    Raises:
        TypeError: ``reference`` is not one, or the promise was kept with something else.
        UsageError: the peer does not describe its objects, or not to this program.
        BadAnswer: what it answered is not a description.
        Exception: as ``reference.call`` raises, and the promise.
    """
    target = target_of(reference) if isinstance(reference, Remote) else underlying(reference)
    if isinstance(target, Promise):
        target = underlying(await target)
    if isinstance(target, ReconnectingReference):
        target = target.current
    if not isinstance(target, HeldReference):
        raise TypeError(f"describe takes a reference, not a {type(target).__name__}")
    dialect = driver_of(usable(target).connection).broker.dialect
    if not dialect.writer.has(Feature.DESCRIBE):
        raise _describes_nothing()
    assert isinstance(target, RemoteReference)
    try:
        answer = await target.call(DESCRIBE)
    except NoSuchMethod:
        raise _describes_nothing() from None
    description = _checked(answer)
    if isinstance(reference, Remote):
        name_methods(reference, [method.name for method in description.methods])
    return description


def _describes_nothing() -> UsageError:
    return UsageError("the peer does not describe its objects")


def _checked(answer: Value) -> Description:
    """Return the description that a peer's answer is.

    Raises:
        BadAnswer: it is none, or too long.
    """
    import msgspec  # not with the package: see flavors/describing.py

    try:
        # By way of bytes, because only these show how much there is, and that it is plain values throughout.
        encoded = msgspec.msgpack.encode(answer)
        if len(encoded) > MOST_BYTES:
            raise BadAnswer(
                f"{DESCRIBE}: a description has at most {MOST_BYTES} bytes, this one {len(encoded)}"
            )
        return msgspec.msgpack.decode(encoded, type=Description)
    except BadAnswer:
        raise
    except Exception as error:  # of what cannot be encoded, or does not fit
        reason = f": {error}" if isinstance(error, msgspec.ValidationError) else ""
        raise BadAnswer(f"{DESCRIBE}: the answer is not a description{reason}") from None
