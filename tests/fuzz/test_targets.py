"""Every target holds on its whole corpus, and the corpus is up to date. No fuzzer is needed for that."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.fuzz import budget
from tests.fuzz.broker import greeting
from tests.fuzz.budget import Meter, TooSlow, allowed, judged
from tests.fuzz.corpus import CORPUS, inputs, large_seeds, seeds
from tests.fuzz.describing import describe
from tests.fuzz.draw import Draw, cuts
from tests.fuzz.shapes import MODERN
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_target_holds_on_its_corpus(name: str) -> None:
    for path in inputs(name):
        try:
            TARGETS[name](path.read_bytes())
        except Exception as error:
            error.add_note(f"the input was {path}")
            raise


@pytest.mark.parametrize("name", TARGETS)
def test_target_holds_on_large_inputs(name: str) -> None:
    for shape, data in large_seeds(name):
        if "hostile" in shape and name != "broker":  # one decodes them all
            continue
        try:
            TARGETS[name](data)
        except Exception as error:
            error.add_note(f"the input was {shape}")
            raise


def test_every_target_has_a_corpus_and_every_corpus_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} == TARGETS.keys()
    for name in TARGETS:
        assert inputs(name)


def test_the_seeds_are_the_facts_of_the_wire() -> None:
    """Run ``python -m tests.fuzz.corpus`` when this fails."""
    expected = {(target, f"seed-{name}"): data for target, name, data in seeds()}
    found = {
        (target, path.name): path.read_bytes()
        for target in TARGETS
        for path in inputs(target)
        if path.name.startswith("seed-")
    }
    assert found == expected


def test_a_target_does_not_pass_by_looking_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that mistook one digit would be found by the seeds alone."""
    from perspective_broker.dialects.classic import banana

    monkeypatch.setattr(banana, "_INTEGERS", ())
    with pytest.raises(AssertionError):
        test_target_holds_on_its_corpus("twisted_banana")


def test_a_target_finds_what_raises_in_the_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Although the broker ends the connection instead: here by a length that was thought to be small."""
    from perspective_broker.dialects.pb7 import large

    monkeypatch.setattr(large, "_array_head", lambda count: b"\xdc" + count.to_bytes(2, "big"))
    said = MODERN["array that begins with 4"](65_536)
    with pytest.raises(OverflowError):
        TARGETS["pb7"](b"\x00\x01" + said)
    for name, how in (("broker", b"\x00\x01"), ("connection", b"\x00\x05")):
        with pytest.raises(AssertionError):
            TARGETS[name](how + greeting(True, "pb7") + said)


@pytest.mark.parametrize("name", sorted(TARGETS.keys() - {"monitor", "proxies", "twisted_jelly"}))
def test_a_target_finds_what_costs_too_much(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "_slower", [1e-9])
    _, data = next(large_seeds(name))
    with pytest.raises(TooSlow):
        TARGETS[name](data)


def test_a_slow_input_is_one_that_is_slow_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "thread_time", lambda: now[0])

    def taking(*seconds: float) -> Callable[[Meter], None]:
        left = list(seconds)

        def run(meter: Meter) -> None:
            now[0] += 5.0  # outside of the meter
            with meter:
                now[0] += left.pop(0)

        return run

    judged(1 << 20, taking(1.0))
    judged(1 << 20, taking(2.0, 1.1, 1.0))
    with pytest.raises(TooSlow, match=r"1\.10 s .* 1048576 bytes, 1\.05 at most"):
        judged(1 << 20, taking(2.0, 1.1, 1.2))
    assert allowed(0) < allowed(100) < allowed(100, per_mib=50.0)


def test_draw_reads_to_the_end_and_then_chooses_the_first() -> None:
    draw = Draw(b"\x05\x02hi\x00\xff")
    assert (draw.below(4), draw.text(), draw.flag(), draw.left) == (1, "hi", False, 1)
    assert (draw.byte(), draw.byte(), draw.choice("abc"), draw.integer(), draw.data()) == (
        255,
        0,
        "a",
        0,
        b"",
    )


def test_cuts_lose_nothing() -> None:
    data = bytes(range(250))
    for seed in range(20):
        assert b"".join(cuts(data, seed)) == data
    assert len(cuts(data, 0)) == len(data)


def test_what_is_large_is_not_cut_into_more_pieces_than_a_test_can_take() -> None:
    data = bytes(1 << 20)
    for seed in range(20):
        pieces = cuts(data, seed)
        assert b"".join(pieces) == data
        assert len(pieces) < 6000


def test_descriptions_tell_values_apart() -> None:
    shared: list[int] = []
    ring: list[object] = []
    ring.append(ring)
    different = [
        1, 1.0, True, -0.0, 0.0, "a", b"a", (), [], set(), frozenset(), {}, {1: 2, 3: 4}, {3: 4, 1: 2}, [[], []],
        [shared, shared], ring, [ring], None,
    ]  # fmt: skip
    assert len({describe(value) for value in different}) == len(different)
    assert describe({3, 1, 2}) == describe({2, 3, 1})
