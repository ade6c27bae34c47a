"""Callbacks for the end of a connection: the objects that keep them, and their order."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.aio.endings import Ending, Endings
from perspective_broker.testing import assert_no_leaks, memory_pair
from tests.aio.desk import Desk, until
from tests.loops import both_loops


class Reader(pb.Referenceable):
    pass


class Subscription:
    """An object of the program that has the reference and is notified of its end."""

    def __init__(self, reader: pb.RemoteReference) -> None:
        self.reader = reader
        reader.on_disconnect(self.ended)

    def ended(self, reader: pb.RemoteReference) -> None:
        raise AssertionError("it was taken back")


class News(pb.Root):
    """The ways in which a program keeps a reader, registers a callback for its end, and then forgets it."""

    def __init__(self) -> None:
        self.kept: set[Any] = set()

    def remote_subscribe(self, reader: pb.RemoteReference) -> None:
        self.kept.add(reader)
        reader.on_disconnect(self.kept.discard)

    def remote_subscribe_closure(self, reader: pb.RemoteReference) -> None:
        self.kept.add(reader)
        reader.on_disconnect(lambda _: self.kept.discard(reader))

    def remote_subscribe_object(self, reader: pb.RemoteReference) -> None:
        self.kept.add(Subscription(reader))

    def remote_unsubscribe(self) -> None:
        self.kept.clear()


@both_loops
@pytest.mark.parametrize("way", ["subscribe", "subscribe_closure", "subscribe_object"])
async def test_a_callback_does_not_keep_its_reference(dialect: str, way: str) -> None:
    limits = pb.Limits(references_received=20)
    news = News()
    async with memory_pair(news, dialects=[dialect], limits=limits) as pair:
        for number in range(100):
            await pair.root.call(way, Reader())
            await pair.root.call("unsubscribe")
            if number % 10 == 0:
                gc.collect()
        gc.collect()
        await until(lambda: pair.client.statistics().exported == 0)
        await assert_no_leaks(pair.client, pair.accepted)


async def test_a_callback_runs_as_long_as_its_reference_is_held(dialect: str) -> None:
    news = News()
    async with memory_pair(news, dialects=[dialect]) as pair:
        for way in ("subscribe", "subscribe_closure", "subscribe"):
            await pair.root.call(way, Reader())
        gc.collect()
        assert len(news.kept) == 3
        await pair.client.close()
        await pair.accepted.wait_closed()
        assert not news.kept


async def test_one_callback_may_let_go_of_what_the_next_one_is_called_with(dialect: str) -> None:
    desk = Desk()
    async with memory_pair(desk, dialects=[dialect]) as pair:
        await pair.root.call("keep", Reader(), Reader(), Reader())
        seen: list[int] = []

        def ended(reader: pb.RemoteReference) -> None:
            desk.kept.clear()
            seen.append(reader._luid)  # type: ignore[arg-type]

        for reader in list(desk.kept):
            reader.on_disconnect(ended)
        del reader
        await pair.client.close()
        await pair.accepted.wait_closed()
        assert len(set(seen)) == 3


class Session(pb.Referenceable):
    """An object that only the peer holds; it holds a reference of the peer, and is notified of the end."""

    def __init__(self, client: pb.RemoteReference, seen: list[str]) -> None:
        self.client = client
        self.seen = seen
        client.on_disconnect(self.ended)

    def ended(self, client: pb.RemoteReference) -> None:
        self.seen.append("ended")

    def forgotten(self) -> None:
        self.seen.append("forgotten")


class Opener(pb.Root):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def remote_open(self, client: pb.RemoteReference) -> list[Session]:
        return [Session(client, self.seen) for _ in range(2)]


class Collecting(logging.Handler):
    """Runs the collector whenever a line is logged."""

    def emit(self, record: logging.LogRecord) -> None:
        gc.collect()


async def test_what_only_the_peer_holds_is_told_of_the_end(
    dialect: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    opener = Opener()
    caplog.set_level(logging.DEBUG, "perspective_broker")
    monkeypatch.setattr(logging.getLogger("perspective_broker"), "handlers", [Collecting()])
    async with memory_pair(opener, dialects=[dialect]) as pair:
        sessions = await pair.root.call("open", Reader())
        await pair.client.close()
        await pair.accepted.wait_closed()
        assert opener.seen == ["forgotten", "forgotten", "ended", "ended"]
        del sessions


async def test_a_callback_of_the_connection_is_called_whatever_becomes_of_the_reference(dialect: str) -> None:
    seen: list[pb.Connection] = []
    desk = Desk()
    async with memory_pair(desk, dialects=[dialect]) as pair:
        await pair.root.call("keep", Reader())
        desk.kept[0].connection.on_disconnect(seen.append)
        await pair.root.call("drop")
        gc.collect()
        await until(lambda: pair.client.statistics().exported == 0)
        await pair.client.close()
        await pair.accepted.wait_closed()
        assert seen == [pair.accepted]


# -- the list itself


class Subject:
    pass


def noted(seen: list[str], word: str) -> Callable[[Any], object]:
    return lambda subject: seen.append(word)


def test_callbacks_are_taken_once_in_the_order_in_which_they_were_added() -> None:
    endings, subject, seen = Endings(), Subject(), list[str]()
    own: list[Ending] = []
    endings.add(subject, noted(seen, "one"))
    endings.add(subject, noted(seen, "two"), own)
    endings.add(subject, noted(seen, "three"))
    for found, callback in endings.take():
        assert found is subject
        callback(found)
    assert seen == ["one", "two", "three"]
    assert endings.take() == []


def test_a_callback_that_was_added_twice_is_removed_once() -> None:
    endings, subject, own = Endings(), Subject(), list[Ending]()
    endings.add(subject, print, own)
    endings.add(subject, print, own)
    endings.remove(subject, print, own)
    assert len(endings.take()) == 1
    with pytest.raises(ValueError, match="not registered"):
        endings.remove(Subject(), print, own)


def test_a_subject_that_keeps_its_callbacks_is_not_kept_by_them() -> None:
    endings, subject = Endings(), Subject()
    subject.own = []  # type: ignore[attr-defined]
    endings.add(subject, print, subject.own)  # type: ignore[attr-defined]
    alive = weakref.ref(subject)
    del subject
    assert alive() is None  # without the collector
    assert endings.take() == []
