"""The table: the 76 rows of bad input, as the design numbers and words them, with the cases of each dialect."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from . import classic, modern
from .cases import Case, Direction, Row

__all__ = ["ROWS", "each_case"]

_LOGIN_TLS: Final = "tests/cred/test_login_tls.py::"
_LOGIN: Final = "tests/cred/test_login.py::"
_ADMISSION: Final = "tests/cred/test_admission.py::"
_DESCRIBING: Final = "tests/aio/test_describing.py::"
_MEMORY: Final = "tests/session/test_memory.py::"
_RECONNECT: Final = "tests/aio/test_reconnect.py::"

#: The input, and the demand of the design.
_TABLE: Final[tuple[tuple[str, str], ...]] = (
    ("Unknown type byte 0x88", "F bad-token"),
    ("65-byte length prefix", "F limit-prefix"),
    ("64-byte prefix, then silence", "F after message deadline"),
    ("Non-canonical int or length", "accept in PB; F in modern"),
    ("STRING 640 KiB + 1 announced", "F limit-size before reading body"),
    ("STRING 640 KiB announced, nothing sent", "F message deadline; ≤64 KiB allocated"),
    ("LIST 640 Ki + 1 announced", "F limit-items"),
    ("1.2 M nested LIST prefixes", "F limit-depth at 257"),
    ("Millions of empty lists in an open list", "F limit-nodes"),
    ("300 × 640 KiB strings in one open list", "F limit-message"),
    ("600 k one-byte ints", "decode ≥20 MB/s or F limit-nodes"),
    ("Same message split at every byte; glued with next", "identical result"),
    ("VOCAB 0 / 99", "F bad-token"),
    ("VOCAB before dialect chosen / in dialect `none`", "F"),
    ("FLOAT NaN, ±inf", "accept, round-trip; never as dict key"),
    ("INT 2**447 / prefix-limit int", "accept ≤ limit; else F"),
    ("LONGNEG 0", "0"),
    ("Top-level INT or STRING", "F"),
    ("Empty list message", "F"),
    ("Command is int / list / bad UTF-8", "F"),
    ("Unknown command", "PB: `didNotUnderstand` + keep; modern: F"),
    ("`didNotUnderstand` with newline text", "I, escaped log"),
    ("Too few / too many fields", "F"),
    ("version 7 / version list", "F version"),
    ("`__class__`, `__init__` as command / method", "F / C NoSuchMethod"),
    ("Message before dialect; unknown dialect", "F"),
    ("HTTP GET / TLS hello to the port", "F bad-handshake at once"),
    ("Silent connection", "closed at handshake_timeout"),
    ("Second handshake / dialect mid-session", "F"),
    ("Unknown object id; id 0; digits as bytes", "C UnknownObject"),
    ("Object id list / float 1.0", "F bad-id"),
    ("Method missing", "C NoSuchMethod, one line"),
    ("Method name int / bad UTF-8", "F"),
    ("Method name 600 KB", "F limit"),
    ("args not a tuple", "C BadArguments"),
    ("kwargs int; int keys; mixed keys; bad UTF-8 key; `self`", "C BadArguments, fixed text"),
    ("Duplicate in-flight request id", "F duplicate-id"),
    ("Request id list / 100 KB string", "F bad-id"),
    ("`answerRequired` not 0/1", "F"),
    ("Unknown jelly type; dotted; class/module/function/…", "C NotAllowed, type name truncated"),
    ("Registered class not allowed for this connection", "C NotAllowed"),
    ("`dereference` never defined", "C DecodeError"),
    ("`reference` defined twice / unhashable id", "C DecodeError"),
    ("Reference DAG 2**30", "C or safe"),
    ("Unresolved ref in 640 KB tuple", "C in O(n)"),
    ("Cyclic list through reference", "accept (PB) or C; no leak"),
    ("Hash-colliding ints (dict/set)", "C limit"),
    ("Unhashable key / set item; pair of 1 or 3", "C DecodeError"),
    ("Duplicate dict keys", "C DecodeError (modern); last wins (PB)"),
    ("`unicode` bad UTF-8, surrogates, int", "C DecodeError"),
    ("decimal exponent 1e9; date 9999999999; `1_0`", "C DecodeError"),
    ("`persistent`, `unpersistable`", "C NotAllowed"),
    ("RemoteCopy state: dunder / method / `postUnjelly` names, non-dict", "C; only declared fields set"),
    ("Depth 332…20 000 in a call", "C limit-depth, ≤1 KB log"),
    ("Depth / any bad value in an answer", "pending call fails with DecodeError; connection kept"),
    ("`error` payload int / str / None / without `parents`", "call fails RemoteError(malformed)"),
    ("Answer for unknown / already answered id", "I if id was once issued; F if never issued"),
    ("Answer whose value is a failure; forged exception type names", "RemoteError"),
    ("decref / decache / uncache unknown id", "F if never issued; I if just released"),
    ("decref more than owned; negative, 0, bool, float count", "F refcount"),
    ("decref of `root` or a named object", "F"),
    ("Call on id after its decref", "C UnknownObject"),
    ("100 000 forged `[remote, i]`", "F limit-refs-received (default 10 000)"),
    ("`local` / `lcache` / `cached` unknown or foreign", "C UnknownObject"),
    ('`[local, "root"]` passed as argument', "C unless exported to this peer"),
    ("cachemessage to unknown cache", "C"),
    ("50 000 unanswered calls", "limit-inflight (1024), reads paused first"),
    ("start + cancel × 10⁵ (rapid reset)", "slots held until handlers end; then paused"),
    ("Compressed frame 1000:1", "F limit-inflated"),
    ("login name int, list, None, 600 KB; response a list", "C BadArguments; fixed cost"),
    ("Wrong password × 6; replayed challenge", "closed after 5, growing delay; single-use"),
    ("Relay (MITM) login", "refused"),
    (
        "Local: argument too large / int too big / lone surrogate / unserialisable",
        "L SerializationError; 0 leaked",
    ),
    ("Local: result too large or unserialisable", "C error to caller, connection kept"),
    ("Pings every ms; unanswered pongs; huge ping payload", "F too-many-pings; payload ≤125 B"),
    ("Slowloris: 1 byte / 50 ms", "F message deadline"),
    ("Keys that share one large tuple", "C; work charged by what sharing expands to"),
    ("A name that SASLprep makes 18 times longer", "LoginFailed before SASLprep reads it"),
    ("Wrong guesses at a user's password, from elsewhere or from their own address", "the owner gets in"),
    ("A store of users that fails, or one damaged row", "Unavailable; LoginFailed; no path, no url"),
    ("Escapes and line ends in the text of an error", "one escaped line wherever it is shown"),
    (
        "`aged`, or an endless drain, on each connection",
        "the usual back-off; few connections kept, for a bounded time",
    ),
    ("A PROXY header from other peers; no header, or half of one, from a trusted proxy", "not read; closed"),
    (
        "More logins, or more attachments, started at once than may fail or be held",
        "those under way are counted",
    ),
    (
        "The salt, the rounds and the work of a login of a user that does not exist",
        "the same as of real users",
    ),
    ("A server that requests few rounds of PBKDF2, or MD5", "no answer below `min_iterations`"),
    (
        "Large calls that never end; calls that wait; answers that are not read",
        "charged as objects; refused above `memory_bytes`, small calls go on",
    ),
    (
        "A hundred peers that each send as much as is allowed at the same moment",
        "a budget for each turn, cheap connections first",
    ),
    (
        "Values that take long to read: dates, copyables, graphs, keys that share",
        "counted; read in steps; F limit",
    ),
    (
        "`pb:describe` ten thousand times; with arguments; of an object without methods; of a replica",
        "made once per class; C BadArguments; an answer without methods; C NoSuchMethod",
    ),
    (
        "`pb:describe` before a login, or by a stranger over a network",
        "C NoSuchMethod, except of a stream",
    ),
    (
        "A description that is no map, too long, or not of plain values; escapes in its texts",
        "BadAnswer; escaped where the command line shows it",
    ),
)

#: Notes on rows where the library's own documents differ, or where a dialect lacks the thing.
_NOTES: Final[dict[int, str]] = {
    1: "pb7: a byte with which no value begins.",
    2: "pb7: a length has four bytes; the case sets its highest bit.",
    3: "The deadline is 30 s, see `limits.py`; in the test 0.3 s.",
    5: "pb7: a frame of 16 MiB + 1; a text that ends after its frame is not a message.",
    6: "pb7: a frame of 16 MiB.",
    7: "pb7 has one limit for all values of a message.",
    8: (
        "pb7: more than a million values are fatal; nesting by itself is call-level there "
        "(docs/wire/pb7.md, 6)."
    ),
    10: "pb7: by the header, before any of the body is read.",
    11: "Decoded; `python -m bench.hostile` measures the speed.",
    13: "pb7 has no vocabulary.",
    14: "pb7 has no vocabulary.",
    16: (
        "pb7: integers beyond 64 bits are extensions, with a limit of 8192 bits. The limit concerns a value, "
        "so it is call-level."
    ),
    17: "pb7: zero as a large integer is not in its shortest spelling.",
    19: "pb7: an empty frame, too.",
    20: "pb7: an operation is an integer.",
    21: "256 of them in a connection's life are fatal.",
    22: "The text is not logged at all. pb7 does not have this message; the reason of a farewell is escaped.",
    24: "pb7: 8, because 7 is its own version.",
    25: "PB: a command that does not exist is answered, as in row 21.",
    28: "In the test the timeout is 0.3 s.",
    30: "pb7: bytes are not an id, which is fatal; digits as text are a name.",
    31: "pb7: an array means the answer of an earlier call, and there was no earlier call.",
    32: "The error contains the first 64 characters of the name, which the caller sent itself.",
    35: "Arguments that do not fit the method are refused in the same way.",
    36: "pb7: a key that is not text spoils the value that contains it, so `DecodeError`.",
    39: "pb7: the legal flags are 0, 1 and 3.",
    40: "The library's name of the error is `InsecureJelly`.",
    42: "pb7: a copyable, or a container of a graph, that was not sent.",
    43: "pb7: the containers of a graph are numbered by their positions.",
    44: "Safe: it arrives as 31 containers, which are not expanded. As a key it is refused.",
    52: "pb7 does not have this extension.",
    53: (
        "A class that declares no fields accepts every public name that is not one of its own methods or "
        "properties; the accepted values are never called."
    ),
    54: (
        "PB: nesting is judged by the tokens, before their meaning is known: fatal, as row 8 "
        "demands. The two rows cannot both hold there."
    ),
    55: "PB: depth is fatal as in row 54.",
    56: "PB: a bare string is the text of an error (DESIGN, 5).",
    59: "The peer chooses the ids of its replicas, so an `uncache` cannot be judged; it is ignored.",
    60: "PB: a decref has no count; one too many is for an object that is gone, as in row 59.",
    64: "pb7: also the answer of a call that is not kept.",
    65: "A server exports its root to every peer, a client does not.",
    67: "The test makes 8,000 calls; 16 may run and 64 KiB may wait.",
    68: "PB has no cancel. In the test the limit is 16 calls.",
    69: "No dialect compresses, so nothing is inflated.",
    70: (
        "Before login the limit of a message is a sixteenth, so 600 KB are fatal. A value that is not a response "
        "fails like any wrong response."
    ),
    71: "In the test the delays are a hundredth of the real ones.",
    75: (
        "PB has no pings. More than 16 that are read at once are too many; an unrequested pong is a sign of "
        "life."
    ),
    76: "In the test the deadline is 0.3 s.",
}

_ELSEWHERE: Final[dict[int, tuple[str, ...]]] = {
    71: (
        _LOGIN + "test_a_challenge_is_good_once",
        _LOGIN + "test_the_fourth_failure_of_a_name_makes_the_next_wait",
    ),
    72: (
        _LOGIN_TLS + "test_who_is_in_between_gets_nothing",
        _LOGIN + "test_md5_is_taken_where_it_is_safe_or_allowed",
    ),
    77: (
        "tests/dialects/test_building.py::test_keys_on_pb7_that_share_a_tuple",
        "tests/dialects/test_building.py::test_keys_on_classic_dialects_that_share_a_tuple",
    ),
    78: (_ADMISSION + "test_names_that_expand_are_refused_before_they_are_prepared",),
    79: (_ADMISSION + "test_a_stranger_does_not_lock_an_owner_out",),
    80: (
        _ADMISSION + "test_a_store_that_fails_tells_strangers_nothing",
        _ADMISSION + "test_a_user_whose_row_is_damaged_is_told_what_a_user_is_told_that_does_not_exist",
    ),
    81: (
        "tests/flavors/test_failure.py::test_the_text_of_what_arrives_is_tame_and_the_text_that_came_is_kept",
    ),
    82: (
        _RECONNECT + "test_a_server_whose_connections_are_aged_at_once_is_not_connected_to_at_once",
        _RECONNECT + "test_a_server_that_drains_each_connection_at_once_is_not_connected_to_at_once",
        _RECONNECT + "test_a_server_that_drains_each_connection_and_ends_none_keeps_few",
        _RECONNECT + "test_a_connection_that_drains_and_never_ends_is_ended_in_the_end",
        _RECONNECT + "test_a_callback_does_not_wait_for_ever_for_a_server_that_drains",
    ),
    83: (
        "tests/transports/test_proxies.py::test_others_are_not_asked_for_a_header",
        "tests/transports/test_proxies.py::test_a_trusted_proxy_that_says_nothing_of_its_client_is_hung_up",
        "tests/cli/test_serve.py::test_connections_come_from_where_trusted_proxies_say",
    ),
    84: (
        _LOGIN + "test_failures_side_by_side_count_as_well",
        _LOGIN + "test_keys_are_not_guessed_side_by_side_either",
        _ADMISSION + "test_attempts_under_way_that_need_no_challenge_count",
        _ADMISSION + "test_attachments_under_way_count",
    ),
    85: (
        "tests/cred/test_same_work.py::test_users_of_all_kinds_and_those_unknown_cost_the_same",
        _LOGIN + "test_unknown_users_hear_the_same_salt_again_and_as_many_rounds",
        "tests/cred/test_verifiers.py::test_fakes_have_the_rounds_that_users_have",
        "tests/cred/test_sql.py::test_rounds_of_which_a_user_is_the_first_are_shown_for_nobodies_too",
    ),
    86: (
        "tests/aio/test_login.py::test_a_client_says_how_many_rounds_a_challenge_must_ask_for",
        "tests/aio/test_login.py::test_md5_has_no_rounds",
    ),
    87: (
        _MEMORY + "test_a_call_is_charged_the_objects_that_it_becomes",
        _MEMORY + "test_beyond_the_bound_large_calls_are_refused_and_small_ones_go_on",
        _MEMORY + "test_answers_that_nobody_reads_are_kept_up_to_the_bound",
        _MEMORY + "test_the_more_is_unread_the_sooner_a_peer_that_reads_nothing_is_given_up",
    ),
    88: (
        "tests/aio/test_turns.py::test_many_busy_peers_hold_up_a_bystander_no_longer_than_one",
        "tests/aio/test_turns.py::test_neither_kind_holds_up_the_other_for_ever",
    ),
    89: (
        "tests/dialects/classic/test_work.py::test_units",
        "tests/dialects/pb7/test_packing.py::test_a_message_may_have_a_twentieth_of_its_values_as_extensions",
        "tests/dialects/pb7/test_messages.py::test_a_long_message_is_read_in_steps",
    ),
    90: (
        "tests/flavors/test_describing.py::test_it_is_made_once_for_a_class",
        "tests/flavors/test_describing.py::test_a_long_one_is_shortened",
    ),
    91: (
        _DESCRIBING + "test_a_stranger_from_elsewhere_is_refused_but_reads_streams",
        _DESCRIBING + "test_before_a_login_it_is_refused_and_after_it_answered",
        _DESCRIBING + "test_before_a_login_peers_of_this_machine_are_refused_too",
    ),
    92: (
        _DESCRIBING + "test_an_answer_that_is_no_description",
        "tests/cli/test_describe.py::test_on_a_terminal_a_peers_text_cannot_act",
        "tests/cli/test_describe.py::test_what_is_no_description_is_an_error",
    ),
}


def _cases(number: int) -> dict[str, tuple[Case, ...]]:
    greetings = classic.GREETINGS.get(number, ())
    cases = {
        "pb": (*greetings, *classic.CASES.get(number, ())),
        "none": classic.NONE_CASES.get(number, ()),
        "pb7": (*(greetings if number != 14 else ()), *modern.CASES.get(number, ())),
    }
    return {dialect: found for dialect, found in cases.items() if found}


ROWS: Final[tuple[Row, ...]] = tuple(
    Row(number, title, expected, _cases(number), _NOTES.get(number, ""), _ELSEWHERE.get(number, ()))
    for number, (title, expected) in enumerate(_TABLE, 1)
)


def _every_case() -> Iterator[tuple[Row, str, Case, Direction]]:
    """Yield each case of each row, in each dialect and direction."""
    for row in ROWS:
        for dialect, cases in row.cases.items():
            for case in cases:
                for direction in case.directions:
                    yield row, dialect, case, direction


#: Runs a test for each case of the table.
each_case = pytest.mark.parametrize(
    ("dialect", "case", "direction"),
    [
        pytest.param(dialect, case, direction, id=f"{row.number}-{dialect}-{direction}-{case.name}")
        for row, dialect, case, direction in _every_case()
    ],
)
