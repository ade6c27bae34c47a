"""Workers: one service in several processes of a machine, for ``pb serve --workers``.

The parent binds the sockets and never closes them, starts the workers, and replaces them; it serves nobody itself::

                     ┌── socket of slot 1 ──▶ worker: the program, and its connections
    parent (binds) ──┼── socket of slot 2 ──▶ worker
       │             └── socket of slot 3 ──▶ worker
       └── a control connection to each: a pair of sockets that speaks pb7

A *slot* is a socket for each url and the worker that accepts from it. On Linux the sockets of all slots are bound to
the same address (``SO_REUSEPORT``), and the system distributes connections over them evenly. A connection that waits
in the queue of a socket is reset when the last process closes it; the parent keeps all open, so the queue waits for
the next worker of the slot. While a slot has none, a neighbour accepts from its socket as well.
"""

from __future__ import annotations

from .child import Child, child_of_this_process
from .parent import Parent
from .sockets import Bound, bind_all
from .statistics import Control, WorkerStatistics, add_up, of_one_process
from .systemd import Notifier, passed_sockets

__all__ = [
    "Bound",
    "Child",
    "Control",
    "Notifier",
    "Parent",
    "WorkerStatistics",
    "add_up",
    "bind_all",
    "child_of_this_process",
    "of_one_process",
    "passed_sockets",
]
