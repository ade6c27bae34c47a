"""The life of a call of the peer, as a table: which state follows which, by which event.

The drawing in ``docs/understand/life-of-a-call.md`` is made from it (``python -m tests.architecture.call_states``).
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ARRIVED",
    "BEGINS",
    "DEPENDENT",
    "ENDED",
    "ENDS",
    "EVENTS",
    "NEXT_STATE",
    "QUEUED",
    "QUEUES",
    "RUNNING",
    "STATES",
    "STOPPING",
    "STOPS",
    "WAITS",
    "illegal",
]

# Integers, because every call goes through them several times.

ARRIVED: Final = 0  #: it has come, and is being decoded
DEPENDENT: Final = 1  #: it waits for answers of ours on which it depends
QUEUED: Final = 2  #: it is ready and waits for a slot
RUNNING: Final = 3  #: its method runs
STOPPING: Final = 4  #: its method is being stopped, and has not ended
ENDED: Final = 5  #: it has an outcome, or will not have one

#: The name and the meaning of each state.
STATES: Final = (
    ("arrived", "being decoded"),
    ("dependent", "waits for answers of ours on which it depends"),
    ("queued", "ready, waits for a slot"),
    ("running", "its method runs"),
    ("stopping", "cancelled or too late, its method cleans up"),
    ("ended", "answered, refused or abandoned"),
)

WAITS: Final = 0  #: it depends on answers that are not there
QUEUES: Final = 1  #: it is ready, and there is no slot
BEGINS: Final = 2  #: it is ready, and there is a slot; or it takes none
STOPS: Final = 3  #: the peer has cancelled it, its deadline has passed, or the connection ends
ENDS: Final = 4  #: its method has returned or raised, or it was refused

#: The name of each event.
EVENTS: Final = ("waits", "queues", "begins", "stops", "ends")

_NEVER: Final = -1

#: State * number of events + event -> the next state; -1 where the event cannot happen.
NEXT_STATE: Final = [
    # waits, queues, begins, stops, ends
    *(DEPENDENT, QUEUED, RUNNING, _NEVER, ENDED),  # arrived
    *(_NEVER, QUEUED, _NEVER, _NEVER, ENDED),  # dependent
    *(_NEVER, _NEVER, RUNNING, _NEVER, ENDED),  # queued
    *(_NEVER, _NEVER, _NEVER, STOPPING, ENDED),  # running
    *(_NEVER, _NEVER, _NEVER, _NEVER, ENDED),  # stopping
    *(_NEVER, _NEVER, _NEVER, _NEVER, _NEVER),  # ended
]


def illegal(state: int, event: int) -> AssertionError:
    """Return the error of an event that cannot happen in a state."""
    return AssertionError(f"a call that is {STATES[state][0]} never {EVENTS[event]}")
