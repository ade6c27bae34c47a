"""Starts the processes of the rows and has them measure in turn."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench.columns import COLUMNS, Column
from bench.rows import ROWS, Row

_HERE: Final = Path(__file__).resolve().parent
RESULTS: Final = _HERE / "results"
_START: Final = 30.0
"""Seconds a process gets until its first line; importing is most of it."""


class ChildFailed(Exception):
    """A process ended, or did not answer in time."""


@dataclass
class Cell:
    """The results of one row in one column."""

    samples: list[float] = field(default_factory=list)
    amounts: list[float] = field(default_factory=list)
    note: str | None = None
    reason: str | None = None
    """The reason for a missing figure, or for fewer figures than rounds."""


Table = dict[str, dict[str, Cell]]


class _Child:
    """One process of a row, and the lines it prints."""

    def __init__(self, role: str, row: Row, *arguments: str) -> None:
        RESULTS.mkdir(exist_ok=True)
        self.log = RESULTS / f"{row.name}.{role}.log"
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bench.child", role, row.name, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=_HERE.parent,
            )
        self.lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def answer(self, seconds: float) -> dict[str, Any]:
        try:
            line = self.lines.get(timeout=seconds)
        except queue.Empty:
            raise ChildFailed(f"no result within {seconds:.0f} s") from None
        if line is None:
            raise ChildFailed(f"its process ended; see {self.log.relative_to(_HERE.parent)}")
        answer: dict[str, Any] = json.loads(line)
        if "unavailable" in answer:
            raise ChildFailed(f"not available: {answer['unavailable']}")
        return answer

    def tell(self, **command: Any) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            # Its output or its log has the error; ``answer`` finds it.
            pass

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass


class _Pair:
    """A serving and a calling process."""

    def __init__(self, row: Row) -> None:
        self.children: list[_Child] = []
        try:
            server = _Child("serve", row)
            self.children.append(server)
            address = server.answer(_START)["address"]
            self.caller = _Child("call", row, address)
            self.children.append(self.caller)
            self.notes: dict[str, str] = self.caller.answer(_START)["notes"]
        except BaseException:
            self.end()
            raise

    def measure(self, column: Column, seconds: float, cut: float) -> dict[str, Any]:
        self.caller.tell(column=column.name, seconds=seconds, cut=cut)
        return self.caller.answer(seconds * 4 + cut + 20)

    def end(self) -> None:
        for child in reversed(self.children):
            child.end()


class Bench:
    """All the pairs of a run. They stay up from the first round to the last, idle when not measured."""

    def __init__(self, rows: list[Row], columns: list[Column], seconds: float, cut: float) -> None:
        self.rows = rows
        self.columns = columns
        self.seconds = seconds
        self.cut = cut
        self.table: Table = {row.name: {column.name: Cell() for column in columns} for row in rows}
        for row in rows:
            for column in columns:
                if row.column not in ("", column.name):
                    self.table[row.name][column.name].reason = "measured in one column alone"
        self._pairs: dict[str, _Pair] = {}

    @contextmanager
    def processes(self) -> Iterator[None]:
        """Ends the processes that were started, also after an interrupt."""
        try:
            yield
        finally:
            for pair in self._pairs.values():
                pair.end()
            self._pairs.clear()

    def start(self) -> None:
        """Start all processes, so that no process is measured while it or another is still starting."""
        for row in self.rows:
            self._pair(row)

    def round(self, progress: Callable[[Row, Column], None]) -> None:
        """Measure every cell once: column by column, the rows of a column one right after the other, because
        only figures taken close together can be compared on a shared machine."""
        for column in self.columns:
            for row in self.rows:
                cell = self.table[row.name][column.name]
                if cell.reason is None:
                    progress(row, column)
                    self._measure(row, column, cell)

    def _measure(self, row: Row, column: Column, cell: Cell) -> None:
        pair = self._pair(row)
        if pair is None:
            return
        cell.note = pair.notes.get(column.name)
        try:
            answer = pair.measure(column, self.seconds, self.cut)
        except ChildFailed as error:
            # The next column gets fresh processes.
            self._pairs.pop(row.name).end()
            cell.reason = str(error)
            cells = self.table[row.name].values()
            if not any(each.samples for each in cells):
                # It is unlikely to answer in the other columns either, and waiting for each takes minutes.
                for each in cells:
                    each.reason = each.reason or str(error)
            return
        cell.reason = answer.get("not_offered") or answer.get("failed")
        if "reading" in answer:
            cell.samples.append(answer["reading"]["rate"])
            cell.amounts.append(answer["reading"]["amount"])

    def _pair(self, row: Row) -> _Pair | None:
        """The processes of a row, started if necessary; None, and a reason, if they cannot be started."""
        if row.name not in self._pairs:
            missing = row.missing()
            try:
                if missing:
                    raise ChildFailed(f"not available: {', '.join(missing)} not installed")
                self._pairs[row.name] = _Pair(row)
            except ChildFailed as error:
                for cell in self.table[row.name].values():
                    cell.reason = str(error)
        return self._pairs.get(row.name)


def pick_rows(names: list[str]) -> list[Row]:
    """Rows by name, in the order of the table."""
    return [row for row in ROWS.values() if row.name in names]


def pick_columns(names: list[str]) -> list[Column]:
    """Columns by name, in the order of the table."""
    return [column for column in COLUMNS.values() if column.name in names]
