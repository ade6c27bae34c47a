"""Every target holds on its whole corpus, and the corpus is what it should be. No fuzzer is needed for that."""

from __future__ import annotations

import pytest

from tests.fuzz.corpus import CORPUS, inputs, seeds
from tests.fuzz.describing import describe
from tests.fuzz.draw import Draw, cuts
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_target_holds_on_its_corpus(name: str) -> None:
    for path in inputs(name):
        try:
            TARGETS[name](path.read_bytes())
        except Exception as error:
            error.add_note(f"the input was {path}")
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
