"""Unjelly: decode banana's lists as Python values. Values of a peer are checked here, in time linear in their size.

No name that a peer sent is imported or looked up as an attribute: a table has a reader for each type, and classes are
found in the connection's registry. An invalid value raises a :class:`~perspective_broker.errors.CallError`, which
fails only the call to which the value belongs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, NoReturn, TypeAlias

from ...errors import CallError, DecodeError, InsecureJelly, ProtocolError
from ...flavors import Policy, Registry, RemoteCache
from ...ports import Importer, Perspective, Undecoded, Value
from ..building import MAX_KEY_BITS, KeyBudget, KeyCheck, find_class, guarded, instance, made
from .failures import FAILURE_TAG, failure_from_state
from .scalars import SCALARS
from .work import CHEAP, COSTLY, TOO_MUCH_WORK, UNLIMITED

__all__ = ["Jelly", "Readers", "Unjellier", "allows_plain", "readers_for"]

#: A banana list that represents a value: the name of a type and the parts of the value.
Jelly: TypeAlias = list[Undecoded]


class _Pending:
    """A value that is not complete, and to which a part of it refers.

    Only values that cannot be made before their parts need this: tuples, frozensets, products of factories.
    """

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[Callable[[Value], None]] = []

    def when_known(self, callback: Callable[[Value], None]) -> None:
        self._waiting.append(callback)

    def resolve(self, value: Value) -> None:
        waiting, self._waiting = self._waiting, []
        for callback in waiting:
            if type(value) is _Pending:
                value.when_known(callback)
            else:
                callback(value)


class Unjellier:
    """Decode one value from banana's lists. Each value has its own unjellier.

    Args:
        importer: turns ids into objects.
        perspective: for which the references in the value are made.
        readers: of the types that may be read, see :func:`readers_for`.
        registry: of the classes, by type tag.
        policy: which classes may be used.
        units: of work that decoding may take, see :mod:`.work`.
    """

    __slots__ = (
        "_deferred_states",
        "_importer",
        "_keys",
        "_known",
        "_pending_uses",
        "_perspective",
        "_policy",
        "_readers",
        "_registry",
        "_taken",
        "_unbuilt",
        "_units",
        "_unresolved",
    )

    def __init__(
        self,
        importer: Importer,
        perspective: Perspective,
        readers: Readers,
        registry: Registry,
        policy: Policy,
        units: int = UNLIMITED,
    ) -> None:
        self._units = units
        self._importer = importer
        self._perspective = perspective
        self._readers = readers
        self._registry = registry
        self._policy = policy
        self._keys = KeyBudget()
        self._known: dict[int, Value] = {}  # reference number -> value or _Pending
        self._unresolved = 0  # _Pendings that are not resolved
        self._pending_uses = 0  # times that one was used in the place of a value
        self._taken = 0  # references and replicas that have been counted
        self._unbuilt: set[int] = set()  # replicas whose state is not set yet
        self._deferred_states: list[
            Callable[[], None]
        ] = []  # functions that set a state when the value is complete

    def unjelly(self, jelly: Undecoded) -> Value:
        """Return the value that ``jelly`` represents.

        Raises:
            DecodeError: it is not a valid value. (Or another :class:`CallError`, such as for the id of an object of
                ours that the peer does not hold.)
            ProtocolError: it has more references than the peer may send.
        """
        if type(jelly) is not list:
            return jelly
        try:
            return self._whole(jelly)
        except CallError:
            self.release_unread(jelly)
            raise

    def release_unread(self, jelly: Undecoded) -> None:
        """Count the references and replicas in ``jelly`` that were not read, and release them.

        The peer has counted them when it sent them. Those that are not counted here would never be released.
        """
        for luid in self._unbuilt:
            self._importer.spoil_cache(luid)
        skip = self._taken
        for part in _counted(jelly):
            if skip:  # these have been read, in the same order
                skip -= 1
                continue
            try:
                self._take(part)
            except CallError:
                pass

    def _take(self, part: Jelly) -> None:
        """Count a reference or replica that the application does not get."""
        if part[0] == b"remote":
            self._importer.pass_over(_small_id(part[1]), self._perspective)
        elif part[0] == b"cached":
            self._cached(part)
        else:  # a cacheable that cannot be built: make a replica and drop it, which releases it
            luid = _small_id(part[1])
            self._importer.introduce_cache(luid, RemoteCache)
            self._importer.spoil_cache(luid)

    def _whole(self, jelly: Jelly) -> Value:
        self._keys = KeyBudget(0)
        try:
            value = self._value(jelly)
            if self._unresolved or type(value) is _Pending:
                raise DecodeError("a value that contains itself in a way that cannot be built")
            for set_state in self._deferred_states:
                set_state()
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
        return value

    # A message may have 256 levels, and Python's stack has 1000 frames, some of which the application needs.
    # Therefore no reader uses more than two frames for a level.

    def spend(self, units: int) -> None:
        """Count work that was not counted when the message arrived.

        Raises:
            ProtocolError: the work is beyond the limit.
        """
        self._units -= units
        if self._units < 0:
            raise ProtocolError("limit-nodes", TOO_MUCH_WORK)

    def _value(self, jelly: Jelly) -> Value:
        read = self._readers.get(jelly[0])
        return self._copy(jelly) if read is None else read(self, jelly)

    # -- values without parts

    def _none(self, jelly: Jelly) -> None:
        _fields(jelly, 1)

    def _boolean(self, jelly: Jelly) -> bool:
        _, word = jelly
        if word == b"true":
            return True
        if word == b"false":
            return False
        raise DecodeError("a boolean is true or false")

    def _unicode(self, jelly: Jelly) -> str:
        _, text = jelly
        return text.decode()  # type: ignore[no-any-return] # only bytes have it

    # -- containers: mutable ones are made empty and filled afterwards, because they may contain themselves

    def _parts(self, jelly: Jelly) -> list[Value]:
        """Return the values after the type's name; some may be pending."""
        self._units -= CHEAP
        if self._units < 0:
            raise ProtocolError("limit-nodes", TOO_MUCH_WORK)
        self._keys.earn(len(jelly))
        get = self._readers.get
        parts: list[Value] = []
        append = parts.append
        for index in range(1, len(jelly)):
            item = jelly[index]
            if type(item) is list:
                # Lists go through the table as well. A compiled call by name would not count as a level of the stack,
                # so with a higher depth limit a message could overflow the stack and end the process.
                read = get(item[0])
                append(self._copy(item) if read is None else read(self, item))
            else:
                append(item)
        return parts

    def _list(self, jelly: Jelly, into: list[Value] | None = None) -> list[Value]:
        pending_uses = self._pending_uses
        parts = self._parts(jelly)
        if into is None:
            into = parts
        else:
            into.extend(parts)
        if self._pending_uses != pending_uses:
            for index, item in enumerate(into):
                if type(item) is _Pending:
                    item.when_known(partial(into.__setitem__, index))
        return into

    def _dictionary(self, jelly: Jelly, into: dict[Value, Value] | None = None) -> dict[Value, Value]:
        if into is None:
            into = {}
        check: KeyCheck | None = None
        value = self._value
        self._units -= CHEAP
        if self._units < 0:
            raise ProtocolError("limit-nodes", TOO_MUCH_WORK)
        self._keys.earn(len(jelly))
        pairs = iter(jelly)
        next(pairs)
        for pair in pairs:
            if type(pair) is not list:
                raise DecodeError("a dictionary is made of pairs")
            key, item = pair
            if type(key) is list:
                key = value(key)
            if type(item) is list:
                item = value(item)
            if type(key) is str and type(item) is not _Pending:
                into[key] = item  # the last one of duplicate keys wins, as in every classic peer
                continue
            if check is None:
                check = KeyCheck(self._keys)
            if type(key) is _Pending:
                self._wait_for([key, item], tuple).when_known(partial(_put, into, check))
            elif type(item) is _Pending:  # insert it now, because dictionaries have an order
                _put(into, check, (key, item))
                item.when_known(partial(_replace, into, key, item))
            else:
                _put(into, check, (key, item))
        return into

    def _set(self, jelly: Jelly, into: set[Value] | None = None) -> set[Value]:
        items = set() if into is None else into
        check = KeyCheck(self._keys)

        def add(item: Value) -> None:
            check(item)
            items.add(item)

        for item in self._parts(jelly):
            if type(item) is _Pending:
                item.when_known(add)
            else:
                add(item)
        return items

    def _tuple(self, jelly: Jelly) -> Value:
        pending_uses = self._pending_uses
        return self._made(self._parts(jelly), pending_uses, tuple)

    def _frozenset(self, jelly: Jelly) -> Value:
        pending_uses = self._pending_uses
        return self._made(self._parts(jelly), pending_uses, partial(_frozen, self._keys))

    def _made(self, parts: list[Value], pending_uses: int, make: Callable[[list[Value]], Value]) -> Value:
        """Return ``make(parts)``, or a pending value when a part is pending.

        Args:
            parts: that have just been read.
            pending_uses: ``self._pending_uses`` before they were read.
            make: such as ``tuple``.
        """
        if self._pending_uses != pending_uses and any(type(part) is _Pending for part in parts):
            return self._wait_for(parts, make)
        return make(parts)

    def _wait_for(self, parts: list[Value], make: Callable[[list[Value]], Value]) -> _Pending:
        self._unresolved += 1
        self._pending_uses += 1
        return _gather(parts, make, self._resolved)

    def _resolved(self) -> None:
        self._unresolved -= 1

    # -- sharing

    def _reference(self, jelly: Jelly) -> Value:
        self.spend(CHEAP)
        _, number, inner = jelly
        known = self._known
        if type(number) is not int or number.bit_length() > MAX_KEY_BITS or number in known:
            raise DecodeError("a reference number is a small integer, used once")
        if type(inner) is not list:
            raise DecodeError("a reference stands before a list")
        read = self._readers.get(inner[0])
        container = _CONTAINERS.get(inner[0])
        if read is None and len(inner) == 2 and (value := self._blank(inner)) is not None:
            known[number] = value
            self._set_state(value, inner)
        elif read is not None and container is not None:
            known[number] = value = container()
            read(self, inner, value)
        else:
            pending = known[number] = _Pending()
            self._unresolved += 1
            known[number] = value = self._value(inner)
            self._unresolved -= 1
            if value is pending:
                raise DecodeError("a reference to nothing but itself")
            if type(value) is _Pending:
                value.when_known(partial(known.__setitem__, number))
            pending.resolve(value)
        return value

    def _dereference(self, jelly: Jelly) -> Value:
        _, number = jelly
        if type(number) is not int or number not in self._known:
            raise DecodeError("a reference number that was never defined")
        value = self._known[number]
        if type(value) is _Pending:
            self._pending_uses += 1
        return value

    # -- flavors

    def _remote(self, jelly: Jelly) -> Value:
        _, luid = jelly
        self.spend(CHEAP)
        luid = _small_id(luid)
        self._taken += 1
        return self._importer.import_reference(luid, self._perspective)

    def _local(self, jelly: Jelly) -> Value:
        _, luid = jelly
        if type(luid) is bytes:
            luid = luid.decode()
        if type(luid) is not int and type(luid) is not str:
            raise DecodeError("an object id is an integer or a name")
        return self._importer.local_object(luid)

    def _cached(self, jelly: Jelly) -> Value:
        _, luid = jelly
        self.spend(CHEAP)
        luid = _small_id(luid)
        self._taken += 1
        return self._importer.import_cache(luid)

    def _lcache(self, jelly: Jelly) -> Value:
        _, luid = jelly
        return self._importer.local_cache(_small_id(luid))

    def _failure(self, jelly: Jelly) -> Exception:
        self.spend(COSTLY)
        _fields(jelly, 2)
        state = self._value(jelly[1]) if type(jelly[1]) is list else jelly[1]
        return failure_from_state(state).as_exception(self._registry, self._policy)

    def _class(self, jelly: Jelly) -> type | None:
        """Return the class registered under the list's tag; None when a factory is registered instead.

        Raises:
            InsecureJelly: neither is registered, or this connection may not use it.
        """
        if type(jelly[0]) is not bytes:
            raise DecodeError("a list must start with a type's name")
        return find_class(jelly[0].decode(), self._registry, self._policy)

    def _blank(self, jelly: Jelly) -> Value:
        """Return an instance without state, because the state may refer to it; None when a factory makes the object."""
        self.spend(COSTLY)
        cls = self._class(jelly)
        return None if cls is None else instance(cls)

    def _copy(self, jelly: Jelly) -> Value:
        self.spend(COSTLY)
        cls = self._class(jelly)
        if len(jelly) == 3:
            return self._introduce(cls, jelly)
        if cls is not None:
            value = instance(cls)
            self._set_state(value, jelly)
            return value
        factory = self._registry.find_factory(jelly[0].decode())
        assert factory is not None
        state, complete = self._state(jelly)
        if not complete:
            raise DecodeError("a state that contains its own object, which only a factory can make")
        return made(factory, state, self._keys)

    def _introduce(self, cls: type | None, jelly: Jelly) -> Value:
        """Decode a cacheable that is sent for the first time: tag, id, state."""
        luid = _small_id(jelly[1])
        if cls is None or not issubclass(cls, RemoteCache):
            raise InsecureJelly("a cacheable needs a class registered that is a RemoteCache")
        self._taken += 1
        value = self._importer.introduce_cache(luid, cls)
        self._unbuilt.add(luid)
        deferred = len(self._deferred_states)
        self._set_state(value, jelly, 3)
        if len(self._deferred_states) == deferred:
            self._unbuilt.discard(luid)
        else:  # these run in order, so its state is set by then
            self._deferred_states.append(partial(self._unbuilt.discard, luid))
        return value

    def _set_state(self, value: Value, jelly: Jelly, fields: int = 2) -> None:
        state, complete = self._state(jelly, fields)
        if complete:
            guarded(value.set_copyable_state, state)
        else:
            self._deferred_states.append(partial(guarded, value.set_copyable_state, state))

    def _state(self, jelly: Jelly, fields: int = 2) -> tuple[Value, bool]:
        """Return the state after a type tag, and whether all of it is complete."""
        _fields(jelly, fields)
        state = jelly[-1]
        pending_uses = self._pending_uses
        if type(state) is list:
            state = self._value(state)
        if type(state) is _Pending:
            raise DecodeError("a state that contains its own object in a way that cannot be built")
        return state, self._pending_uses == pending_uses


