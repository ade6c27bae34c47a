"""Limits: one value, judged when it is made."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import pytest

import perspective_broker as pb


@pytest.mark.parametrize("field", fields(pb.Limits), ids=lambda field: field.name)
def test_every_limit_is_a_positive_number(field: Any) -> None:
    wrong: Any
    for wrong in (0, -1):
        with pytest.raises(ValueError, match=rf"Limits\.{field.name}: must be positive, not {wrong}"):
            pb.Limits(**{field.name: wrong})
    for wrong in ("80MB", True, [1]):
        with pytest.raises(TypeError, match=rf"Limits\.{field.name}: must be a (whole )?number, not "):
            pb.Limits(**{field.name: wrong})
    for wrong in (1.5, math.nan, math.inf):
        if field.type in {"int", "int | None"}:
            with pytest.raises(
                TypeError, match=rf"Limits\.{field.name}: must be a whole number, not {wrong}"
            ):
                pb.Limits(**{field.name: wrong})
        elif wrong != 1.5:
            with pytest.raises(ValueError, match=rf"Limits\.{field.name}: must be positive"):
                pb.Limits(**{field.name: wrong})


def test_only_the_age_of_a_connection_may_be_unlimited() -> None:
    assert pb.Limits(connection_seconds=None).connection_seconds is None
    with pytest.raises(TypeError, match=r"Limits\.nodes: must be a whole number, not None"):
        pb.Limits(nodes=None)  # type: ignore[arg-type]


def test_the_low_mark_is_not_above_the_high_one() -> None:
    with pytest.raises(ValueError, match="must not exceed"):
        pb.Limits(write_buffer_low=2, write_buffer_high=1)


def test_a_peer_that_has_not_logged_in_may_ask_for_a_sixteenth_of_every_quantity() -> None:
    limits = pb.Limits()
    strangers = limits.before_login()
    assert strangers.nodes == limits.nodes // 64
    assert strangers.message_bytes == limits.message_bytes // 16
    assert strangers.depth == limits.depth
    assert strangers.ping_seconds == limits.ping_seconds
    assert limits.before_login() is strangers
