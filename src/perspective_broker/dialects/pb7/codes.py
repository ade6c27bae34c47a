"""The numbers on the wire: operations and extension types, as in the tables of ``docs/wire/pb7.md``."""

from __future__ import annotations

from typing import Final

__all__ = [
    "ADDRESSED",
    "AGAIN",
    "ANSWER",
    "ARRAY",
    "CACHEABLE",
    "CACHED",
    "CALL",
    "CANCEL",
    "COMPLEX",
    "COPY",
    "DATE",
    "DATETIME",
    "DECACHE",
    "DECIMAL",
    "DICTIONARY",
    "DRAINING",
    "ERROR",
    "FAILURE",
    "FAREWELL",
    "FORGET",
    "FROZENSET",
    "GRAPH",
    "HELLO",
    "INTEGER",
    "KEEP_ANSWER",
    "LCACHE",
    "LOCAL",
    "LOCAL_NAMED",
    "MAX_MILLISECONDS",
    "MORE",
    "NESTED",
    "NODE",
    "PING",
    "POLICY_NAMES",
    "PONG",
    "PROMISE",
    "RELEASE",
    "REMOTE",
    "SET",
    "TIME",
    "TIMEDELTA",
    "TUPLE",
    "UNCACHE",
    "UPDATE",
    "UUID",
    "VERSION",
    "WANTS_ANSWER",
]

VERSION: Final = 7

# Operations. Numbers above 13 are reserved.
HELLO, CALL, ANSWER, ERROR, RELEASE, CANCEL, FORGET = range(7)
PING, PONG, FAREWELL, UPDATE, DECACHE, UNCACHE, DRAINING = range(7, 14)

#: Operations that carry values -> number of items before the values. An invalid value fails only its own call.
ADDRESSED: Final[dict[int, int]] = {CALL: 5, UPDATE: 5, ANSWER: 2, ERROR: 2}

# Extension types: values for which MessagePack does not have a form,
TUPLE, SET, FROZENSET, DICTIONARY, INTEGER, DECIMAL, DATE, TIME, DATETIME, TIMEDELTA, UUID, COMPLEX = range(
    1, 13
)
# ... which older peers do not know,
MORE, ARRAY = 13, 14
# and objects by their flavor.
REMOTE, LOCAL, LOCAL_NAMED, COPY, AGAIN, FAILURE, GRAPH, NODE, CACHEABLE, CACHED, LCACHE, PROMISE = range(
    16, 28
)

# Flags of a call.
WANTS_ANSWER, KEEP_ANSWER = 1, 2

#: The longest deadline of a call on the wire: 49 days. A caller that allows more leaves the deadline out.
MAX_MILLISECONDS: Final = 2**32 - 1

#: Extensions whose payload contains values.
NESTED: Final = frozenset({TUPLE, SET, FROZENSET, DICTIONARY, MORE, COPY, FAILURE, GRAPH, CACHEABLE})

#: Names of the extension types in a policy. The others are always allowed, or checked by their class or kind.
POLICY_NAMES: Final[dict[int, str]] = {
    TUPLE: "tuple",
    SET: "set",
    FROZENSET: "frozenset",
    DICTIONARY: "dictionary",
    DECIMAL: "decimal",
    DATE: "date",
    TIME: "time",
    DATETIME: "datetime",
    TIMEDELTA: "timedelta",
    UUID: "uuid",
    COMPLEX: "complex",
    ARRAY: "array",
    REMOTE: "remote",
    LOCAL: "local",
    LOCAL_NAMED: "local",
    AGAIN: "dereference",
    GRAPH: "reference",
    CACHED: "cached",
    LCACHE: "lcache",
}
