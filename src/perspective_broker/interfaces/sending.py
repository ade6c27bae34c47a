"""Streams at the callee: what a method answers becomes what crosses, item by item."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from ..errors import SerializationError
from ..flavors.offer import Sender
from ..flavors.values import Value
from .conversion import Converter, Misfit

__all__ = ["StreamSender"]


class StreamSender(Sender):
    """Makes the stream that a method answers ready to cross.

    Args:
        name: of the method.
        items: the converter of the items.
    """

    def __init__(self, name: str, items: Converter) -> None:
        self._name = name
        self._items = items

    def send(self, value: Value) -> Value:
        if isinstance(value, AsyncGenerator):
            return value if self._items.sends_as_is else self._generate_closing(value)
        if not isinstance(value, AsyncIterator):
            raise SerializationError(
                f"{self._name}: the answer: expected an asynchronous iterator, got {type(value).__name__}",
                culprit=value,
            )
        return self._generate(value)

    async def _generate_closing(self, items: AsyncGenerator[Value, None]) -> AsyncGenerator[Value, None]:
        async with aclosing(items), aclosing(self._generate(items)) as sent:
            async for item in sent:
                yield item

    async def _generate(self, items: AsyncIterator[Value]) -> AsyncGenerator[Value, None]:
        async for item in items:
            try:
                yield item if self._items.sends_as_is else self._items.send(item)
            except Misfit as misfit:
                raise SerializationError(f"{self._name}: in an item{misfit}", culprit=item) from None
