"""The monitor: what goes on in a server, shown to a person with a browser and to programs. It changes nothing.

::

    Monitor ──▶ transports.listen
       └▶ Talk (one browser) ──▶ Exchange (bytes in, bytes out; h11) ──▶ Gate: Host, token
                                     └▶ Views: the paths ──▶ Watched: the server

It is imported only when a server has a monitor, because it needs the extra ``monitor``.
"""

from .serving import Monitor
from .views import Watched

__all__ = ["Monitor", "Watched"]
