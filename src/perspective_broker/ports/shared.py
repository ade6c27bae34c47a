"""Arguments that many calls have in common, so that a dialect need not encode them for each."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable

from ..errors import SerializationError
from .codec import NullExporter
from .values import ObjectId, Perspective, Value

__all__ = ["SharedArguments", "SharedExporter"]


class SharedArguments(tuple[Value, ...]):
    """The positional arguments of calls that have the method's name and the keyword arguments in common, too.

    They mean the same to every peer: what is in them is encoded under no perspective, and nothing among them crosses as
    a reference. Each dialect encodes them once, see :meth:`encode`.
    """

    _encoded: dict[Hashable, bytes | SerializationError]

    def __new__(cls, values: Iterable[Value]) -> SharedArguments:
        made = super().__new__(cls, values)
        made._encoded = {}
        return made

    def find(self, key: Hashable) -> bytes | None:
        """Return what :meth:`encode` has returned for ``key``; None when it was not called.

        Raises:
            SerializationError: it has raised this.
        """
        found = self._encoded.get(key)
        if isinstance(found, SerializationError):
            raise found.with_traceback(None)  # which would grow with every listener
        return found

    def encode(self, key: Hashable, encode: Callable[[], bytes]) -> bytes:
        """Return what ``encode`` returns, for ``key`` from now on.

        Raises:
            SerializationError: it has raised this.
        """
        try:
            encoded = self._encoded[key] = encode()
        except SerializationError as error:
            self._encoded[key] = error
            raise
        return encoded


class SharedExporter(NullExporter):
    """The exporter of shared arguments: nothing crosses as a reference, because that is not the same for every peer."""

    def export(self, obj: Value, perspective: Perspective) -> int:
        raise _refusal(obj)

    def home_id(self, reference: Value) -> ObjectId | None:
        raise _refusal(reference)

    def export_cache(self, obj: Value, perspective: Perspective) -> tuple[int, Value]:
        raise _refusal(obj)


def _refusal(obj: Value) -> SerializationError:
    return SerializationError(
        f"a {type(obj).__name__} crosses as a reference, which is not the same for every listener; send values, or "
        "call each of them",
        culprit=obj,
    )
