"""The classic dialect with this face's values: its flavors' hooks, its security options, its failures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from .. import errors, flavors
from ..dialects.classic import NONE, PB, ClassicDialect
from ..dialects.classic.banana import encode, encode_integer, encode_list_head
from ..dialects.classic.jelly import Jellier
from ..dialects.classic.unjelly import Unjellier
from ..dialects.classic.vocabulary import Spelling
from ..errors import CallError
from ..ports import Dialect
from .failures import Failed, as_failure, copied_from, copyable
from .jelly import ListJellier
from .jellyable import Jellyable, TasterPolicy, is_stock, state_of
from .registry import _tag
from .unjellier import FaceUnjellier, readers

__all__ = ["FaceDialect", "Jellied", "makers"]

#: Where the reference numbers of an object that jellies itself begin, so that they are no others' in the message.
_OWN_NUMBERS: Final = 1 << 32


class Jellied:
    """Lists that a program made itself: sent as they are."""

    __slots__ = ("sexp",)

    def __init__(self, sexp: Any) -> None:
        self.sexp = sexp


class FaceJellier(Jellier):
    """The dialect's jellier, which also knows objects that jelly themselves and classes that security allows."""

    __slots__ = ("_face",)

    def __init__(self, face: Any, spelling: Spelling, exporter: Any, perspective: Any, limits: Any) -> None:
        super().__init__(spelling, exporter, perspective, limits)
        self._face = face

    def _object(self, value: Any) -> None:
        kind = type(value)
        if isinstance(value, Jellyable):
            if is_stock(kind, "jellyFor"):
                super()._object(value)
            elif not self._again(value):
                self._sexp(value.jellyFor)
        elif isinstance(value, Jellied):
            self._sexp(lambda jellier: value.sexp)
        elif isinstance(
            value, (flavors.Exportable, flavors.Copyable, flavors.Reference, flavors.RemoteCache)
        ):
            super()._object(value)
        elif self._face.security.isClassAllowed(kind):
            if not self._again(value):
                self._enter(value)
                self._out.append(encode_list_head(2) + self._words.spelling.string(_tag(kind)))
                self._jelly(state_of(value))
                self._depth -= 1
        else:
            super()._object(value)

    def _sexp(self, jelly_for: Callable[[Any], Any]) -> None:
        """Write the lists that an object makes of itself."""
        with self._face.serializing(self._perspective, self.exported, self._cached):
            jellier = ListJellier(
                self._face.security, None, self._face, _OWN_NUMBERS + (len(self._out) << 20)
            )
            sexp = jelly_for(jellier)
        try:
            self._out.append(encode(sexp, self._words.spelling, self._limits))
        except errors.SerializationError as error:
            raise errors.SerializationError(error.message) from None
        self._deepest = self._limits.depth  # nobody counted: let the judge look at the whole message


class FaceDialect(ClassicDialect):
    """One connection's dialect.

    Args:
        face: the broker of this face.
        spelling: which of the two dialects.
        session: the core's broker.
    """

    def __init__(self, face: Any, spelling: Spelling, session: Any) -> None:
        super().__init__(
            spelling,
            receiver=session,
            exporter=session,
            importer=session,
            limits=session.limits,
            registry=flavors.default_registry,
            policy=TasterPolicy(face.security),
        )
        self._face = face
        self._face_readers = readers(face.security)

    def _jellier(self, perspective: Any) -> Jellier:
        return FaceJellier(self._face, self._spelling, self._exporter, perspective, self._decoder.limits)

    def _unjellier(self, perspective: Any) -> Unjellier:
        return FaceUnjellier(self._importer, perspective, self._face_readers, self._face.security, self._face)

    def decode_error(self, payload: Any, perspective: Any) -> Exception:
        try:
            value = self._unjellier(perspective).unjelly(payload)
        except CallError as error:
            return Failed(as_failure(error))
        return Failed(copied_from(value))

    def encode_error(self, request: int, error: BaseException, traceback: bool, perspective: Any) -> bytes:
        payload = error.payload if isinstance(error, Failed) else copyable(as_failure(error), traceback)
        jellier = self._jellier(perspective)
        value = jellier.jelly(payload)
        try:
            return self._checked(self._error_head + encode_integer(request) + value, [jellier])
        except errors.SerializationError:
            jellier.rollback()
            raise


def makers(face: Any, session: Any, limits: Any, names: Any) -> dict[str, Callable[[], Dialect]]:
    """Return how each of the dialects that a broker of this face knows is made, best first."""

    def make(spelling: Spelling) -> Callable[[], Dialect]:
        return lambda: FaceDialect(face, spelling, session)

    spellings = {b"pb": PB, b"none": NONE}
    return {name.decode(): make(spellings[name]) for name in names}
