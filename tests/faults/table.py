"""The faults, their observed effects, and the tests that show them: the source of docs/faults.md.

``python -m tests.faults.table`` writes the page.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["PAGE", "ROWS", "Row", "page"]

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"


@dataclass(frozen=True, slots=True)
class Row:
    """One fault.

    Attributes:
        number: in the list of faults that this library was built to.
        fault: the fault.
        observed: the reaction of the library.
        tests: the tests that show it, as ``path`` or ``path::function`` below ``tests/``; empty if there are none.
    """

    number: int
    fault: str
    observed: str
    tests: tuple[str, ...]


ROWS = (
    Row(
        1,
        "the peer is killed (SIGKILL) in the middle of calls",
        "In the turn of the loop that sees the end, every pending call has failed with `ConnectionLost` "
        "and every table is empty, before any callback runs; callbacks and `detached` run once. 60 "
        "servers, 40 clients that had logged in.",
        ("faults/test_killed.py",),
    ),
    Row(
        2,
        "half-open: the peer's machine is gone, or its process stands still, without a message",
        "pb7: ended with `ping-timeout` after `ping_seconds` + `pong_seconds` of silence, and the "
        "socket at most `close_seconds` later. TCP connections of every dialect also have "
        "`SO_KEEPALIVE` and `TCP_USER_TIMEOUT`. A classic dialect has nothing else: it cannot distinguish a "
        "process that stands still from a slow one.",
        (
            "faults/test_stalled.py::test_a_peer_that_is_stopped_is_given_up_and_so_is_its_socket",
            "faults/test_stalled.py::test_closing_does_not_wait_for_a_peer_that_is_stopped",
            "faults/test_stalled.py::test_the_system_is_asked_to_watch_both_ends",
            "session/test_deadlines.py::test_who_is_patient_with_an_answer_asks_no_later_again",
        ),
    ),
    Row(
        3,
        "clients that never greet, or never log in",
        "Closed at `handshake_seconds`, or `login_seconds` without an attempt. From one address (a /64 of "
        "IPv6) at most `strangers_per_address` are accepted; further ones are closed at once, counted in "
        "`server.statistics()`, and logged once. 400 against a server of 300.",
        (
            "faults/test_too_much.py::test_clients_that_never_greet_are_gone_when_their_time_is_over",
            "aio/test_strangers.py",
            "transports/test_unauthenticated.py",
        ),
    ),
    Row(
        4,
        "a peer that reads nothing",
        "300 answers, or 300 updates, of 600 KB each to a peer that reads nothing: the server's memory "
        "peaks less than 8 MiB higher and stays less than 5 MiB higher; closed with `slow-consumer` "
        "after `slow_consumer_seconds`. Answers of asynchronous methods that end all at once are charged to "
        "the peer (`memory_bytes`); the more of them wait, the sooner it is closed.",
        (
            "session/test_memory.py",
            "faults/test_too_much.py::test_a_peer_that_reads_nothing_costs_a_little_memory_and_is_closed",
            "aio/test_driver.py::test_a_peer_that_reads_none_of_its_large_answers_fills_no_memory",
        ),
    ),
    Row(
        5,
        "slow methods, all slots taken",
        "Further calls wait at their caller, so pings, answers and cancellations pass. The library pauses reading "
        "from a peer that sends more than the window until there is room; meanwhile the peer's silence does not "
        "count, and our pings show the peer that we live.",
        (
            "faults/test_too_much.py::test_while_all_slots_are_taken_pings_are_answered_and_calls_can_be_given_up",
            "session/test_not_reading.py",
            "aio/test_driver.py::test_reading_pauses_when_as_many_methods_run_as_may_and_nothing_is_lost",
        ),
    ),
    Row(
        6,
        "a flood of small calls, with or without answers",
        "A turn of the loop handles 64 messages or 2 ms of one connection, 5 ms of all together, cheap connections "
        "first: during a flood of 20 000 a bystander's calls are answered one after the other, more than 50 "
        "of them. Milliseconds of the clock are not asserted.",
        (
            "faults/test_too_much.py::test_a_flood_does_not_keep_a_bystander_from_its_answers",
            "aio/test_turns.py",
        ),
    ),
    Row(
        7,
        "the server is restarted, clients reconnect",
        "Killed four times under 20 clients: every call ran at most once, was answered, failed as lost, "
        "or as `not-sent` and never ran; every client came back. Old references stay dead. By the "
        "default back-off 1000 clients come back at less than 200 a second, for any time that the server was "
        "away, on average 4 to 5 s after a quick restart.",
        (
            "faults/test_restart.py",
            "aio/test_reconnect.py",
            "aio/test_reconnect.py::test_a_thousand_clients_come_back_at_less_than_two_hundred_a_second",
        ),
    ),
    Row(
        8,
        "a half-open connection is replaced by a new login",
        'With `pb.Service(..., second_login="replace")` the new login takes over within a second of a '
        "client that stands still, exactly one is attached, and the old one gets the code `replaced` "
        "(classic: its connection is lost). A reconnecting reference that was replaced does not come "
        "back.",
        (
            "faults/test_stalled.py::test_a_new_login_takes_the_place_of_a_half_open_one",
            "cred/test_service.py::test_the_second_login_takes_over",
            "aio/test_reconnect.py::test_who_was_replaced_does_not_fight_for_the_place",
        ),
    ),
    Row(
        9,
        "graceful drain",
        "`server.close(drain=seconds)`: in 400 runs, starting at any point among 30 calls, every method "
        "that started was answered and every other call was refused. Overdue calls are ended, and logged in "
        "one line.",
        (
            "faults/test_drain.py",
            "aio/test_server.py::test_what_is_overdue_when_draining_is_cut",
        ),
    ),
    Row(
        10,
        "the clock is set a day forward or back",
        "There is no effect, because only the event loop's clock is used. The wall clock is read in one place, "
        "for a timestamp.",
        (
            "faults/test_stalled.py::test_a_wall_clock_that_jumps_is_nobodys_business",
            "architecture/test_clocks.py",
        ),
    ),
    Row(
        11,
        "our own event loop stands still",
        "No healthy connection is lost: a late judgement is deferred until the bytes that arrived have been read. A "
        "server measures the delay of its loop (`server.statistics()`) and warns above 100 ms, once a "
        "minute.",
        (
            "faults/test_stalled.py::test_a_stall_of_our_own_kills_no_healthy_connection",
            "session/test_deadlines.py::test_a_late_timer_first_lets_the_bytes_be_read",
            "aio/test_lag.py",
        ),
    ),
    Row(
        12,
        "the peer's event loop stands still",
        "The connection is kept if the stall is shorter than `pong_seconds`; calls keep their own deadlines meanwhile.",
        ("faults/test_stalled.py::test_a_peer_whose_loop_stands_still_for_less_than_its_time_is_kept",),
    ),
    Row(
        13,
        "10 000 connections",
        "An idle connection costs the server 8 KB, compiled (11 KB in plain Python), and no task; 10 000 "
        "are open in 1.6 s, and their pings take 1.1 % of a core. `python -m bench.idle` measures these figures; "
        "no test asserts them.",
        ("bench/test_idle.py",),
    ),
    Row(
        14,
        "deadlines and cancellation",
        "Cancelling a call cancels the method, and its calls to a third program, and so on. A late "
        "answer is ignored. With `pb.deadline` the time that is left is sent with the call (pb7): the "
        "callee stops by itself, even if the connection is cut, and a late call never "
        "starts. A classic peer does not learn it.",
        (
            "aio/test_deadlines.py",
            "faults/test_methods.py::test_who_gives_up_first_gives_up_for_all_that_were_called_on_the_way",
            "aio/test_calls.py::test_a_cancelled_promise_ignores_its_answer",
        ),
    ),
    Row(
        15,
        "a storm of calls that are made and cancelled",
        "A slot is held until its method has ended: never more methods run than allowed, and a bystander is "
        "answered all the time. 2000 in the tests; 100 000 in `python -m tests.faults.more`, where no "
        "turn of the loop was late by more than 95 ms, but by 1.1 s on an overloaded machine.",
        ("faults/test_too_much.py::test_calls_that_are_made_and_given_up_take_no_slot_that_is_not_there",),
    ),
    Row(
        18,
        "replicas: a storm of updates, an observer that is stuck, a first state that fails",
        "A peer that leaves `observer_backlog_bytes` unread loses its connection, because a replica must be "
        "right or gone. A state that cannot be sent or read leaves nothing behind on either side. Replicas "
        "equal their source in random lives.",
        (
            "session/test_caches.py::test_a_peer_that_reads_no_updates_is_given_up",
            "session/test_caches.py::test_a_state_that_cannot_be_handed_out_leaves_nothing",
            "session/test_state_machine.py",
        ),
    ),
    Row(
        19,
        "partial writes, one byte at a time, frames glued together",
        "The same operations for any split, in random lives of two brokers and in the samples of every "
        "codec. The processor time is not asserted.",
        (
            "session/test_state_machine.py",
            "transports/test_conformance.py",
        ),
    ),
    Row(
        20,
        "certificates expire and are renewed; connections grow old",
        "`reload()` or SIGHUP: new connections get the new certificate, none is lost. Files that are replaced "
        "while they are read are read again; if they do not fit, the old ones stay in use. Expired, for "
        "another name, signed by itself or an unknown authority, or TLS below 1.2: refused, with a code. With "
        "`connection_seconds` a connection of that age takes no new calls, lets running calls end, and is "
        "closed with `aged`; a reconnecting client makes a new connection at once.",
        (
            "aio/test_tls.py",
            "transports/test_tls.py::test_files_that_belong_together_are_of_one_reading",
            "aio/test_age.py",
            "cli/test_serve.py",
            "aio/test_reconnect.py::test_from_an_aged_connection_it_changes_to_a_new_one_at_once",
        ),
    ),
    Row(
        22,
        "out of file descriptors; no room on the disk of the identities",
        "No descriptor: calls go on, new connections wait and are accepted a second after one is "
        "free, with one line in the log each second. No room: logins go on, a change fails completely, `pb "
        "identity` prints the reason in one line and exits with 3. All connections together hold "
        "`server_memory_bytes` at most; then large calls are refused, and small ones go on.",
        (
            "faults/test_descriptors.py",
            "faults/test_full_disk.py",
            "cred/test_sql.py::test_sqlite_full",
        ),
    ),
    Row(
        23,
        "methods that raise anything, return anything, or never end",
        "The caller gets an error for any exception, `BaseException` too, except a KeyboardInterrupt, "
        "which ends the program; the connection and the server go on. A method that never ends is counted "
        "(`calls_in`), and abandoned `close_seconds` after the connection, with a warning.",
        (
            "faults/test_methods.py",
            "aio/test_close.py",
        ),
    ),
    Row(
        24,
        "shutdown in the middle of everything",
        "Handshakes, logins, calls both ways, streams, connections that are just being closed, `close()` "
        "three times at once: no task, no file descriptor, no warning and no error of the loop is "
        "left, in 12 runs on each event loop.",
        (
            "faults/test_shutdown.py",
            "aio/test_close.py",
        ),
    ),
    Row(
        25,
        "a forked child, another thread, another event loop",
        "`UsageError` at once, and the parent's connection is unchanged.",
        (
            "faults/test_boundaries.py",
            "aio/test_references.py::test_another_thread_and_another_loop_are_told_so",
        ),
    ),
    Row(
        26,
        "peers of other versions",
        "Twisted 19.10 and today's run everything; 22.10 and 24.7 a part of it, both ways.",
        (
            "interop/test_versions.py",
            "interop/test_twisted_client.py",
            "interop/test_twisted_server.py",
        ),
    ),
    Row(
        27,
        "a buffer is used again while it is being sent",
        "The content at the time of the call arrives: 100 to 8000 bytes and 8 MB, one after the other, "
        "overwritten at once.",
        ("faults/test_payloads.py",),
    ),
)

HEAD = """\
# Faults and their effects

Generated from `tests/faults/table.py` by `python -m tests.faults.table`; do not edit it here. The words in code
are fields of `pb.Limits`, codes with which connections end, and names of the library. Tests are below
`tests/`. The numbers are those of the list that this library was built to: 16 and 17 (churn of references) are
shown by `make soak`, and 21 is about a transport that does not exist yet.

| # | fault | observed effect | shown by |
|---|---|---|---|
"""


def page() -> str:
    """Return the text of docs/faults.md."""
    return HEAD + "".join(
        f"| {row.number} | {row.fault} | {row.observed} | {', '.join(f'`{test}`' for test in row.tests) or '—'} |\n"
        for row in ROWS
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
