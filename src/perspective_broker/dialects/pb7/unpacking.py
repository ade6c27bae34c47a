"""Unpacking: decode MessagePack as Python values. Values of a peer are checked here, in time linear in their size.

ormsgpack decodes in C and calls :class:`Unpacker` for each extension; a table has a reader for each type. An invalid
value raises a :class:`~perspective_broker.errors.CallError`, which fails only the call to which the value belongs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final, NoReturn, TypeAlias

from ormsgpack import Ext, packb, unpackb

from ...errors import CallError, DecodeError, InsecureJelly, ProtocolError
from ...flavors import Policy, Registry, RemoteCache
from ...limits import Limits
from ...ports import Importer, Perspective, Value
from ..arrays import array_of
from ..building import MAX_KEY_BITS, KeyBudget, KeyCheck, find_class, guarded, instance
from ..collector import LARGE_MESSAGE, gc_paused
from . import codes, more
from .failures import failure_in
from .frames import Frame
from .graphs import GraphBuilder, Node, dictionary_of, set_of
from .large import OPTIONS
from .packing import MAX_INT_BITS, nested_bytes
from .scalars import SCALARS
from .scanning import PLAIN_VALUES, extension, extensions_refused, most_extensions, skip

__all__ = [
    "Readers",
    "Unpacker",
    "id_in",
    "readers_for",
    "readers_of_kept",
    "references_in",
    "refuse_plain",
    "refused_plain_types",
]

#: Most bytes of a cacheable's tag and id.
_MAX_HEAD: Final = 2 + 0xFF + 9

#: Extensions that the peer counts when it sends them.
_COUNTED: Final = (codes.REMOTE, codes.CACHED, codes.CACHEABLE)


class Unpacker:
    """Decode the values of one message. Each message with extensions has its own unpacker.

    Args:
        importer: turns ids into objects.
        perspective: for which the references in the values are made.
        readers: of the types that may be read, see :func:`readers_for`.
        refused: plain types that may not be read, see :func:`refused_plain_types`.
        registry: of the classes, by type tag.
        policy: which classes may be used.
        limits: what the peer may send.
    """

    __slots__ = (
        "_allowance",
        "_arrays",
        "_classes",
        "_copies",
        "_error",
        "_extensions_left",
        "_graph_level",
        "_importer",
        "_keys",
        "_late_error",
        "_level",
        "_limits",
        "_nodes_read",
        "_perspective",
        "_policy",
        "_readers",
        "_refused",
        "_registry",
        "_taken",
    )

    def __init__(
        self,
        importer: Importer,
        perspective: Perspective,
        readers: Readers,
        refused: frozenset[type],
        registry: Registry,
        policy: Policy,
        limits: Limits,
    ) -> None:
        self._importer = importer
        self._perspective = perspective
        self._readers = readers
        self._refused = refused
        self._registry = registry
        self._policy = policy
        self._limits = limits
        self._classes: dict[str, type] = {}  # classes in the message so far, by their tags
        # the message's copyables so far; _UNMADE while a state for a factory is decoded
        self._copies: list[Value] = []
        self._level = 0  # extensions around the present value
        self._graph_level = -1  # the level at which references to a graph's containers are valid,
        self._nodes_read = 0  # and their number
        self._arrays: list[memoryview] = []  # the bytes of large arrays that were not read yet
        self._allowance = 0  # bytes of payloads that may still be decoded
        self._extensions_left = most_extensions(limits)
        self._taken = 0  # references and replicas that have been counted
        self._keys = KeyBudget()
        self._late_error: CallError | None = None  # to raise when the whole message is decoded
        self._error: BaseException | None = None  # the reason of a ValueError of ormsgpack

    def unpack(self, frame: Frame, arrays: Sequence[memoryview] = ()) -> list[Value]:
        """Return the message in a frame, whose structure has been checked before.

        Args:
            frame: the message, without the bytes of large arrays.
            arrays: these bytes, in the order of the message.

        Raises:
            CallError: a value cannot be built.
            ProtocolError: it has more references or extensions than the peer may send.
        """
        self._arrays += arrays
        if len(frame) < LARGE_MESSAGE:
            return self._unpack(frame)
        with gc_paused():
            return self._unpack(frame)

    def _unpack(self, frame: Frame) -> list[Value]:
        try:
            return self._whole(frame)
        except CallError as error:
            if error is not self._late_error:
                self.release_unread(frame)
            raise

    def release_unread(self, frame: Frame) -> None:
        """Count the references and replicas in ``frame`` that were not read, and release them.

        The peer has counted them when it sent them. Those that are not counted here would never be released.

        Raises:
            ProtocolError: it has more references or extensions than the peer may send.
        """
        skip = self._taken
        for code, luid in references_in(frame, self._limits):
            if code not in _COUNTED or isinstance(luid, str):
                continue
            if skip:  # these have been read, in the same order
                skip -= 1
                continue
            with contextlib.suppress(CallError):
                if code == codes.REMOTE:
                    self._importer.pass_over(luid, self._perspective)
                elif code == codes.CACHED:
                    self._importer.import_cache(luid)
                else:
                    self._importer.introduce_cache(luid, RemoteCache)
                    self._importer.spoil_cache(luid)

    def _whole(self, frame: Frame) -> list[Value]:
        self._allowance = nested_bytes(len(frame))
        self._keys = KeyBudget(len(frame))
        try:
            message: list[Value] = self._read(frame)
            if self._late_error is not None:
                raise self._late_error
            return message
        except (CallError, ProtocolError):
            raise
        except RecursionError:
            raise DecodeError("nested too deep for this call stack") from None
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # Readers unpack the form that they expect; any other form raises an exception in them. A class of the
            # application that cannot be made raises one too, and so does a key that cannot be hashed.
            raise DecodeError(f"malformed value ({type(error).__name__})") from error

    def _read(self, data: Frame) -> Value:
        try:
            return unpackb(data, ext_hook=self._hook)
        except ValueError:
            raise (self._error or DecodeError("malformed value")) from None

    def _hook(self, code: int, payload: bytes) -> Value:
        try:
            self._count_extensions(1)
            return self._readers.get(code, _UNKNOWN)(self, payload)
        except BaseException as error:
            self._error = error
            raise

    def _count_extensions(self, number: int) -> None:
        self._extensions_left -= number
        if self._extensions_left < 0:
            raise extensions_refused(self._limits)

    def _open(self, payload: bytes) -> Value:
        """Return the one value in a payload."""
        if self._level >= self._limits.depth // 2:
            raise DecodeError("nested too deep")
        self._allowance -= len(payload)
        if self._allowance < 0:
            raise DecodeError("extensions within extensions cost more than the message's size allows")
        plain = True
        try:
            value = unpackb(payload)
        except ValueError:
            plain = False
            value = unpackb(payload, ext_hook=Ext)
        try:
            same = packb(value, None, OPTIONS) == payload
        except TypeError:
            raise DecodeError("nested too deep") from None
        if not same:
            raise DecodeError("a value that is not in its shortest spelling, or has a key twice")
        if not plain:
            self._level += 1
            value = self._read(payload)
            self._level -= 1
        if self._refused:
            refuse_plain(value, self._refused)
        return value

    def _items(self, payload: bytes) -> list[Value]:
        value = self._open(payload)
        if type(value) is not list:
            raise DecodeError("a payload that should be an array")
        return value

    def _key_check(self) -> KeyCheck:
        return KeyCheck(self._keys)

    # -- values

    def _tuple(self, payload: bytes) -> tuple[Value, ...]:
        return tuple(self._items(payload))

    def _set(self, payload: bytes) -> Value:
        return self._made(partial(set_of, self._items(payload), self._key_check()))

    def _frozenset(self, payload: bytes) -> Value:
        return frozenset(self._made(partial(set_of, self._items(payload), self._key_check())) or ())

    def _dictionary(self, payload: bytes) -> Value:
        return self._made(partial(dictionary_of, self._items(payload), self._key_check()))

    def _made(self, make: Callable[[], Value]) -> Value:
        """Return ``make()``, which makes a container from parts that have all been decoded.

        An error of an outermost container is raised after the whole message has been decoded. Then no references have
        to be searched for and released, which takes longer than decoding them.
        """
        try:
            return make()
        except CallError as error:
            if self._level:
                raise
            self._late_error = self._late_error or error
            return None

    def _int(self, payload: bytes) -> int:
        if len(payload) > max(MAX_INT_BITS, self._limits.int_bits) // 8 + 1:
            raise DecodeError("an integer beyond the limit")
        value = int.from_bytes(payload, "big", signed=True)
        if -(1 << 63) <= value < 1 << 64 or value.bit_length() // 8 + 1 != len(payload):
            raise DecodeError("an integer that is not in its shortest spelling")
        return value

    def _more(self, payload: bytes) -> Value:
        refused = self._refused
        if payload[1:2] != _DEQUE:  # the parts of other kinds are not values of their own
            self._refused = frozenset()
        try:
            kind, *parts = self._items(payload)
        finally:
            self._refused = refused
        if type(kind) is not int or not 0 <= kind < len(more.NAMES):
            raise DecodeError("a kind of values that does not exist")
        name = more.NAMES[kind]
        if not self._policy.allows_type(name):
            raise InsecureJelly(f"values of type {name} are not allowed here")
        self._count_extensions(more.COST.get(kind, 0))
        return more.made_of(kind, parts)

    def _array(self, payload: bytes) -> Value:
        try:
            data_at = skip(payload, 0, 1, self._limits)
        except ProtocolError as error:
            raise DecodeError(error.reason) from None
        head = payload[:data_at]
        dtype, shape = unpackb(head)
        if type(shape) is not list or packb([dtype, shape]) != head:
            raise DecodeError("an array begins with its type and its shape, in their shortest spelling")
        data = memoryview(payload)[data_at:]
        if not data and self._arrays and 0 not in shape:
            data = self._arrays.pop(0)
        return array_of(dtype, tuple(shape), data)

    # -- graphs

    def _graph(self, payload: bytes) -> Value:
        around = self._graph_level, self._nodes_read
        self._graph_level, self._nodes_read = self._level + 1, 0
        try:
            root, *rows = self._items(payload)
            nodes_read = self._nodes_read
            self._count_extensions(len(rows))  # each is a container, made after all have been decoded
        finally:
            self._graph_level, self._nodes_read = around
        direct = [item for row in rows for item in row if type(item) is Node]
        if len(direct) + (type(root) is Node) != nodes_read:
            raise DecodeError("a reference to a graph's container is inside another value")
        graph = GraphBuilder(rows, self._limits.depth // 2, self._key_check)
        return self._made(partial(graph.build, root))

    def _node(self, payload: bytes) -> Node:
        if self._level != self._graph_level:
            raise DecodeError("a reference to a graph's container is outside of the graph")
        self._nodes_read += 1
        return Node(id_in(payload))

    # -- flavors

    def _remote(self, payload: bytes) -> Value:
        luid = id_in(payload)
        self._taken += 1
        return self._importer.import_reference(luid, self._perspective)

    def _local(self, payload: bytes) -> Value:
        return self._importer.local_object(id_in(payload))

    def _promise(self, payload: bytes) -> Value:
        return self._importer.kept_answer(id_in(payload))

    def _local_named(self, payload: bytes) -> Value:
        return self._importer.local_object(payload.decode())

    def _cached(self, payload: bytes) -> Value:
        luid = id_in(payload)
        self._taken += 1
        return self._importer.import_cache(luid)

    def _lcache(self, payload: bytes) -> Value:
        return self._importer.local_cache(id_in(payload))

    def _failure(self, payload: bytes) -> Exception:
        return failure_in(self._open(payload)).as_exception(self._registry, self._policy)

    def _copy(self, payload: bytes) -> Value:
        tag, state_at = _tag(payload)
        number = len(self._copies)
        cls = self._classes.get(tag)
        if cls is None and (cls := find_class(tag, self._registry, self._policy)) is not None:
            self._classes[tag] = cls
        if cls is not None:
            value = instance(cls)
            self._copies.append(value)
            guarded(value.set_copyable_state, self._open(payload[state_at:]))
            return value
        self._copies.append(_UNMADE)
        factory = self._registry.find_factory(tag)
        assert factory is not None
        value = self._copies[number] = guarded(factory, self._open(payload[state_at:]))
        return value

    def _again(self, payload: bytes) -> Value:
        number = id_in(payload)
        if number >= len(self._copies):
            raise DecodeError("a reference to a copyable that has not been sent")
        value = self._copies[number]
        if value is _UNMADE:
            raise DecodeError("a state that contains its own object, which only a factory can make")
        return value

    def _cacheable(self, payload: bytes) -> Value:
        tag, luid_at = _tag(payload)
        luid, state_at = _luid(payload, luid_at)
        cls = find_class(tag, self._registry, self._policy)
        if cls is None or not issubclass(cls, RemoteCache):
            raise InsecureJelly("a cacheable needs a class registered that is a RemoteCache")
        self._taken += 1
        value = self._importer.introduce_cache(luid, cls)
        try:
            guarded(value.set_copyable_state, self._open(payload[state_at:]))
        except BaseException:
            self._importer.spoil_cache(luid)
            raise
        return value

    # -- our own answers: on the side that encoded them, their ids have the opposite meaning

    def _own_reference(self, payload: bytes) -> Value:
        return self._importer.import_reference(id_in(payload), self._perspective)

    def _own_named_reference(self, payload: bytes) -> Value:
        return self._importer.import_named(payload.decode())

    def _own_replica(self, payload: bytes) -> Value:
        return self._importer.import_cache(id_in(payload))

    def _own_cacheable(self, payload: bytes) -> Value:
        luid, _ = _luid(payload, _tag(payload)[1])
        return self._importer.local_cache(luid)

    def _unknown(self, payload: bytes) -> NoReturn:
        raise DecodeError("an extension that does not exist")


#: Extension type -> reader of its payload.
Readers: TypeAlias = dict[int, Callable[[Unpacker, bytes], Value]]


def _scalar(read: Callable[[bytes], Value]) -> Callable[[Unpacker, bytes], Value]:
    """Return the reader of an extension that does not contain values."""
    return lambda unpacker, payload: read(payload)


_READERS: Final[Readers] = {
    codes.TUPLE: Unpacker._tuple,
    codes.SET: Unpacker._set,
    codes.FROZENSET: Unpacker._frozenset,
    codes.DICTIONARY: Unpacker._dictionary,
    codes.INTEGER: Unpacker._int,
    codes.MORE: Unpacker._more,
    codes.ARRAY: Unpacker._array,
    **{code: _scalar(read) for code, read in SCALARS.items()},
    codes.REMOTE: Unpacker._remote,
    codes.LOCAL: Unpacker._local,
    codes.PROMISE: Unpacker._promise,
    codes.LOCAL_NAMED: Unpacker._local_named,
    codes.COPY: Unpacker._copy,
    codes.AGAIN: Unpacker._again,
    codes.FAILURE: Unpacker._failure,
    codes.GRAPH: Unpacker._graph,
    codes.NODE: Unpacker._node,
    codes.CACHEABLE: Unpacker._cacheable,
    codes.CACHED: Unpacker._cached,
    codes.LCACHE: Unpacker._lcache,
}

_UNKNOWN: Final = Unpacker._unknown

#: Readers of the references in an answer, on the side that encoded it, where they have the opposite meaning.
_READERS_OF_KEPT: Final[Readers] = {
    codes.REMOTE: Unpacker._local,
    codes.LOCAL: Unpacker._own_reference,
    codes.LOCAL_NAMED: Unpacker._own_named_reference,
    codes.CACHEABLE: Unpacker._own_cacheable,
    codes.CACHED: Unpacker._lcache,
    codes.LCACHE: Unpacker._own_replica,
}

_DEQUE: Final = bytes((more.DEQUE,))

#: Placeholder of a copyable whose factory is called when its state has been decoded.
_UNMADE: Final = object()

_PLAIN_NAMES: Final[dict[str, type]] = {
    "None": type(None),
    "boolean": bool,
    "unicode": str,
    "list": list,
    "dictionary": dict,
}


def readers_for(policy: Policy) -> Readers:
    """Return the readers of the types that ``policy`` allows; made once per connection."""

    def refuse(name: str) -> Callable[[Unpacker, bytes], Value]:
        def reader(unpacker: Unpacker, payload: bytes) -> NoReturn:
            raise InsecureJelly(f"values of type {name} are not allowed here")

        return reader

    names = codes.POLICY_NAMES
    return {
        code: read if code not in names or policy.allows_type(names[code]) else refuse(names[code])
        for code, read in _READERS.items()
    }


def readers_of_kept(readers: Readers) -> Readers:
    """Return the readers for answers that are decoded on the side that encoded them."""
    return {**readers, **_READERS_OF_KEPT}


_NOTHING_REFUSED: Final[frozenset[type]] = frozenset()


def refused_plain_types(policy: Policy) -> frozenset[type]:
    """Return MessagePack's own types that ``policy`` refuses; nearly always the empty set."""
    refused = frozenset(kind for name, kind in _PLAIN_NAMES.items() if not policy.allows_type(name))
    return refused or _NOTHING_REFUSED  # all connections share one, because an empty set takes 232 bytes


