"""The blocking face: for scripts, notebooks, threads and synchronous frameworks.

::

    from perspective_broker import blocking

    with blocking.connect("tcp://127.0.0.1:8787") as root:
        print(root.greet("world"))

The connections live in an event loop that runs in a thread of its own; any other thread may call, and waits for the
answer.
"""

from .answers import wait
from .connecting import Connected, connect
from .deadlines import deadline
from .remotes import Remote, RemoteAlways
from .retrying import retry
from .serving import Server, serve
from .threads import EventLoopThread

__all__ = [
    "Connected",
    "EventLoopThread",
    "Remote",
    "RemoteAlways",
    "Server",
    "connect",
    "deadline",
    "retry",
    "serve",
    "wait",
]