#: First word of a list -> its reader, called with the unjellier, the list, and for some types the container to fill.
Readers: TypeAlias = dict[bytes, Callable[..., Value]]


def _costly(make: Callable[[Jelly], Value]) -> Callable[[Unjellier, Jelly], Value]:
    """Return the reader of a scalar."""

    def read(unjellier: Unjellier, jelly: Jelly) -> Value:
        unjellier.spend(COSTLY)
        return make(jelly)

    return read


_READERS: Final[Readers] = {
    b"None": Unjellier._none,
    b"boolean": Unjellier._boolean,
    b"unicode": Unjellier._unicode,
    **{word: _costly(make) for word, make in SCALARS.items()},
    b"list": Unjellier._list,
    b"dictionary": Unjellier._dictionary,
    b"set": Unjellier._set,
    b"tuple": Unjellier._tuple,
    b"frozenset": Unjellier._frozenset,
    b"reference": Unjellier._reference,
    b"dereference": Unjellier._dereference,
    b"remote": Unjellier._remote,
    b"local": Unjellier._local,
    b"cached": Unjellier._cached,
    b"lcache": Unjellier._lcache,
    FAILURE_TAG: Unjellier._failure,
}

#: Types that the native path decodes, by their words.
_PLAIN: Final = ("None", "boolean", "dictionary", "list", "tuple", "unicode")

