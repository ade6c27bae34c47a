"""A queue is an empty tuple until something waits, then a deque for good."""

from __future__ import annotations

from collections import deque

from perspective_broker.queues import Queue, put


def test_a_queue_is_made_by_the_first_item_and_keeps_their_order() -> None:
    queue: Queue[int] = ()
    assert (len(queue), list(queue)) == (0, [])
    made = queue = put(queue, 1)
    queue = put(queue, 2)
    assert queue is made
    assert queue == deque([1, 2])


def test_an_empty_deque_is_used_again() -> None:
    made = queue = put((), 1)
    queue.popleft()
    queue = put(queue, 2)
    assert queue is made
    assert list(queue) == [2]
