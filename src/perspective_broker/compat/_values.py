"""The classic dialect with this face's values: its flavors' hooks, its security options, its failures."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType, MethodType, ModuleType
from typing import Any, Final

from twisted.python.reflect import qual
from twisted.spread.interfaces import IJellyable

from .. import errors, flavors
from ..dialects.classic import NONE, PB, ClassicDialect
from ..dialects.classic.banana import encode, encode_integer, encode_list_head
from ..dialects.classic.jelly import Jellier
from ..dialects.classic.unjelly import Unjellier
from ..dialects.classic.vocabulary import Spelling
from ..dialects.classic.writing import ClassicWriter
from ..errors import CallError
from ..limits import Limits
from ..ports import Dialect, Exporter, Perspective
from ..session import Broker
from .failures import Failed, as_failure, brief, copied_from, copyable
from .flavors import Cacheable, Copyable, Referenceable, RemoteCache, Viewable
from .jelly import ListJellier
from .jellyable import Jellyable, TasterPolicy, state_of, unpersistable_atom
from .references import RemoteReference
from .registry import _tag
from .unjellier import FaceUnjellier, readers

__all__ = ["FaceDialect", "Jellied", "makers"]

#: The first reference number of an object that jellies itself, so that no other number in the message is the same.
_OWN_NUMBERS: Final = 1 << 32


class Jellied:
    """Lists made by a program, which are sent unchanged."""

    __slots__ = ("sexp",)

    def __init__(self, sexp: Any) -> None:
        self.sexp = sexp


class FaceJellier(Jellier):
    """The dialect's jellier, which also knows objects that jelly themselves and classes that security allows."""

    __slots__ = ("_face",)

    def __init__(
        self, face: Any, spelling: Spelling, exporter: Exporter, perspective: Perspective, limits: Limits
    ) -> None:
        super().__init__(spelling, exporter, perspective, limits)
        self._face = face

    def _object(self, value: Any) -> None:
        kind = type(value)
        if isinstance(value, Jellyable):
            self._jellyable(value)
        elif isinstance(value, Jellied):
            self._sexp(lambda jellier: value.sexp)
        elif isinstance(value, _WITH_A_FLAVOR) or IJellyable.providedBy(value):
            # Of the core, or of Twisted's own.
            super()._object(value)
        elif self._face.security.isClassAllowed(kind):
            if not self._again(value):
                self._state(_tag(kind), value, state_of(value))
        elif isinstance(value, _NAMED):
            super()._object(value)  # it raises an error with the reason
        elif not self._again(value):
            self._unpersistable(f"instance of class {qual(kind)} deemed insecure")

    def _jellyable(self, value: Jellyable) -> None:
        """Write an object as the ``jellyFor`` of its class does, which the first base that has one decides.

        A class that is Referenceable first and Copyable second crosses as a reference, and its state stays here.
        """
        flavor, write = _STOCK.get(type(value).jellyFor, (None, None))
        if flavor is not None and isinstance(value, flavor):
            write(self, value)
        elif not self._again(value):
            self._sexp(value.jellyFor)

    def _reference(self, value: Any) -> None:
        counted = value.counted
        super()._object(value if counted is None else counted)

    def _replica(self, value: Any) -> None:
        kept = self._exporter.home_cache_id(value)
        if kept is None:
            raise errors.SerializationError(
                "a replica crosses only the connection it came from", culprit=value
            )
        self._out.append(self._words.lcache + encode_integer(kept))

    def _state(self, tag: bytes, value: Any, state: Any) -> None:
        self._enter(value)
        self._out.append(encode_list_head(2) + self._words.spelling.string(tag))
        self._jelly(state)
        self._depth -= 1

    def _unpersistable(self, reason: str) -> None:
        """Write what stands in the place of an object that cannot cross."""
        spelling = self._words.spelling
        self._out.append(
            spelling.list_of(2, unpersistable_atom) + spelling.string(reason.encode(errors="replace")[:1024])
        )

    def _sexp(self, jelly_for: Callable[[Any], Any]) -> None:
        """Write the lists that an object's own jellyFor returns."""
        with self._face.serializing(self._perspective, self.exported, self._cached):
            jellier = ListJellier(
                self._face.security, None, self._face, _OWN_NUMBERS + (len(self._out) << 20)
            )
            sexp = jelly_for(jellier)
        try:
            self._out.append(encode(sexp, self._words.spelling, self._limits))
        except errors.SerializationError as error:
            raise errors.SerializationError(error.message) from None
        self._deepest = self._limits.depth  # it was not counted, so the depth of the whole message is checked


