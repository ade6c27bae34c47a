"""Failed logins over several workers, where the store does not count them: the parent does.

A worker counts an attempt at the parent before it is checked, so that attempts at several workers see each other, and
gets the delay with the same answer. A source that was refused at one worker is known to the others when they next
refuse something from it: guessing costs what it costs at one process, but for one attempt more for each worker.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

from ..aio import RemoteReference
from ..cred.attempts import AttemptTable, SourceTable
from ..cred.authorizer import StoreError
from ..errors import BrokerError
from ..flavors import Referenceable

__all__ = ["AttemptsAtParent", "CountedAttempts"]

#: Names with a delay that a worker remembers, for at most a minute each: an attacker invents them.
_MOST_NAMES: Final = 16_384


class CountedAttempts(Referenceable):
    """The failed logins of all workers; lives in the parent."""

    def __init__(self) -> None:
        self._names = AttemptTable()
        self._sources = SourceTable()

    def remote_begin(self, name: str) -> float:
        """Count an attempt as failed, and return for how many seconds its answer has to wait."""
        now = _now()
        self._names.record_failure(name, now)
        return self._names.delay_for(name, now)

    def remote_succeeded(self, name: str) -> None:
        """Forget the failures of a name."""
        self._names.record_success(name)

    def remote_refused(self, source: str) -> float:
        """Count a refusal of a source, and return those that time has not forgiven."""
        now = _now()
        self._sources.record_failure(source, now)
        return self._sources.failures(source, now)


class AttemptsAtParent:
    """The same in a worker: a :class:`perspective_broker.cred.admission.AttemptCounter`.

    Args:
        counted: the :class:`CountedAttempts` of the parent.
    """

    def __init__(self, counted: RemoteReference) -> None:
        self._counted = counted
        self._until: OrderedDict[str, float] = OrderedDict()  # when an attempt of a name may be answered

    async def record_failure(self, name: str, now: float) -> bool | None:
        delay = await self._ask("begin", name)
        if delay > 0:
            # Not taken away by delay_for, because several attempts of one name may be under way.
            self._until[name] = max(now + delay, self._until.get(name, 0.0))
            self._until.move_to_end(name)
            if len(self._until) > _MOST_NAMES:
                self._until.popitem(last=False)
        return True

    async def delay_for(self, name: str, now: float) -> float:
        return max(0.0, self._until.get(name, 0.0) - now)

    async def record_refusal(self, name: str, source: str | None, now: float, *, counted: bool) -> float:
        return 0.0 if source is None else await self._ask("refused", source)

    async def record_success(self, name: str) -> None:
        self._until.pop(name, None)
        await self._counted.tell("succeeded", name)

    async def _ask(self, method: str, subject: str) -> float:
        try:
            return float(await self._counted.call(method, subject))
        except BrokerError as error:
            raise StoreError(f"the parent of this worker does not count logins: {error}") from error


def _now() -> float:
    return asyncio.get_running_loop().time()