def references_in(frame: Frame, limits: Limits) -> Iterator[tuple[int, int | str]]:
    """Yield the references of a message to the tables: extension type and id, in the order of decoding.

    References that an honest sender would not spell so are left out, and may be the end.

    Raises:
        ProtocolError: the message has more extensions than it may have.
    """
    pos = 0
    left = most_extensions(limits)
    try:
        while (pos := PLAIN_VALUES.match(frame, pos).end()) < len(frame):  # type: ignore[union-attr] # may be empty
            left -= 1
            if left < 0:
                break
            code, start, end = extension(frame, pos, limits)
            pos = start if code in codes.NESTED else end
            payload = bytes(frame[start : min(end, start + _MAX_HEAD)])
            if code in _TABLE_REFERENCES:
                yield code, id_in(payload)
            elif code == codes.LOCAL_NAMED:
                yield code, bytes(frame[start:end]).decode()
            elif code == codes.CACHEABLE:
                yield code, _luid(payload, _tag(payload)[1])[0]
    except (CallError, ProtocolError, ValueError, LookupError):
        return
    if left < 0:
        raise extensions_refused(limits)


#: Extensions whose payload is an id in one of the tables.
_TABLE_REFERENCES: Final = (codes.REMOTE, codes.CACHED, codes.LOCAL, codes.LCACHE)


