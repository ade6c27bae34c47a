"""The names of ``twisted.spread.util``: local objects that look remote, and values sent page by page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet import defer, interfaces
from twisted.protocols import basic
from twisted.python.failure import Failure
from zope.interface import implementer

from .flavors import Referenceable
from .registry import called_as_in_twisted

__all__ = [
    "CallbackPageCollector",
    "FilePager",
    "LocalAsRemote",
    "LocalAsyncForwarder",
    "LocalMethod",
    "Pager",
    "StringPager",
    "getAllPages",
]


class LocalMethod:
    """A method of a :class:`LocalAsRemote`, to be called like a function."""

    def __init__(self, local: LocalAsRemote, name: str) -> None:
        self.local = local
        self.name = name

    def __call__(self, *args: Any, **kw: Any) -> Any:
        return self.local.callRemote(self.name, *args, **kw)


class LocalAsRemote:
    """An object that is called as if it were remote: ``sync_*`` answers as it is, ``async_*`` through a Deferred."""

    reportAllTracebacks: Any = 1

    def callRemote(self, name: str, *args: Any, **kw: Any) -> Any:
        """Call ``sync_<name>``, or else ``async_<name>``."""
        at_once = getattr(self, "sync_" + name, None)
        if at_once is not None:
            return at_once(*args, **kw)
        try:
            return defer.succeed(getattr(self, "async_" + name)(*args, **kw))
        except Exception:
            failure = Failure()
            if self.reportAllTracebacks:
                failure.printTraceback()
            return defer.fail(failure)

    def remoteMethod(self, name: str) -> LocalMethod:
        """Return the method ``name``."""
        return LocalMethod(self, name)


class LocalAsyncForwarder:
    """Calls a local object as if it were remote, through what its interface names.

    Args:
        forwarded: the object.
        interfaceClass: what it provides.
        failWhenNotImplemented: whether any other name fails; it is answered with None otherwise.
    """

    def __init__(self, forwarded: Any, interfaceClass: Any, failWhenNotImplemented: Any = 0) -> None:
        if not interfaceClass.providedBy(forwarded):
            raise TypeError(f"a {type(forwarded).__name__} does not provide {interfaceClass.__name__}")
        self.forwarded = forwarded
        self.interfaceClass = interfaceClass
        self.failWhenNotImplemented = failWhenNotImplemented

    def callRemote(self, method: str, *args: Any, **kw: Any) -> Any:
        """Call the object's method; return a Deferred."""
        if self.interfaceClass.queryDescriptionFor(method):
            return defer.maybeDeferred(getattr(self.forwarded, method), *args, **kw)
        if self.failWhenNotImplemented:
            return defer.fail(NotImplementedError(f"No Such Method in Interface: {method}"))
        return defer.succeed(None)


class Pager:
    """Sends pages to a collector of the peer, one whenever the transport is empty.

    Args:
        collector: a reference to what has ``remote_gotPage`` and ``remote_endedPaging``.
        callback: called with the rest of the arguments when the last page is sent.
    """

    def __init__(
        self, collector: Any, callback: Callable[..., object] | None = None, *args: Any, **kw: Any
    ) -> None:
        self.callback: Callable[..., object] | None = callback if callable(callback) else None
        self.callbackArgs = args
        self.callbackKeyword = kw
        self._stillPaging = 1
        self.collector = collector
        collector.broker.registerPageProducer(self)

    def stillPaging(self) -> Any:
        """Return whether there are more pages; otherwise call the collector and the callback. (For the broker.)"""
        if not self._stillPaging:
            self.collector.callRemote("endedPaging", pbanswer=False)
            if self.callback is not None:
                self.callback(*self.callbackArgs, **self.callbackKeyword)
        return self._stillPaging

    def sendNextPage(self) -> None:
        """Send one page. (For the broker.)"""
        self.collector.callRemote("gotPage", self.nextPage(), pbanswer=False)

    def nextPage(self) -> Any:
        """Return the next page; override it."""
        raise NotImplementedError

    def stopPaging(self) -> None:
        """End the pages."""
        self._stillPaging = 0


class StringPager(Pager):
    """Sends a string in pages of ``chunkSize``."""

    def __init__(
        self,
        collector: Any,
        st: Any,
        chunkSize: int = 8192,
        callback: Callable[..., object] | None = None,
        *args: Any,
        **kw: Any,
    ) -> None:
        self.string = st
        self.pointer: int = 0
        self.chunkSize = chunkSize
        super().__init__(collector, callback, *args, **kw)

    def nextPage(self) -> Any:
        page = self.string[self.pointer : self.pointer + self.chunkSize]
        self.pointer += self.chunkSize
        if self.pointer >= len(self.string):
            self.stopPaging()
        return page


@implementer(interfaces.IConsumer)
class FilePager(Pager):
    """Sends a file, reading it as it goes.

    Args:
        fd: an open binary file.
    """

    def __init__(
        self,
        collector: Any,
        fd: Any,
        callback: Callable[..., object] | None = None,
        *args: Any,
        **kw: Any,
    ) -> None:
        self.chunks: list[bytes] = []
        self.producer: Any = None
        super().__init__(collector, callback, *args, **kw)
        self.startProducing(fd)

    def startProducing(self, fd: Any) -> None:
        """Begin to read."""
        self.deferred = basic.FileSender().beginFileTransfer(fd, self)
        self.deferred.addBoth(lambda last: self.stopPaging())

    def registerProducer(self, producer: Any, streaming: Any) -> None:
        self.producer = producer
        if not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        self.producer = None

    def write(self, chunk: bytes) -> None:
        self.chunks.append(chunk)

    def sendNextPage(self) -> None:
        """Send the data that was read, and read on. (For the broker.)"""
        if not self.chunks:
            return
        page = self.chunks.pop(0)
        if self.producer is not None:
            self.producer.resumeProducing()
        self.collector.callRemote("gotPage", page, pbanswer=False)


class CallbackPageCollector(Referenceable):
    """Collects pages, and calls ``callback`` with their list when the last one has arrived."""

    def __init__(self, callback: Callable[[list[Any]], object]) -> None:
        self.pages: list[Any] = []
        self.callback = callback

    def remote_gotPage(self, page: Any) -> None:
        self.pages.append(page)

    def remote_endedPaging(self) -> None:
        self.callback(self.pages)


def getAllPages(referenceable: Any, methodName: str, *args: Any, **kw: Any) -> Any:
    """Call a method that takes a collector first; return a Deferred of the list of pages.

    It fails when the call does: a method that raised sends no page.
    """
    pages: Any = defer.Deferred()
    call = referenceable.callRemote(methodName, CallbackPageCollector(pages.callback), *args, **kw)
    call.addErrback(lambda failure: None if pages.called else pages.errback(failure))
    return pages


called_as_in_twisted(
    "util",
    CallbackPageCollector,
    FilePager,
    LocalAsRemote,
    LocalAsyncForwarder,
    LocalMethod,
    Pager,
    StringPager,
)
