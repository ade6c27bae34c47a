"""The names of ``twisted.spread.publish``: replicas that are kept on disk between connections."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from twisted.internet import defer

from . import banana, flavors, jelly
from .registry import called_as_in_twisted

__all__ = ["Publishable", "RemotePublished", "whenReady"]


class Publishable(flavors.Cacheable):
    """An object whose peers fetch its state only if it has changed since the last time.

    Args:
        publishedID: what it is called, the same in every session.
    """

    def __init__(self, publishedID: Any) -> None:
        self.republish()
        self.publishedID = publishedID

    def republish(self) -> None:
        """Record that the state has changed, so that later peers fetch it."""
        self.timestamp: float = time.time()

    def view_getStateToPublish(self, perspective: Any) -> Any:
        return self.getStateToPublishFor(perspective)

    def getStateToPublishFor(self, perspective: Any) -> Any:
        """Return the state for one perspective."""
        return self.getStateToPublish()

    def getStateToPublish(self) -> Any:
        """Return the state; override it."""
        raise NotImplementedError(f"{type(self).__name__}.getStateToPublish")

    def getStateToCacheAndObserveFor(self, perspective: Any, observer: Any) -> Any:
        who = perspective.perspectiveName if perspective else "None"
        where = perspective.getService().serviceName if perspective else "None"
        return {
            "remote": flavors.ViewPoint(perspective, self),
            "publishedID": self.publishedID,
            "perspective": who,
            "service": where,
            "timestamp": self.timestamp,
        }


class RemotePublished(flavors.RemoteCache):
    """The form in which a :class:`Publishable` arrives: from a file if that is current, otherwise fetched."""

    isActivated: Any = 0
    _wasCleanWhenLoaded: Any = 0

    def getFileName(self, ext: str = "pub") -> str:
        """Return the file of the state. The peer chooses the name, but never the directory."""
        parts = (self.service, self.perspective, self.publishedID)  # type: ignore[attr-defined]
        return "-".join(quote(str(part), safe=" ") for part in parts) + f".{ext}"

    def setCopyableState(self, state: Any) -> None:
        super().setCopyableState(state)
        self._activationListeners: list[Callable[[Any], object]] = []
        kept = self._load()
        if kept is None:
            self.remote.callRemote("getStateToPublish").addCallbacks(self._cbGotUpdate)  # type: ignore[attr-defined]
        else:
            self._cbGotUpdate(kept)
            self._wasCleanWhenLoaded = 1

    def _load(self) -> Any:
        """Return the stored state, or None when it is missing or older than the peer's."""
        try:
            with open(self.getFileName(), "rb") as file:
                kept = jelly.unjelly(banana.decode(file.read()), jelly.SecurityOptions.of_plain_values())
        except (OSError, banana.BananaError, jelly.InsecureJelly):
            return None
        return kept if isinstance(kept, dict) and kept.get("timestamp") == self.timestamp else None  # type: ignore[attr-defined]

    def __getstate__(self) -> Any:
        mine = ("remote", "_activationListeners", "isActivated", "_wasCleanWhenLoaded")
        return {name: value for name, value in self.__dict__.items() if name not in mine}

    def _cbGotUpdate(self, newState: Any) -> None:
        self.__dict__.update(newState)
        self.isActivated = 1
        listeners, self._activationListeners = self._activationListeners, []
        for listener in listeners:
            listener(self)
        self.activated()
        with open(self.getFileName(), "wb") as file:
            file.write(banana.encode(jelly.jelly(self.__getstate__())))

    def activated(self) -> None:
        """Called when the state has arrived."""

    def callWhenActivated(self, callback: Callable[[Any], object]) -> None:
        """Call ``callback(self)`` when the state has arrived, or immediately if it has."""
        if self.isActivated:
            callback(self)
        else:
            self._activationListeners.append(callback)


def whenReady(d: Any) -> Any:
    """Return a Deferred of the :class:`RemotePublished` of ``d``, when its state has arrived."""
    ready: Any = defer.Deferred()
    d.addCallbacks(lambda published: published.callWhenActivated(ready.callback), ready.errback)
    return ready


called_as_in_twisted("publish", Publishable, RemotePublished)
