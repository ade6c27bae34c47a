"""The lifecycle: a table, and every step that is not in it is refused."""

from __future__ import annotations

import itertools

import pytest

from perspective_broker.session.cause import CloseCause
from perspective_broker.session.lifecycle import Lifecycle, Phase

LEGAL = {
    (Phase.NEGOTIATING, Phase.GREETING),
    (Phase.GREETING, Phase.OPEN),
    (Phase.OPEN, Phase.DRAINING),
    (Phase.OPEN, Phase.CLOSING),
    (Phase.DRAINING, Phase.CLOSING),
    *((phase, Phase.CLOSED) for phase in Phase if phase is not Phase.CLOSED),
}


@pytest.mark.parametrize(("before", "after"), list(itertools.product(Phase, Phase)))
def test_every_step_is_legal_or_refused(before: Phase, after: Phase) -> None:
    life = Lifecycle()
    life.phase = before
    if (before, after) in LEGAL:
        life.enter(after)
        assert life.phase is after
    else:
        with pytest.raises(AssertionError, match=f"from {before.value} to {after.value}"):
            life.enter(after)
        assert life.phase is before


def test_the_first_cause_of_the_end_stays() -> None:
    life, first = Lifecycle(), CloseCause("first", "", clean=True)
    assert life.close(first)
    assert not life.close(CloseCause("second", "", clean=False))
    assert life.cause is first
