"""A dialect with a defect, to be put into a broker that works."""

from __future__ import annotations

from typing import Any

from perspective_broker.ports import Dialect
from perspective_broker.session import Broker

__all__ = ["break_dialect"]


class _Broken(Dialect):
    """A dialect that raises where the method ``where`` is used."""

    def __init__(self, dialect: Dialect, where: str) -> None:
        super().__init__(dialect.name, dialect.features)
        self._dialect = dialect
        self._where = where

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("_"):
            return super().__getattribute__(name)
        if name == self._where:
            raise ZeroDivisionError("a defect")
        return getattr(self._dialect, name)


def break_dialect(broker: Broker, where: str) -> None:
    """Let the dialect of a broker raise ZeroDivisionError from now on where its method ``where`` is used."""
    broker._context.use_dialect(_Broken(broker.dialect, where))