#: Types whose readers can fill an existing container.
_CONTAINERS: Final[dict[bytes, Callable[[], Value]]] = {b"list": list, b"dictionary": dict, b"set": set}


def readers_for(policy: Policy) -> Readers:
    """Return the readers of the types that ``policy`` allows; made once per connection."""

    def refuse(unjellier: Unjellier, jelly: Jelly, into: Value = None) -> NoReturn:
        raise InsecureJelly(f"values of type {jelly[0].decode()} are not allowed here")

    return {
        word: read if word == FAILURE_TAG or policy.allows_type(word.decode()) else refuse
        for word, read in _READERS.items()
    }


def allows_plain(policy: Policy) -> bool:
    """Return whether a policy allows every type that the native path decodes."""
    return all(map(policy.allows_type, _PLAIN))


def _gather(
    parts: list[Value], make: Callable[[list[Value]], Value], resolved: Callable[[], None]
) -> _Pending:
    """Return a pending value that becomes ``make(parts)`` when the last pending part is known."""
    indices_of: dict[_Pending, list[int]] = {}
    for index, part in enumerate(parts):
        if type(part) is _Pending:
            indices_of.setdefault(part, []).append(index)
    whole = _Pending()
    missing = len(indices_of)

    def put(indices: list[int], known: Value) -> None:
        nonlocal missing
        for index in indices:
            parts[index] = known
        missing -= 1
        if not missing:
            resolved()
            whole.resolve(make(parts))

    for part, indices in indices_of.items():
        part.when_known(partial(put, indices))
    return whole


