"""A server in the background."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker import blocking


class Work(pb.Root):
    def __init__(self) -> None:
        self.threads: set[str] = set()
        self.both = threading.Barrier(2)

    def remote_meet(self) -> int:
        self.threads.add(threading.current_thread().name)
        return self.both.wait(60)

    def remote_ask(self, client: Any) -> Any:
        return client.call("call", "how are you")

    async def remote_loop(self) -> bool:
        return threading.current_thread().name == "perspective_broker"


def test_clients_do_not_wait_for_each_others_plain_methods() -> None:
    work = Work()
    with (
        blocking.serve(work, "tcp://127.0.0.1:0") as server,
        blocking.connect(server.urls[0]) as one,
        blocking.connect(server.urls[0]) as two,
    ):
        met: list[int] = []
        threads = [threading.Thread(target=lambda root=root: met.append(root.meet())) for root in (one, two)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(met) == [0, 1]
        assert work.threads == {"perspective_broker worker"}
        assert one.ask(pb.callback(lambda text: text + "?")) == "how are you?"
        assert one.loop() is True
        assert server.statistics().connections == 2
        assert repr(server) == f"<serving at {server.urls[0]}>"


def test_a_server_is_closed_by_any_thread_and_wait_returns() -> None:
    server = blocking.serve(Work(), "tcp://127.0.0.1:0")
    waiting = threading.Thread(target=server.wait)
    waiting.start()
    server.close(drain=1)
    server.close()
    waiting.join()


def test_what_cannot_be_served_is_refused() -> None:
    with blocking.serve(Work(), "tcp://127.0.0.1:0") as server, blocking.connect(server.urls[0]) as root:
        for wrong in (root, {"it": root}, object()):
            with pytest.raises(TypeError, match="cannot be served"):
                blocking.serve(wrong, "tcp://127.0.0.1:0")
        with pytest.raises(ValueError, match="at least one url"):
            blocking.serve(Work())


def test_several_roots_and_logins_work() -> None:
    class Chatter(pb.Perspective):
        def perspective_ask(self, callback: Any) -> Any:
            return callback.call("call", threading.current_thread().name)

    async def application() -> pb.Application:
        users = pb.MemoryAuthorizer()
        await users.create("guest", "secret")
        await users.grant("guest", "chat")
        application = pb.Application("app", authorizer=users)
        application.add_service(pb.Service("chat", perspective_class=Chatter))
        return application

    with (
        blocking.serve(
            {"chat": blocking.EventLoopThread.shared().run(application()), "work": Work()},
            "tcp://127.0.0.1:0",
        ) as server,
        blocking.connect(
            server.urls[0], object="chat", username="guest", password="secret", service="chat"
        ) as chatter,
    ):
        assert chatter.ask(pb.callback(str.upper)) == "PERSPECTIVE_BROKER WORKER"
