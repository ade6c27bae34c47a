"""State shared by the parts of a broker: the driver, the limits, the dialect, the lifecycle, the clock, the log."""

from __future__ import annotations

import logging
from typing import Final

from ..errors import ProtocolError
from ..limits import Limits
from ..ports import Dialect, Writer
from .deadlines import Deadlines
from .host import Host
from .lifecycle import Lifecycle
from .reports import Reports, SharedAllowance

__all__ = ["Closer", "Context"]


class Closer:
    """Ends the connection. The parts that meet a reason for it know only this; :class:`.ending.Ending` does it."""

    def fail(self, error: ProtocolError) -> None:
        """End the connection because the peer broke the protocol."""
        raise NotImplementedError

    def outgoing_settled(self) -> None:
        """Calls of ours have an outcome: while this side closes, its last message may be due."""
        raise NotImplementedError

    def incoming_begun(self) -> None:
        """Calls of the peer have begun: behind the peer's last message, the end may be due."""
        raise NotImplementedError


#: In the place of a dialect before the greeting. Nothing is asked of it but its name and features.
NOT_NEGOTIATED: Final = Dialect(Writer("", frozenset()))


class Context:
    """State shared by the parts of one broker.

    Args:
        session: the broker; references and replicas carry it as the mark of their connection.
        host: the driver.
        limits: what the peer may ask of us.
        now: the driver's clock.
        allowance: how much is logged about this peer and those that share it; None when none do.

    Attributes:
        dialect: the negotiation first, which has no name, the dialect that was agreed on then.
        writer: its writing half.
        is_classic: whether it is one of the classic dialects.
        closer: ends the connection.
    """

    closer: Closer

    def __init__(
        self, session: object, host: Host, limits: Limits, now: float, allowance: SharedAllowance | None
    ) -> None:
        self.session = session
        self.host = host
        self.limits: Limits = limits
        self.dialect: Dialect = NOT_NEGOTIATED
        self.writer: Writer = NOT_NEGOTIATED.writer
        self.is_classic: bool = False
        self.lifecycle: Lifecycle = Lifecycle()
        self.deadlines: Deadlines = Deadlines(limits, now)
        self.reports: Reports = Reports(allowance)

    def use_limits(self, limits: Limits) -> None:
        """Go by other limits from now on."""
        self.limits = limits
        self.deadlines.use_limits(limits)
        if self.dialect is not NOT_NEGOTIATED:
            self.dialect.use_limits(limits)

    def use_dialect(self, dialect: Dialect) -> None:
        """Speak ``dialect`` from now on."""
        self.dialect = dialect
        self.writer = dialect.writer
        self.is_classic = dialect.name != "pb7"

    def log(
        self,
        level: int,
        text: str,
        *args: object,
        error: BaseException | None = None,
        method: str = "",
        code: str = "",
    ) -> None:
        """Log a line about this peer, as far as its allowance goes; see :meth:`.Reports.say`."""
        self.reports.say(self.deadlines.heard, level, text, *args, error=error, method=method, code=code)

    def log_defect(self, error: Exception) -> None:
        """Log an exception that nothing in this library expects."""
        self.log(logging.ERROR, "closing the connection because of an error in this library", error=error)
