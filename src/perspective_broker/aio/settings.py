"""The settings of ``serve`` and ``connect``, for all connections they make. A value; nothing is ambient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..dialects.offer import check_names
from ..flavors import Policy, Registry, default_registry
from ..limits import Limits
from .busypoll import MOST_SECONDS

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a connection.

    Attributes:
        limits: what the peer may ask of us.
        policy: what may be received.
        registry: what type tags mean.
        dialects: names to allow, best first; None for all.
        unsafe_tracebacks: whether the peer is sent the tracebacks of our exceptions.
        busy_poll: seconds that the event loop stays awake after something was sent; None lets it sleep.
        forward: whether references of other connections cross, and calls of them go through this program.
        describe: whether peers may ask what our objects offer, if they are of this machine or authenticated.
    """

    limits: Limits
    policy: Policy
    registry: Registry
    dialects: tuple[str, ...] | None
    unsafe_tracebacks: bool = False
    busy_poll: float | None = None
    forward: bool = False
    describe: bool = True

    @classmethod
    def of(
        cls,
        limits: Limits | None,
        policy: Policy | None,
        registry: Registry | None,
        dialects: Sequence[str] | None,
        unsafe_tracebacks: bool = False,
        busy_poll: float | None = None,
        forward: bool = False,
        describe: bool = True,
    ) -> Settings:
        """Return settings with the defaults where None was given.

        Raises:
            TypeError: something is of another type.
            ValueError: ``busy_poll`` is not such a time, or there is no dialect of a name.
        """
        for kind, given in ((Limits, limits), (Policy, policy), (Registry, registry)):
            if given is not None and not isinstance(given, kind):
                name = kind.__name__
                raise TypeError(f"{name.lower()} takes a pb.{name}, not {given!r:.100}")
        if busy_poll is not None and not 0 < busy_poll <= MOST_SECONDS:
            raise ValueError(
                f"busy_poll is a time in seconds, up to {MOST_SECONDS:g}, such as 100e-6; not {busy_poll!r}"
            )
        if isinstance(dialects, str):
            raise TypeError(f'dialects is a sequence of names, such as ("{dialects}",)')
        check_names(dialects)
        return cls(
            limits or Limits(),
            policy or Policy(),
            registry or default_registry,
            None if dialects is None else tuple(dialects),
            bool(unsafe_tracebacks),
            busy_poll,
            bool(forward),
            bool(describe),
        )
