"""The gate: who may ask the monitor. Loopback is every user of the machine, and every page in their browsers.

- A token, in the url that is printed, in a cookie that the page's answer sets, or in ``Authorization: Bearer``.
- The Host of the request, so that no name of a stranger's can be made to lead here (DNS rebinding).

A Unix socket has the permissions of its file instead.
"""

from __future__ import annotations

import hmac
import secrets
from ipaddress import ip_address

__all__ = ["Gate"]


class Gate:
    """Judges requests.

    Args:
        host: that was listened on; None for a Unix socket, which needs no token.
        port: that was bound.
    """

    def __init__(self, host: str | None, port: int) -> None:
        self.token: str = "" if host is None else secrets.token_urlsafe(24)
        self._host = host
        self._port = port
        self.cookie: str = f"pb-monitor-{port}"

    def knows_host(self, named: str) -> bool:
        """Whether the Host of a request is this server's."""
        if self._host is None:
            return True
        name, colon, port = named.rpartition(":")
        if not colon or port.endswith("]"):
            name, port = named, "80"
        if port != str(self._port):
            return False
        name = name.strip("[]").lower()
        if name in (self._host.lower(), "localhost") and (name != "localhost" or _is_loopback(self._host)):
            return True
        try:
            address = ip_address(name)
        except ValueError:
            return False
        # A name can be made to lead here, an address cannot. Where everything is listened on, any of ours will do.
        return address.is_loopback if _is_loopback(self._host) else self._host in ("", "0.0.0.0", "::")

    def admits(self, query: str, cookies: str, authorization: str) -> bool:
        """Whether a request shows the token."""
        if not self.token:
            return True
        shown = [authorization[7:]] if authorization[:7].lower() == "bearer " else []
        shown += [part[6:] for part in query.split("&") if part.startswith("token=")]
        for part in cookies.split(";"):
            name, _, value = part.strip().partition("=")
            if name == self.cookie:
                shown.append(value)
        token = self.token.encode()
        return any(hmac.compare_digest(one.encode("utf-8", "replace"), token) for one in shown[:8])


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
