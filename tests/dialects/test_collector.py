"""The collector is paused while a large message is decoded, and always resumed."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.dialects.classic.banana import NEED_MORE, Decoder, encode
from perspective_broker.dialects.collector import gc_paused, pause_gc, resume_gc
from perspective_broker.testing import BrokerPair


@pytest.fixture
def collections() -> Iterator[list[int]]:
    """The generations that have been collected since the test began."""
    seen: list[int] = []

    def saw(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            seen.append(info["generation"])

    before = gc.get_threshold()
    gc.collect()
    gc.set_threshold(100, 10, 10)
    gc.callbacks.append(saw)
    yield seen
    gc.callbacks.remove(saw)
    gc.set_threshold(*before)
    assert gc.isenabled()


def test_within_the_block_nothing_is_collected_and_behind_it_everything_is(collections: list[int]) -> None:
    with gc_paused():
        kept = [[] for _ in range(1000)]  # type: ignore[var-annotated]
        assert collections == []
    kept += [[] for _ in range(1000)]
    assert collections


def test_an_exception_ends_it() -> None:
    with pytest.raises(ZeroDivisionError), gc_paused():
        raise ZeroDivisionError
    assert gc.isenabled()


def test_a_collector_that_is_switched_off_stays_off() -> None:
    gc.disable()
    try:
        with gc_paused():
            pass
        assert not pause_gc()
        assert not gc.isenabled()
    finally:
        resume_gc()


def test_blocks_within_each_other_end_with_the_outermost() -> None:
    with gc_paused():
        with gc_paused():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_tokens_become_lists_in_peace(collections: list[int]) -> None:
    data = encode([[1]] * 5000)
    for size in (len(data), 4096):
        decoder = Decoder(pb.Limits(), True)
        made = 0
        while made < len(data):
            decoder.receive_data(data[made : made + size])
            made += size
            decoded = len(collections)
            value = decoder.next()
            assert len(collections) == decoded
            assert gc.isenabled()
        assert value is not NEED_MORE


def test_tokens_that_are_refused_leave_it_running() -> None:
    decoder = Decoder(pb.Limits(nodes=5000), True)
    decoder.receive_data(encode([[1]] * 4000 + [[1] * 1001]))
    with pytest.raises(pb.ProtocolError, match="limit-nodes"):
        decoder.next()
    assert gc.isenabled()


_REGISTRY = pb.registry.Registry()


@pb.copier_for("test.Watching", registry=_REGISTRY)
class _Watching(pb.Copyable, pb.RemoteCopy):
    """A copyable that records whether the collector was enabled when its state was set."""

    def get_type_to_copy(self) -> str:
        return "test.Watching"

    def set_copyable_state(self, state: dict[str, Any]) -> None:
        self.collected = gc.isenabled()


class _Desk(pb.Root):
    def remote_look(self, things: list[_Watching], filling: Any = None) -> list[bool]:
        return [gc.isenabled(), *(thing.collected for thing in things)]


@pytest.mark.parametrize("dialect", ["pb7", "pb"])
def test_it_rests_for_large_messages_alone_and_never_for_methods(dialect: str) -> None:
    with BrokerPair(_Desk(), dialects=[dialect], registry=_REGISTRY) as pair:
        assert pair.call("look", [_Watching()]) == [True, True]
        assert pair.call("look", [_Watching()], "x" * 20_000) == [True, False]
