"""A dialect with a defect, to be put into a broker that works."""

from __future__ import annotations

from typing import Any

from perspective_broker.ports import Dialect, Writer
from perspective_broker.session import Broker

__all__ = ["break_dialect"]


def _broken(of: Any, where: str, name: str) -> Any:
    """Return an attribute of the part ``of``, which has the defect."""
    if name == where:
        raise ZeroDivisionError("a defect")
    return getattr(of, name)


class _BrokenWriter(Writer):
    def __init__(self, writer: Writer, where: str) -> None:
        super().__init__(writer.name, writer.features)
        self._whole, self._where = writer, where

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("_"):
            return super().__getattribute__(name)
        return _broken(self._whole, self._where, name)


class _BrokenDialect(Dialect):
    def __init__(self, dialect: Dialect, where: str) -> None:
        super().__init__(_BrokenWriter(dialect.writer, where))
        self._whole, self._where = dialect, where

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("_") or name == "writer":
            return super().__getattribute__(name)
        return _broken(self._whole, self._where, name)


def break_dialect(broker: Broker, where: str) -> None:
    """Let the dialect of a broker raise ZeroDivisionError from now on where its method ``where`` is used."""
    broker._context.use_dialect(_BrokenDialect(broker.dialect, where))
