"""The states of a peer's call as the documents show them, made from the table in ``session/call_states.py``.

python -m tests.architecture.call_states            # print them
python -m tests.architecture.call_states --write    # write them into the page
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from perspective_broker.session.call_states import EVENTS, NEXT_STATE, STATES

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "understand" / "life-of-a-call.md"
BEGIN, END = "<!-- states -->\n", "<!-- end of states -->\n"


def transitions(state: int) -> dict[int, int]:
    """Return what can happen in a state: event -> next state."""
    row = NEXT_STATE[state * len(EVENTS) : (state + 1) * len(EVENTS)]
    return {event: after for event, after in enumerate(row) if after >= 0}


def drawing() -> str:
    """Return the states and events as a diagram (Mermaid)."""
    arrows = [f"    [*] --> {STATES[0][0]}"]
    for state, (name, _) in enumerate(STATES):
        steps = transitions(state)
        arrows += [f"    {name} --> {STATES[after][0]}: {EVENTS[event]}" for event, after in steps.items()]
        if not steps:
            arrows.append(f"    {name} --> [*]")
    return "\n".join(["```mermaid", "stateDiagram-v2", *arrows, "```"]) + "\n"


def listing() -> str:
    """Return diagram and table of the states as Markdown."""
    return f"{drawing()}\n{table()}"


def table() -> str:
    """Return the table of the states, with a row for each."""
    rows = ["| state | meaning | event ──▶ next state |", "|---|---|---|"]
    for state, (name, meaning) in enumerate(STATES):
        steps = ", ".join(
            f"{EVENTS[event]} ──▶ **{STATES[after][0]}**" for event, after in transitions(state).items()
        )
        rows.append(f"| **{name}** | {meaning} | {steps or 'none'} |")
    return "\n".join(rows) + "\n"


def page_with(text: str) -> str:
    """Return the page with another list of states."""
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    return before + BEGIN + "\n" + text + "\n" + END + rest.split(END)[1]


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(page_with(listing()), encoding="utf-8")
    else:
        print(listing(), end="")
