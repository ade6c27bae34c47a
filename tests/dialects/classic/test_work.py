"""Work: receiver and sender count the same, and both refuse a message with too much work."""

from __future__ import annotations

import datetime
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given

import perspective_broker as pb
from perspective_broker.dialects.classic import PB, ClassicDialect
from perspective_broker.dialects.classic.unjelly import Unjellier, readers_for
from perspective_broker.dialects.classic.work import CHEAP, COSTLY, most_units, units_in
from perspective_broker.errors import ProtocolError
from perspective_broker.ports import NullExporter, NullImporter, Receiver
from perspective_broker.registry import Policy, Registry
from perspective_broker.testing.strategies import classic_values
from tests.dialects.classic.coding import LIMITS, to_lists

DAY = datetime.date(2026, 11, 30)

UNITS: dict[str, tuple[Any, int]] = {
    "none": (None, 0),
    "a text": ("text", 0),
    "numbers": ([1, 2.0, 3], CHEAP),
    "a tuple in a list": ([(1,)], 2 * CHEAP),
    "a dictionary": ({"a": 1, "b": [2]}, 2 * CHEAP),
    "a set": ({1, 2}, CHEAP),
    "a decimal": (Decimal("1.5"), COSTLY),
    "dates": ([DAY, DAY], CHEAP + 2 * COSTLY),
    "times": (
        (datetime.time(1), datetime.datetime(2026, 11, 30), datetime.timedelta(1)),
        CHEAP + 3 * COSTLY,
    ),
}


def unjelly(jelly: Any, units: int) -> Any:
    return Unjellier(NullImporter(), None, readers_for(Policy()), Registry(), Policy(), units).unjelly(jelly)


@pytest.mark.parametrize(("value", "units"), UNITS.values(), ids=UNITS)
def test_units(value: Any, units: int) -> None:
    jelly = to_lists(value)
    assert units_in(jelly) == units
    assert unjelly(jelly, units) == value
    if units:
        with pytest.raises(ProtocolError, match="limit-nodes"):
            unjelly(jelly, units - 1)


@given(classic_values())
def test_the_sender_counts_no_less_than_the_receiver(value: Any) -> None:
    jelly = to_lists(value)
    unjelly(jelly, units_in(jelly))


def test_a_copyable_counts_four() -> None:
    registry = Registry()

    @pb.copier_for("test.Point", registry=registry)
    class Point(pb.RemoteCopy):
        pass

    jelly = [b"test.Point", [b"dictionary"]]
    assert units_in(jelly) == COSTLY + CHEAP
    policy = Policy()
    for units in (COSTLY + CHEAP, COSTLY):
        unjellier = Unjellier(NullImporter(), None, readers_for(policy), registry, policy, units)
        if units > COSTLY:
            assert isinstance(unjellier.unjelly(jelly), Point)
        else:
            with pytest.raises(ProtocolError, match="limit-nodes"):
                unjellier.unjelly(jelly)


@pytest.mark.parametrize("make", [lambda n: [[] for _ in range(n)], lambda n: [Decimal(1)] * (n // COSTLY)])
def test_what_is_too_much_work_is_not_sent(make: Any) -> None:
    limits = replace(LIMITS, nodes=10_000)
    dialect = ClassicDialect(PB, Receiver(), NullExporter(), NullImporter(), limits, Registry(), Policy())
    fits = make(most_units(limits) - 20)
    dialect.writer.encode_answer(1, fits, None)
    with pytest.raises(pb.SerializationError, match=r"a tenth of Limits\.nodes"):
        dialect.writer.encode_answer(1, make(most_units(limits) + 20), None)
