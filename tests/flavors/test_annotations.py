"""Annotations: read without names that only a type checker knows."""

from __future__ import annotations

import sys
from typing import Any, ForwardRef

import pytest

import perspective_broker as pb
from perspective_broker.aio.live import live_fields
from perspective_broker.flavors.annotations import is_class_variable
from perspective_broker.flavors.dispatch import blame

#: Fails where it is defined, before Python 3.14 made annotations wait until they are asked for.
SOURCE = """
from typing import ClassVar

class Order(pb.RemoteCopy):
    rate: ClassVar[OnlyForTypeCheckers] = 2
    customer: OnlyForTypeCheckers
    number: int

class Prices(pb.Live):
    gold: OnlyForTypeCheckers
    unit: ClassVar[OnlyForTypeCheckers]

def remote_buy(customer: OnlyForTypeCheckers, number: int = 1) -> OnlyForTypeCheckers: ...
"""


@pytest.mark.skipif(sys.version_info < (3, 14), reason="annotations are evaluated where they are written")
def test_a_name_that_is_known_to_type_checkers_alone_is_no_error() -> None:
    names: dict[str, Any] = {"pb": pb, "__name__": __name__}
    exec(compile(SOURCE, "source", "exec", dont_inherit=True), names)
    order = names["Order"]()
    order.set_copyable_state({"rate": 3, "customer": "Ada", "number": 1, "other": 4})
    assert vars(order) == {"customer": "Ada", "number": 1}
    assert live_fields(names["Prices"]) == {"gold"}
    method = names["remote_buy"]
    with pytest.raises(TypeError) as raised:
        method()
    assert str(blame(raised.value, "buy", method, (), {})) == "buy takes (customer, number=...)"


@pytest.mark.parametrize("text", ["ClassVar", "ClassVar[int]", "typing.ClassVar[int]"])
def test_a_class_variable_is_known_by_a_name_alone(text: str) -> None:
    assert is_class_variable(text)
    assert is_class_variable(ForwardRef(text))
    assert not is_class_variable(ForwardRef(f"list[{text}]"))
