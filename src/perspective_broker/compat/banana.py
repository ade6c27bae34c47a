"""banana under Twisted's names: the protocol class, and the two functions. The tokens are the dialect's own business.

:class:`Banana` is for programs that use the format by itself; a :class:`~.pb.Broker` does not need it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any, ClassVar, Final

from twisted.internet import protocol
from twisted.python import log
from twisted.python.reflect import fullyQualifiedName

from ..dialects.classic import banana as tokens
from ..dialects.classic import vocabulary
from ..errors import ProtocolError, SerializationError
from ..limits import Limits
from .registry import called_as_in_twisted

__all__ = [
    "FLOAT",
    "HIGH_BIT_SET",
    "INT",
    "LIST",
    "LONGINT",
    "LONGNEG",
    "NEG",
    "SIZE_LIMIT",
    "STRING",
    "VOCAB",
    "Banana",
    "BananaError",
    "b1282int",
    "decode",
    "encode",
    "int2b128",
    "setPrefixLimit",
]

LIST, INT, STRING, NEG, FLOAT, LONGINT, LONGNEG, VOCAB = (bytes((kind,)) for kind in range(0x80, 0x88))
HIGH_BIT_SET: Final = b"\x80"

#: Bytes of a string and items of a list, read and sent. A program may set another; both sides of a connection have to.
SIZE_LIMIT = Limits().string_bytes

_SPELLINGS: Final = {None: vocabulary.NONE, b"none": vocabulary.NONE, b"pb": vocabulary.PB}


class BananaError(Exception):
    """A received item is too large, or a value to send has no encoding."""

    __module__ = "twisted.spread.banana"


class _BadToken(BananaError, NotImplementedError, KeyError):
    """A type byte or a word that does not exist; Twisted raises one of the last two, depending on which."""

    __str__ = Exception.__str__


def int2b128(integer: int, stream: Callable[[bytes], object]) -> None:
    """Hand the base-128 digits of a positive integer to ``stream``."""
    if integer < 0:
        raise ValueError("only positive integers have base-128 digits")
    stream(vocabulary.base128(integer))


def b1282int(st: bytes) -> int:
    """Return the integer that base-128 digits stand for."""
    number = 0
    for digit in reversed(st):
        number = number << 7 | digit
    return number


def current_limits(prefix_limit: int | None = None) -> Limits:
    """Return the limits with the sizes of SIZE_LIMIT; the same object as long as that does not change.

    Args:
        prefix_limit: base-128 digits of an integer; as usual when None.
    """
    return _limits_for(SIZE_LIMIT, prefix_limit)


@lru_cache(maxsize=8)
def _limits_for(size: int, prefix_limit: int | None) -> Limits:
    """Return the limits for strings and lists of ``size``; the bounds of whole messages grow with it."""
    usual = Limits()
    times = max(1.0, size / usual.string_bytes)
    return replace(
        usual,
        string_bytes=size,
        list_items=size,
        message_bytes=int(usual.message_bytes * times),
        nodes=int(usual.nodes * times),
        observer_backlog_bytes=int(usual.observer_backlog_bytes * times),
        int_bits=usual.int_bits if prefix_limit is None else 7 * prefix_limit,
    )


_prefix_limit = tokens.MAX_DIGITS


def setPrefixLimit(limit: int) -> None:
    """Let connections made from now on read and send integers of ``limit`` base-128 digits.

    Reading never goes beyond 64, whatever is set here.
    """
    global _prefix_limit
    _prefix_limit = limit


class Banana(protocol.Protocol):
    """Expressions both ways: give them to :meth:`sendEncoded`, override :meth:`expressionReceived`.

    Args:
        isClient: whether this side picks the dialect from the server's list.
    """

    transport: Any
    knownDialects: ClassVar[Any] = [b"pb", b"none"]
    prefixLimit: int | None = None
    sizeLimit = SIZE_LIMIT
    currentDialect: bytes | None = None

    incomingVocabulary: ClassVar[Any] = dict(vocabulary.BY_NUMBER)
    outgoingVocabulary: ClassVar[Any] = {word: number for number, word in vocabulary.BY_NUMBER.items()}

    def __init__(self, isClient: Any = 1) -> None:
        self.isClient = isClient
        self._decoder = tokens.Decoder(self._limits, has_words=False)

    @property
    def _limits(self) -> Limits:
        return current_limits(self.prefixLimit)

    def setPrefixLimit(self, limit: int) -> None:
        """Like the function :func:`setPrefixLimit`, but only for this connection."""
        self.prefixLimit = limit

    def connectionMade(self) -> None:
        self.setPrefixLimit(_prefix_limit)
        self.currentDialect = None
        if not self.isClient:
            self.sendEncoded(self.knownDialects)

    def _selectDialect(self, dialect: bytes) -> None:
        rest = self._decoder.take_rest()
        self.currentDialect = dialect
        self._decoder = tokens.Decoder(self._limits, _SPELLINGS[dialect].has_words)
        self._decoder.receive_data(rest)
        self.connectionReady()

    def connectionReady(self) -> None:
        """Called when both sides have agreed on a dialect."""

    def dataReceived(self, chunk: bytes) -> None:
        self._decoder.limits = self._limits
        self._decoder.receive_data(chunk)
        while True:
            try:
                expression = self._decoder.next()
            except ProtocolError as error:
                kind = _BadToken if error.code == "bad-token" else BananaError
                raise kind(error.reason) from None
            if expression is tokens.NEED_MORE:
                return
            self.callExpressionReceived(expression)

    def callExpressionReceived(self, obj: Any) -> None:
        """Take one expression: the first one agrees on the dialect."""
        if self.currentDialect:
            self.expressionReceived(obj)
            return
        offered = obj if self.isClient else [obj]
        for dialect in offered if isinstance(offered, list) else ():
            if dialect in self.knownDialects:
                if self.isClient:
                    self.sendEncoded(dialect)
                self._selectDialect(dialect)
                return
        log.msg("The peer speaks no dialect of banana that this side knows: disconnecting.")
        self.transport.loseConnection()

    def expressionReceived(self, lst: Any) -> None:
        """Called with every expression; override it."""
        raise NotImplementedError

    def sendEncoded(self, obj: Any) -> None:
        """Send bytes, an integer, a float, or a list or tuple of such.

        Raises:
            BananaError: it is something else, or too large.
        """
        self.transport.write(_encoded(obj, _SPELLINGS[self.currentDialect], self._limits))


def _encoded(obj: Any, spelling: vocabulary.Spelling, limits: Limits) -> bytes:
    try:
        return tokens.encode(obj, spelling, limits, most_bits=sys.maxsize)
    except SerializationError as error:
        if error.culprit is None or isinstance(error.culprit, (bytes, int)):
            raise BananaError(str(error)) from None
        name = fullyQualifiedName(type(error.culprit))
        raise BananaError(f"Banana cannot send {name} objects: {error.culprit!r:.200}") from None


def encode(lst: Any) -> bytes:
    """Return an expression as bytes, in the dialect without words.

    Raises:
        BananaError: see :meth:`Banana.sendEncoded`.
    """
    return _encoded(lst, vocabulary.NONE, current_limits(_prefix_limit))


def decode(st: bytes) -> Any:
    """Return the first expression in ``st``.

    Raises:
        BananaError: the bytes are not banana, or not a whole expression.
    """
    whole: list[Any] = []
    reader = Banana()
    reader.setPrefixLimit(_prefix_limit)
    reader.currentDialect = b"none"
    reader.expressionReceived = whole.append  # type: ignore[assignment, method-assign]
    reader.dataReceived(st)
    if not whole:
        raise BananaError("the expression is not complete")
    return whole[0]


called_as_in_twisted("banana", Banana)
