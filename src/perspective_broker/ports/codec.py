"""The ports by which an encoder turns objects into ids, and a decoder turns ids into objects."""

from __future__ import annotations

from ..errors import SerializationError, UnknownObject
from ..native import mypyc_attr
from .values import ObjectId, Perspective, Value

__all__ = ["Exporter", "Importer", "NullExporter", "NullImporter"]


@mypyc_attr(allow_interpreted_subclasses=True)
class Exporter:
    """Turns the objects of an outgoing message into ids.

    Every ``export`` and ``export_cache`` adds one count for the peer. The encoder that asked owns these counts until
    its message is handed to the connection; if encoding fails, it gives each back with ``retract`` or
    ``retract_cache``, in reverse order.
    """

    def export(self, obj: Value, perspective: Perspective) -> int:
        """Give the peer a count on ``obj`` (as seen by ``perspective``) and return its id.

        Raises:
            SerializationError: too many objects are exported.
        """
        raise NotImplementedError

    def retract(self, luid: int) -> None:
        """Take back one count that ``export`` gave in a message that was never sent."""
        raise NotImplementedError

    def adapt(self, value: Value) -> Value:
        """Return what crosses instead of a value of no flavor: a stream for a generator; for a promise its answer, or
        a :class:`~.values.PromisedAnswer`. Return ``value`` when there is nothing.

        Raises:
            Exception: the error with which a promise has failed.
        """
        raise NotImplementedError

    def home_id(self, reference: Value) -> ObjectId | None:
        """Return the peer's own id of a reference that is sent back to it; None when :meth:`adapt` returns what crosses
        instead, because the reference belongs to another connection and this program forwards its calls.

        Raises:
            SerializationError: the reference belongs to another connection, or was released.
        """
        raise NotImplementedError

    def export_cache(self, obj: Value, perspective: Perspective) -> tuple[int, Value]:
        """Give the peer a count on its replica of ``obj`` and return the replica's id and first state.

        The state is :data:`~.values.SENT_BEFORE` when the peer has the replica already.

        Raises:
            SerializationError: the peer keeps too many replicas.
        """
        raise NotImplementedError

    def retract_cache(self, luid: int) -> None:
        """Take back one count that ``export_cache`` gave in a message that was never sent."""
        raise NotImplementedError

    def home_cache_id(self, replica: Value) -> int | None:
        """Return the peer's own id of a replica that is sent back to it; None when it is not the peer's."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class Importer:
    """Turns the ids of an incoming message into objects."""

    def import_reference(self, luid: int, perspective: Perspective) -> Value:
        """Return the reference to the peer's object ``luid``, counting one receipt.

        Raises:
            ProtocolError: the peer gave more references than the limits allow.
        """
        raise NotImplementedError

    def import_named(self, name: str) -> Value:
        """Return the reference to the peer's object that is always there under ``name``."""
        raise NotImplementedError

    def pass_over(self, luid: int, perspective: Perspective) -> None:
        """Count one receipt of a reference that is not handed out, because its message cannot be decoded."""
        raise NotImplementedError

    def kept_answer(self, request: int) -> Value:
        """Return our own answer to a call of the peer, to which the message refers.

        Raises:
            UnknownObject: the answer was an error, or is not kept.
        """
        raise NotImplementedError

    def local_object(self, luid: ObjectId) -> Value:
        """Return our own object that the peer was given under ``luid``.

        Raises:
            UnknownObject: it was never given to this peer, or was released.
        """
        raise NotImplementedError

    def local_target(self, luid: ObjectId) -> Value:
        """Return the :class:`~perspective_broker.flavors.Target` of our own object ``luid``.

        Raises:
            UnknownObject: it was never given to this peer, or was released.
        """
        raise NotImplementedError

    def introduce_cache(self, luid: int, cls: type) -> Value:
        """Return a new replica without state, an instance of ``cls``, counting one receipt.

        Raises:
            ProtocolError: the id is taken, or the peer gave more replicas than the limits allow.
        """
        raise NotImplementedError

    def spoil_cache(self, luid: int) -> None:
        """The state of a replica that was just introduced cannot be decoded: never hand it out."""
        raise NotImplementedError

    def import_cache(self, luid: int) -> Value:
        """Return the replica that was introduced under ``luid``, counting one receipt.

        Raises:
            UnknownObject: it was never sent, or was given up.
            DecodeError: its state could not be decoded; the receipt is counted.
        """
        raise NotImplementedError

    def local_cache(self, luid: int) -> Value:
        """Return our own object whose replica the peer sends back.

        Raises:
            UnknownObject: the peer keeps no such replica.
        """
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class NullExporter(Exporter):
    """The exporter of a value that is encoded without a connection: nothing can be exported."""

    def export(self, obj: Value, perspective: Perspective) -> int:
        raise SerializationError(f"a {type(obj).__name__} needs a connection to cross")

    def retract(self, luid: int) -> None:
        raise AssertionError("nothing was exported")

    def adapt(self, value: Value) -> Value:
        return value

    def home_id(self, reference: Value) -> ObjectId | None:
        raise SerializationError("a reference needs a connection to cross")

    def export_cache(self, obj: Value, perspective: Perspective) -> tuple[int, Value]:
        raise SerializationError(f"a {type(obj).__name__} needs a connection to cross")

    def retract_cache(self, luid: int) -> None:
        raise AssertionError("nothing was exported")

    def home_cache_id(self, replica: Value) -> int | None:
        return None


@mypyc_attr(allow_interpreted_subclasses=True)
class NullImporter(Importer):
    """The importer of a value that is decoded without a connection: nothing can be imported."""

    def import_reference(self, luid: int, perspective: Perspective) -> Value:
        raise UnknownObject("a reference arrived, but there is no connection")

    def import_named(self, name: str) -> Value:
        raise UnknownObject("a reference arrived, but there is no connection")

    def pass_over(self, luid: int, perspective: Perspective) -> None:
        raise UnknownObject("a reference arrived, but there is no connection")

    def kept_answer(self, request: int) -> Value:
        raise UnknownObject("a promised answer arrived, but there is no connection")

    def local_object(self, luid: ObjectId) -> Value:
        raise UnknownObject("an object id arrived, but there is no connection")

    def local_target(self, luid: ObjectId) -> Value:
        raise UnknownObject("an object id arrived, but there is no connection")

    def introduce_cache(self, luid: int, cls: type) -> Value:
        raise UnknownObject("a replica arrived, but there is no connection")

    def spoil_cache(self, luid: int) -> None:
        raise AssertionError("no replica was introduced")

    def import_cache(self, luid: int) -> Value:
        raise UnknownObject("a replica arrived, but there is no connection")

    def local_cache(self, luid: int) -> Value:
        raise UnknownObject("a replica's id arrived, but there is no connection")