def _counted(jelly: Undecoded) -> Iterator[Jelly]:
    """Yield the references and replicas in a value that its sender has counted, in the order of decoding."""
    left = [jelly]
    while left:
        part = left.pop()
        if type(part) is not list or not part:
            continue
        word = part[0]
        if type(word) is bytes and len(part) > 1 and type(part[1]) is int:
            is_reference = (word == b"remote" or word == b"cached") and len(part) == 2
            if is_reference or (word not in _READERS and len(part) == 3):
                yield part
        if word == b"dictionary":  # a pair is not a value: its first part may look like a type's name
            part = [half for pair in part[1:] if type(pair) is list for half in pair]
        left.extend(reversed(part))


def _fields(jelly: Jelly, count: int) -> None:
    if len(jelly) != count:
        raise DecodeError(
            f"{jelly[0].decode('ascii', 'replace')[:32]} takes {count - 1} fields, not {len(jelly) - 1}"
        )


def _small_id(luid: object) -> int:
    """Return the id of an object or replica of the peer; ids are keys of our tables."""
    if type(luid) is not int or luid < 0 or luid.bit_length() > MAX_KEY_BITS:
        raise DecodeError("an id is a small positive integer")
    return luid


def _put(into: dict[Value, Value], check: KeyCheck, pair: tuple[Value, Value]) -> None:
    check(pair[0])
    into[pair[0]] = pair[1]


def _replace(into: dict[Value, Value], key: Value, pending: _Pending, known: Value) -> None:
    if into[key] is pending:  # otherwise the key was sent again
        into[key] = known


def _frozen(keys: KeyBudget, parts: list[Value]) -> frozenset[Value]:
    check = KeyCheck(keys)
    for part in parts:
        check(part)
    return frozenset(parts)