def refuse_plain(value: object, refused: frozenset[type]) -> None:
    """Raise an error if a list or dictionary, at any depth, has an item of a refused type. (``value`` is not tested.)

    Raises:
        InsecureJelly: it has one.
    """
    todo = [value]
    while todo:
        container = todo.pop()
        if type(container) is dict:
            items = [*container, *container.values()]
        elif type(container) is list:
            items = container
        else:
            continue
        for item in items:
            if type(item) in refused:
                raise InsecureJelly(f"values of type {type(item).__name__} are not allowed here")
        todo += items


def id_in(payload: bytes) -> int:
    """Return the id in a payload."""
    size = len(payload)
    if not 0 < size <= MAX_KEY_BITS // 8 or (size > 1 and not payload[0]):
        raise DecodeError("an id is a small positive integer in its shortest spelling")
    return int.from_bytes(payload, "big")


def _luid(payload: bytes, at: int) -> tuple[int, int]:
    """Return the replica's id at a position of a payload, and its end."""
    luid = unpackb(payload[at : at + 9])  # decodes one value and ignores the bytes after it
    if type(luid) is not int or luid < 0:
        raise DecodeError("a replica's id is a positive integer")
    return luid, at + len(packb(luid))


def _tag(payload: bytes) -> tuple[str, int]:
    """Return the text at the beginning of a payload, and its end."""
    first = payload[0]
    if 0xA0 <= first <= 0xBF:
        start, size = 1, first - 0xA0
    elif first == 0xD9:
        start, size = 2, payload[1]
    else:
        raise DecodeError("a type tag is a short text")
    end = start + size
    if end > len(payload) or (first == 0xD9 and size < 0x20):
        raise DecodeError("a type tag that is not in its shortest spelling, or not whole")
    return payload[start:end].decode(), end
