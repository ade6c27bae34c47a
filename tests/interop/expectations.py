"""The output of the Twisted client, scenario by scenario, if the server keeps the contract.

The same table judges Twisted's server (does the rig work?) and ours (do we?). Outcomes are the canonical
texts of `contract.show`; an error is ``!type: text``, or ``!type`` where the server chooses the text.
"""

from __future__ import annotations

from tests.interop.peers.contract import ECHO_DATES, ECHO_VALUES, EMPTY_TABLES, PAGED, show

Outcomes = list[tuple[str, str]]

_NO_TABLES = show(EMPTY_TABLES)
_LOST_AND_DEAD: Outcomes = [
    ("disconnected", "1"),
    ("hang", "!lost"),
    ("last call", "!lost"),
    ("afterwards", "!dead"),
]

#: Scenarios that a server may see in any number on one process.
EXPECTED: dict[str, Outcomes] = {
    "echo_all": [(name, show(value)) for name, value in ECHO_VALUES]
    + [("cycle", "True"), ("shared", "True"), ("blob", show(b"x" * 600_000)), ("texts", "True")],
    "kwargs": [
        ("positional", "3"),
        ("keyword", "7"),
        ("default", "5"),
        ("text", "'ab'"),
        ("many", show([[1, "two"], {"a": 1, "b": [2], "name": "x"}])),
        ("none at all", "[[], {}]"),
    ],
    "one_way": [("returned", "None"), ("recordings", "[0, 1, 2, 3, 4, 'waited']"), ("again", "[]")],
    "order": [
        ("names", "['a', 'b', 'c']"),
        ("recordings", show([[name, n] for n in range(20) for name in "abc"])),
        ("identity", "True"),
    ],
    "callback": [
        ("answer", show(("called", "hello"))),
        ("nested", show(("nested", 42))),
        ("later", show(("later", None))),
        ("pb.Error", "!interop.ContractError: from the client"),
        ("ValueError", "!builtins.ValueError: from the client"),
        ("no such method", "!twisted.spread.flavors.NoSuchMethod"),
    ],
    "references_home": [
        ("given back", "True"),
        ("given back in a list, twice", show((True, True))),
        ("own", "'own'"),
        ("is own", "True"),
        ("is not own", "False"),
        ("own again", "True"),
        ("same in one message", "True"),
    ],
    "copyables": [
        ("note", show(("Note", "hello \N{SNOWMAN}"))),
        ("take_note", "'carried'"),
        ("echo", show(("Note", "there and back"))),
        ("same", "True"),
        ("not same", "False"),
        ("nested", show(("Note", ("Note", "inner")))),
        ("shared", "True"),
    ],
    "errors": [
        ("pb.Error", "!interop.ContractError: boom"),
        ("pb.Error later", "!interop.ContractError: boom later"),
        ("ValueError", "!builtins.ValueError: boom"),
        ("ValueError later", "!builtins.ValueError: boom later"),
        ("text \N{SNOWMAN}", "!builtins.ValueError: \N{SNOWMAN}"),
        ("trap", "'interop.ContractError'"),
        ("carried", show(("CarriedError", "cargo"))),
        ("no such method", "!twisted.spread.flavors.NoSuchMethod"),
        ("wrong arguments", "!builtins.TypeError"),
        ("no traceback", "False"),
        ("one-way errors, then", "'still here'"),
    ],
    "checks": [
        ("pb.Error", "['interop.ContractError', 'twisted.spread.pb.Error', 'builtins.Exception']"),
        ("ValueError", "['builtins.ValueError', 'builtins.Exception']"),
        (
            "no such method",
            "['twisted.spread.flavors.NoSuchMethod', 'builtins.AttributeError', 'builtins.Exception']",
        ),
        ("wrong arguments", "['builtins.TypeError']"),
        ("stranger", "['twisted.spread.jelly.InsecureJelly']"),
    ],
    "thousand_in_flight": [
        ("echoes, in order", "True"),
        ("waiting", "1000"),
        ("fired", "1000"),
        ("answers", show({"fired": 1000})),
        ("tables", _NO_TABLES),
    ],
    "release": [
        ("held", show(("called", 1))),
        ("while held", "1"),
        ("after release", "0"),
        ("things at the server", "100"),
        ("tables of the server", _NO_TABLES),
        ("tables of the client", _NO_TABLES),
    ],
    "cacheable": [
        ("points", "0"),
        ("win", "3"),
        ("win again", "5"),
        ("replica", "5"),
        ("changes", "[3, 5]"),
        ("second replica", "5"),
        ("observers", "1"),
        ("dropped", "0"),
        ("tables of the server", _NO_TABLES),
        ("tables of the client", _NO_TABLES),
    ],
    "pages": [(f"{step} {kind} {size}", "True") for kind, size in PAGED for step in ("get", "send")]
    + [("tables of the server", _NO_TABLES), ("tables of the client", _NO_TABLES)],
    "hang_up": _LOST_AND_DEAD,
    "leave": [("leaving", "True")],
}

#: Needs a server that can send dates, which Twisted 19.10 cannot; any client can read them.
EXPECTED_DATES: dict[str, Outcomes] = {"dates": [(name, show(value)) for name, value in ECHO_DATES]}

#: Needs both.
EXPECTED_ECHO_DATES: dict[str, Outcomes] = {"echo_dates": EXPECTED_DATES["dates"]}

#: Needs a server that answers before it releases, which Twisted's does not.
EXPECTED_ECHOED_HOME: dict[str, Outcomes] = {
    "echoed_home": [
        ("echo", "True"),
        ("echo of two", show((True, False, True))),
        ("met itself", show(("called", True))),
        ("handed back", "True"),
        ("handed back again", "True"),
        ("tables of the server", _NO_TABLES),
        ("tables of the client", _NO_TABLES),
    ],
}

#: Needs a server with `--unsafe-tracebacks`.
EXPECTED_TRACEBACK: dict[str, Outcomes] = {
    "traceback": [("pb.Error", "True"), ("ValueError", "True"), ("ValueError later", "True")],
}

#: Ends the server process.
EXPECTED_KILL: dict[str, Outcomes] = {"killed": _LOST_AND_DEAD}

#: Ends the client process, in the middle of a call.
EXPECTED_DEATH: dict[str, Outcomes] = {"client_dies": [("dying", "True")]}

#: Needs a server with `--portal`.
EXPECTED_PORTAL: dict[str, Outcomes] = {
    "login": [
        ("whoami", "'alice'"),
        ("mind", show(("called", "from the avatar"))),
        ("attached", "['alice']"),
        ("note", show(("Note", "for alice"))),
    ],
    "refused": [
        ("wrong password", "!twisted.cred.error.UnauthorizedLogin"),
        ("unknown user", "!twisted.cred.error.UnauthorizedLogin"),
        ("right, on the same connection", "'bob'"),
    ],
    "anonymous": [("whoami", "'anonymous'"), ("mind", show(("called", "from the avatar")))],
    "views": [
        ("alice looks", "'alice'"),
        ("bob looks", "'bob'"),
        ("attached", "['alice', 'bob']"),
        ("alice posts", "1"),
        ("bob posts", "2"),
        ("posts", "[['alice', 'hello'], ['bob', 'hello yourself']]"),
        ("passed back home", "True"),
        ("clear", "None"),
        ("after bob left", "['alice']"),
    ],
}
