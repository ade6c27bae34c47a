"""Pyro5, in the best mode its documentation knows for each column."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any, ClassVar, Final

import Pyro5.api  # type: ignore[import-untyped, import-not-found, unused-ignore]

from bench import peer
from bench.values import MEBIBYTE, POINT_TAG

# marshal is the fastest of its serializers and carries bytes as they are, but knows neither classes inside of
# lists nor batches; msgpack, the next fastest, does.
_OBJECTS: Final = "msgpack"
Pyro5.api.config.SERIALIZER = "marshal"
Pyro5.api.config.SOCK_NODELAY = True
Pyro5.api.config.THREADPOOL_SIZE = 250


class Point:
    """The class by value."""

    def __init__(self, name: str, x: int, y: float) -> None:
        self.name, self.x, self.y = name, x, y


Pyro5.api.register_class_to_dict(
    Point, lambda point: {"__class__": POINT_TAG, "name": point.name, "x": point.x, "y": point.y}
)
Pyro5.api.register_dict_to_class(POINT_TAG, lambda name, state: Point(state["name"], state["x"], state["y"]))


@Pyro5.api.expose
class Token:
    """An object that is passed and dropped."""

    def ping(self) -> None:
        """Pyro5 does not pass objects without methods."""


@Pyro5.api.expose
class Observer:
    """Stands in for a replica."""

    def __init__(self, seen: Callable[[], None]) -> None:
        self.state: dict[str, Any] = {}
        self.seen = seen

    def set(self, key: str, value: int) -> None:
        self.state[key] = value
        self.seen()


@Pyro5.api.expose
@Pyro5.api.behavior(instance_mode="single")
class Root:
    """The served object."""

    def __init__(self, daemon: Any) -> None:
        self._daemon = daemon
        self._observers: list[Any] = []

    def echo(self, value: Any) -> Any:
        return value

    def swap(self, token: Any) -> Token:
        """The daemon holds objects that it has returned until ``drop`` is called."""
        answer = Token()
        self._daemon.register(answer)
        return answer

    @Pyro5.api.oneway  # type: ignore[untyped-decorator, unused-ignore]
    def drop(self, identity: str) -> None:
        self._daemon.unregister(identity)

    def live(self) -> int:
        return peer.count_live(Token)

    def watch(self, observer: Any) -> None:
        observer._pyroSerializer = _OBJECTS
        self._observers.append(observer)

    def unwatch(self) -> None:
        self._observers.clear()

    def publish(self, first: int, count: int) -> None:
        """One-way calls run in a thread each, in any order; one-way batches keep theirs."""
        for observer in self._observers:
            observer._pyroClaimOwnership()
            batch = Pyro5.api.BatchProxy(observer)
            for n in range(first, first + count):
                batch.set("n", n)
            batch(oneway=True)

    def chunks(self, total: int) -> Iterator[bytes]:
        for _ in range(0, total, len(MEBIBYTE)):
            yield MEBIBYTE


def serve(announce: peer.Announce) -> None:
    """Run the server until the process is ended."""
    daemon = Pyro5.api.Daemon(host="127.0.0.1", port=0)
    uri = daemon.register(Root(daemon))
    announce(str(uri))
    daemon.requestLoop()


class _ThreadSignal:
    def __init__(self) -> None:
        self._event = threading.Event()

    def fire(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        self._event.wait()


class Caller(peer.Caller):
    """Pyro5's client. It blocks; the coroutines here never wait for anything else."""

    notes: ClassVar[dict[str, str]] = {
        "one": "serializer marshal, its fastest",
        "inflight": "a batch: one message carries 200 calls, one carries all answers (msgpack); a proxy has "
        "only one request in flight",
        "copyables": "classes registered with the serializer (msgpack)",
        "refs": "one at a time, released by an explicit call: Pyro5 has no distributed release",
        "observers": "100 proxies to objects in the caller's daemon, a one-way batch of 10 updates for each",
        "stream": "a generator of chunks of 1 MiB (item streaming)",
    }
    point = Point

    async def open(self) -> None:
        self.proxies: list[Any] = []
        self.proxy = self._connect("marshal")
        self.daemon: Any = None

    def _connect(self, serializer: str) -> Any:
        proxy = Pyro5.api.Proxy(self.address)
        proxy._pyroSerializer = serializer
        proxy._pyroBind()
        self.proxies.append(proxy)
        return proxy

    async def close(self) -> None:
        if self.daemon is not None:
            self.proxy.unwatch()
            self.daemon.shutdown()
        for proxy in self.proxies:
            proxy._pyroRelease()

    async def echo(self, value: Any) -> Any:
        return self.proxy.echo(value)

    async def echoes(self, value: Any, seconds: float, width: int) -> tuple[int, float]:
        batch = Pyro5.api.BatchProxy(self._connect(_OBJECTS))
        count = 0
        start = now = peer.clock()
        while now - start < seconds:
            for _ in range(width):
                batch.echo(value)
            count += len(list(batch()))
            now = peer.clock()
        return count, now - start

    def make_points(self, states: list[tuple[str, int, float]]) -> list[Any]:
        self.objects = self._connect(_OBJECTS)
        return [Point(*state) for state in states]

    async def echo_points(self, points: list[Any]) -> list[Any]:
        answer: list[Any] = self.objects.echo(points)
        return answer

    async def swap(self) -> object:
        if self.daemon is None:
            self.objects = self._connect(_OBJECTS)
            self._listen()
        token = Token()
        self.daemon.register(token)
        answer = self.objects.swap(token)
        self.daemon.unregister(token)
        self.objects.drop(answer._pyroUri.object)
        return answer

    async def swaps(self, seconds: float, width: int) -> tuple[int, float]:
        return await self.window(self.swap, seconds, 1)

    async def live(self) -> int:
        return int(self.proxy.live())

    def live_here(self) -> int:
        return peer.count_live(Token)

    def _listen(self) -> None:
        """A daemon of our own, for objects that the server calls or holds."""
        Pyro5.api.config.SERVERTYPE = "multiplex"  # one thread for all of its connections
        self.daemon = Pyro5.api.Daemon(host="127.0.0.1", port=0)
        threading.Thread(target=self.daemon.requestLoop, daemon=True).start()

    async def subscribe(self, count: int, seen: Callable[[], None]) -> Iterable[dict[str, Any]]:
        self._listen()
        objects = self._connect(_OBJECTS)
        observers = [Observer(seen) for _ in range(count)]
        for observer in observers:
            self.daemon.register(observer)
            objects.watch(observer)
        return [observer.state for observer in observers]

    async def publish(self, first: int, count: int) -> None:
        self.proxy.publish(first, count)

    async def stream(self, total: int, seconds: float) -> int:
        received = 0
        stop = peer.clock() + seconds
        for chunk in self.proxy.chunks(total):
            if not received:
                assert chunk == MEBIBYTE
            received += len(chunk)
            if peer.clock() > stop:
                break
        return received

    @staticmethod
    def signal() -> peer.Signal:
        return _ThreadSignal()

    @classmethod
    def run(cls, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        peer.run_on_plain_loop(main())
