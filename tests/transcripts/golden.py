"""The golden files: one line for each life, and a few complete lives for people to read."""

from __future__ import annotations

from pathlib import Path

from .lives import DIALECTS, LIVES, live
from .recording import Message, Summary, summary_of

__all__ = ["UPDATE", "WHOLE", "explain", "is_readable_current", "read", "write"]

FOLDER = Path(__file__).with_name("golden")
UPDATE = "python -m tests.transcripts --write"
#: The lives that are kept completely.
WHOLE = [1, 2, 3]
#: Messages before the one that differs, in an explanation.
_CONTEXT = 4


def read(dialect: str) -> list[Summary]:
    """Return the record of each life of a dialect."""
    lines = (FOLDER / f"{dialect}.txt").read_text(encoding="utf-8").splitlines()
    fields = (line.split() for line in lines if not line.startswith("#"))
    return [Summary(digest, int(size), marks) for _, digest, size, marks in fields]


def write() -> None:
    """Run all lives and write the files."""
    for dialect in DIALECTS:
        lives = [live(dialect, number) for number in range(LIVES)]
        head = f"# number, digest, bytes, marks (see Summary); made by {UPDATE}\n"
        rows = (f"{number} {' '.join(map(str, summary_of(life)))}\n" for number, life in enumerate(lives))
        (FOLDER / f"{dialect}.txt").write_text(head + "".join(rows), encoding="utf-8")
        for number in WHOLE:
            _whole(dialect, number).write_text(readable(lives[number]), encoding="utf-8")


def readable(life: list[Message]) -> str:
    """Return a life as text, a message a line."""
    return "".join(f"{message}\n" for message in life)


def is_readable_current(dialect: str, number: int, life: list[Message]) -> bool:
    """Return whether the file of a complete life is equal to it."""
    return _whole(dialect, number).read_text(encoding="utf-8") == readable(life)


def _whole(dialect: str, number: int) -> Path:
    return FOLDER / f"{dialect}-{number}.txt"


def explain(dialect: str, number: int, life: list[Message], golden: Summary) -> str:
    """Describe the first message of ``life`` that differs from the golden file, and the messages before it."""
    index = summary_of(life).first_difference(golden)
    lines = [f"life {number} of {dialect}: message {index} differs from the golden file"]
    lines += [f"    {message}" for message in life[max(0, index - _CONTEXT) : index]]
    lines.append(f"now {life[index]}" if index < len(life) else "now nothing more is sent")
    if number in WHOLE:
        before = _whole(dialect, number).read_text(encoding="utf-8").splitlines()
        lines.append(f"was {before[index]}" if index < len(before) else "was the end")
    else:
        lines.append(
            f"was something else; at the parent commit: python -m tests.transcripts --show {dialect} {number}"
        )
    return "\n".join(lines)
