"""The only behaviour in the ports: a message in parts."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from perspective_broker.ports import InParts


@given(
    parts=st.lists(st.binary(max_size=9), min_size=1, max_size=6),
    start=st.integers(0, 60),
    size=st.integers(1, 60),
)
@example(parts=[b"part", b""], start=0, size=10)  # nothing of the empty part is among what is cut
def test_a_message_in_parts_is_cut_as_if_it_were_in_one(parts: list[bytes], start: int, size: int) -> None:
    message = InParts(parts)
    whole = b"".join(parts)
    assert len(message) == len(whole)
    assert b"".join(message.cut(start, start + size)) == whole[start : start + size]
    assert all(view.obj in parts and len(view) for view in message.cut(start, start + size))


def test_another_head_leaves_the_rest_as_it_is() -> None:
    value = bytes(1000)
    message = InParts([b"head", value, b"tail"]).headed(b"longer head")
    assert message.parts == [b"longer head", value, b"tail"]
    assert message.parts[1] is value
    assert len(message) == 1015
