"""The table of a call's states: every state can be reached and left, and the end is final."""

from __future__ import annotations

import pytest

from perspective_broker.session.call_states import (
    ARRIVED,
    BEGINS,
    ENDED,
    ENDS,
    EVENTS,
    NEXT_STATE,
    QUEUES,
    RUNNING,
    STATES,
    STOPPING,
    STOPS,
    WAITS,
)
from perspective_broker.session.incoming_call import IncomingCall


def after(state: int) -> set[int]:
    row = NEXT_STATE[state * len(EVENTS) : (state + 1) * len(EVENTS)]
    return {following for following in row if following >= 0}


def test_the_table_has_a_row_for_each_state_and_a_column_for_each_event() -> None:
    assert len(NEXT_STATE) == len(STATES) * len(EVENTS)
    assert all(-1 <= following < len(STATES) for following in NEXT_STATE)


def test_every_state_is_reached_from_the_first_and_leads_to_the_last() -> None:
    reached, todo = {ARRIVED}, [ARRIVED]
    while todo:
        for following in after(todo.pop()) - reached:
            reached.add(following)
            todo.append(following)
    assert reached == set(range(len(STATES)))
    assert all(ENDED in after(state) for state in reached - {ENDED})
    assert after(ENDED) == set()


@pytest.mark.parametrize(
    "events", [[BEGINS, ENDS], [QUEUES, BEGINS, STOPS, ENDS], [WAITS, QUEUES, BEGINS, ENDS], [WAITS, ENDS]]
)
def test_a_call_goes_through_the_table(events: list[int]) -> None:
    call = IncomingCall(1, "x", True, 10)
    for event in events:
        call.go(event)
    assert call.has_ended
    with pytest.raises(AssertionError, match="a call that is ended never begins"):
        call.go(BEGINS)


def test_only_a_call_that_runs_is_told_to_stop() -> None:
    call = IncomingCall(1, "x", True, 10)
    assert not call.stop()
    call.go(BEGINS)
    assert call.state == RUNNING
    assert call.stop()
    assert call.state == STOPPING
    assert not call.stop()