#: The flavors by their own jellyFor, and how each crosses; the object must be of the flavor besides.
_STOCK: Final[dict[Any, tuple[Any, Any]]] = {
    Referenceable.jellyFor: (Referenceable, FaceJellier._exportable),
    Viewable.jellyFor: (Viewable, FaceJellier._exportable),
    Copyable.jellyFor: (Copyable, FaceJellier._copyable),
    Cacheable.jellyFor: (Cacheable, FaceJellier._cacheable),
    RemoteReference.jellyFor: (RemoteReference, FaceJellier._reference),
    RemoteCache.jellyFor: (RemoteCache, FaceJellier._replica),
}

#: Classes with a flavor, which do not jelly themselves.
_WITH_A_FLAVOR: Final = (
    flavors.Exportable,
    flavors.Copyable,
    flavors.Reference,
    flavors.RemoteCache,
    flavors.Graph,
)

#: Types that Twisted sends by name, and that peers refuse to import.
_NAMED: Final = (type, FunctionType, MethodType, ModuleType)


class FaceWriter(ClassicWriter):
    """The writing half of one connection's dialect."""

    def __init__(self, face: Any, spelling: Spelling, exporter: Exporter, limits: Limits) -> None:
        super().__init__(spelling, exporter, limits)
        self._face = face

    def _jellier(self, perspective: Perspective) -> Jellier:
        return FaceJellier(self._face, self.spelling, self._exporter, perspective, self._limits)

    def encode_error(
        self, request: int, error: BaseException, traceback: bool, perspective: Perspective
    ) -> bytes:
        payload = error.payload if isinstance(error, Failed) else copyable(as_failure(error), traceback)
        try:
            return self._encode_error(request, payload, perspective)
        except errors.SerializationError:
            return self._encode_error(request, brief(payload), perspective)

    def _encode_error(self, request: int, payload: Any, perspective: Perspective) -> bytes:
        jellier = self._jellier(perspective)
        value = jellier.jelly(payload)
        try:
            return self._checked(self._error_head + encode_integer(request) + value, [jellier])
        except errors.SerializationError:
            jellier.rollback()
            raise


class FaceDialect(ClassicDialect):
    """One connection's dialect.

    Args:
        face: the broker of this face.
        spelling: which of the two dialects.
        session: the core's broker.
    """

    def __init__(self, face: Any, spelling: Spelling, session: Broker) -> None:
        super().__init__(
            spelling,
            receiver=session.receiver,
            exporter=session.exporter,
            importer=session.importer,
            limits=session.limits,
            registry=flavors.default_registry,
            policy=TasterPolicy(face.security),
            writer=FaceWriter(face, spelling, session.exporter, session.limits),
            natively=False,
        )
        self._face = face
        self._face_readers = readers(face.security)

    def _unjellier(self, perspective: Perspective) -> Unjellier:
        face = self._face
        return FaceUnjellier(
            self._importer, perspective, self._face_readers, face.security, face, self._most_units
        )

    def decode_error(self, payload: Any, perspective: Perspective) -> Exception:
        try:
            value = self._unjellier(perspective).unjelly(payload)
        except CallError as error:
            return Failed(as_failure(error))
        return Failed(copied_from(value))


def makers(face: Any, session: Broker, names: Any) -> dict[str, Callable[[], Dialect]]:
    """Return how each of the dialects that a broker of this face knows is made, best first."""

    def make(spelling: Spelling) -> Callable[[], Dialect]:
        return lambda: FaceDialect(face, spelling, session)

    spellings = {b"pb": PB, b"none": NONE}
    return {name.decode(): make(spellings[name]) for name in names}
