"""Cacheable and RemoteCache by themselves; tests/session has them across a connection."""

from __future__ import annotations

from typing import Any

from perspective_broker.flavors import Cacheable, RemoteCache


class Counter(Cacheable):
    def __init__(self) -> None:
        self.number = 1

    def get_state_to_copy_for(self, perspective: Any) -> Any:
        return {"number": self.number, "for": perspective}


def test_its_state_is_what_a_copy_would_get_unless_it_says_otherwise() -> None:
    assert Counter().get_state_to_cache_and_observe_for("who", object()) == {"number": 1, "for": "who"}


def test_a_replica_without_a_connection_is_collected_quietly() -> None:
    replica = RemoteCache()
    replica.set_copyable_state({"x": 1})
    assert vars(replica) == {"x": 1}
    del replica
