"""The one message of a connection that is being encoded, and what has to wait for it.

**Encoding is not reentrant.** Hooks of the application (``get_state_to_copy``, ...) run while a message is encoded and
may make calls. Such a call is deferred and encoded after the current message, because it may refer to an object which
that message introduces. It is made whether or not encoding the current message succeeds. An answer that is ready while
another message is encoded is deferred in the same way::

    enter() ──▶ begin() ──▶ hooks run ──▶ end() ──▶ what was deferred, first in, first out
                              │   ▲                      │   ▲
                              ▼   │                      ▼   │
                            defer(...)                 (each may defer more)

Calls that are made while the outcomes of other calls are looked at (by a hook, or by a method that runs here) are
deferred until all of them have been looked at: :meth:`Encoding.hold` and :meth:`Encoding.resume`.

**Content.** While a message is encoded it is noted what it refers to: objects of ours on which it gives the peer a
count, references and replicas that go home, answers on which it depends. If the call waits in the queue, or its answer
is kept, what the message refers to is held meanwhile.

**Updates** of live objects that were left for later are sent before anything else is encoded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from ..errors import ConnectionLost
from ..flavors import Reference, RemoteCache
from ..queues import Queue, put
from .caches import Observers
from .context import Context
from .observed import Observed
from .outgoing_call import Content, OutgoingCall

__all__ = ["Encoding"]

log: logging.Logger = logging.getLogger("perspective_broker")


class Encoding:
    """See the module.

    Attributes:
        is_active: whether a message is being encoded.
        content: what it refers to, when that is anything.
        dependencies: the calls to whose answers, which are not there yet, it refers; None when it depends on no call.
        may_depend: whether it may refer to such answers.
        refers_to_replica: whether it refers to a replica that was sent before.
    """

    def __init__(self, context: Context, observers: Observers) -> None:
        self._host = context.host
        self._lifecycle = context.lifecycle
        self._observers = observers
        self.is_active: bool = False
        self.content: Content | None = None
        self.dependencies: dict[OutgoingCall, None] | None = None
        self.may_depend: bool = False
        self.refers_to_replica: bool = False
        self._deferred: Queue[Callable[[], None]] = ()
        self._catches_up = False
        self._is_held = False
        self._updates: Queue[Callable[[], None]] = ()

    @property
    def defers_calls(self) -> bool:
        """Whether a call that is made now has to be deferred."""
        return self.is_active or self._is_held

    def enter(self) -> None:
        """A message is going to be encoded: what is made from now on is deferred. :meth:`end` follows in any case."""
        self.is_active = True

    def begin(self, may_depend: bool = False) -> None:
        """Encoding begins.

        Args:
            may_depend: whether the message may refer to the answers of calls that have not been answered.

        Raises:
            ConnectionLost: a hook of the application has ended the connection.
        """
        if self._updates:  # they were made before
            self.is_active = False
            self.send_updates()
            self.is_active = True
        self._lifecycle.check_open()
        self._observers.begin()
        self.refers_to_replica = False
        self.may_depend = may_depend

    def end(self) -> None:
        """The message was encoded, or could not be: make the calls and answers that were deferred."""
        self.is_active = False
        self.dependencies = None
        self.content = None
        if self._deferred and not (self._catches_up or self._is_held):
            self._catch_up()

    def defer(self, make: Callable[[], None]) -> None:
        """Call ``make`` when the present message is encoded."""
        self._deferred = put(self._deferred, make)

    def hold(self) -> bool:
        """Defer calls until :meth:`resume`; return whether they were not deferred already."""
        if self._is_held:
            return False
        self._is_held = True
        return True

    def resume(self) -> None:
        """Undo :meth:`hold`, and make what was deferred meanwhile."""
        self._is_held = False
        if self._deferred:
            self.end()

    @property
    def is_held(self) -> bool:
        """Whether calls are deferred by :meth:`hold`."""
        return self._is_held

    def _catch_up(self) -> None:
        self._catches_up = True
        try:
            while self._deferred:
                make = self._deferred.popleft()
                try:
                    make()
                except ConnectionLost:
                    pass
                except Exception:
                    log.exception("a call that was made while another message was encoded could not be sent")
        finally:
            self._catches_up = False

    # -- what the message refers to

    def note(self, entry: int | Observed | Reference | RemoteCache) -> None:
        """The message refers to ``entry``."""
        if self.content is None:
            self.content = []
        self.content.append(entry)

    def refer_to_replica(self) -> None:
        """The message refers to a replica that was sent before."""
        self.refers_to_replica = True

    def depend_on(self, call: OutgoingCall) -> None:
        """The message refers to the answer of ``call``, which is not there yet."""
        if self.dependencies is None:
            self.dependencies = {}
        self.dependencies[call] = None

    @property
    def introduces_replica(self) -> bool:
        """Whether the peer first hears of a replica in the message."""
        return self._observers.introduces

    # -- updates of live objects

    @property
    def has_updates(self) -> bool:
        """Whether updates are left to be sent."""
        return bool(self._updates)

    def update_soon(self, send: Callable[[], None]) -> None:
        """Call ``send``, which makes an update, before anything else is sent, or when the program waits."""
        self._updates = put(self._updates, send)
        if len(self._updates) == 1:
            self._host.wake()

    def send_updates(self) -> None:
        """Make the updates that were left for later, unless a message is being encoded."""
        if not self.is_active:
            updates, self._updates = self._updates, ()
            for send in updates:
                send()

    def drop_updates(self) -> None:
        """The connection has ended."""
        self._updates = ()
