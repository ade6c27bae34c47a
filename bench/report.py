"""The table, the plot and the JSON file of a run."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import platform
import statistics
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.columns import STREAM_BYTES, Column
from bench.goals import Ratio, ratios
from bench.rows import ROWS, Row, version_of
from bench.runner import Cell, Table

_WIDTH = 140
"""Of the table if the width of the terminal is unknown."""


def short(value: float) -> str:
    """Three digits and a unit: 146k, 25.6k, 983, 3.21."""
    for size, suffix in ((1e6, "M"), (1e3, "k")):
        # 999.6 would round up to "1000".
        if value >= size * 0.9995:
            return _digits(value / size) + suffix
    return _digits(value)


def _digits(value: float) -> str:
    return f"{value:.{max(0, 2 - int(math.log10(value)))}f}" if value >= 1 else f"{value:.2f}"


def _cell_lines(cell: Cell, reference: int | None) -> tuple[str, str]:
    if not cell.samples:
        return (f"– [{reference}]", "")
    median = short(statistics.median(cell.samples))
    mark = f" [{reference}]" if reference else ""
    return median + mark, f"{short(min(cell.samples))}–{short(max(cell.samples))}"


class Footnotes:
    """Reasons and notes, each printed once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        return self._numbers.setdefault(text, len(self._numbers) + 1)

    def lines(self) -> Iterable[str]:
        return (f"[{number}] {text}" for text, number in self._numbers.items())


def print_table(table: Table, rows: list[Row], columns: list[Column]) -> None:
    """Print the table (with rich if it is there), its footnotes, and the goals that can be judged."""
    notes = Footnotes()
    body: list[list[tuple[str, str]]] = []
    for row in rows:
        line = []
        for column in columns:
            cell = table[row.name][column.name]
            line.append(_cell_lines(cell, _reference(cell, column, notes)))
        body.append(line)
    heads = [(column.title, column.unit) for column in columns]
    if importlib.util.find_spec("rich"):
        _print_rich(heads, rows, body)
    else:
        _print_plain(heads, rows, body)
    print("medians, below them the slowest and the fastest round")
    for text in notes.lines():
        print(text)
    _print_goals(ratios(table))


def _reference(cell: Cell, column: Column, notes: Footnotes) -> int | None:
    texts = [text for text in (cell.note if cell.samples else None, cell.reason) if text]
    if column.name == "stream" and cell.samples and min(cell.amounts) < STREAM_BYTES:
        texts.append("cut off before the end of the GiB")
    return notes.number("; ".join(texts)) if texts else None


def _print_rich(heads: list[tuple[str, str]], rows: list[Row], body: list[list[tuple[str, str]]]) -> None:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    # A file or a pipe has no width.
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    table = RichTable(show_lines=False)
    table.add_column("", no_wrap=True)
    for title, unit in heads:
        table.add_column(Text(f"{title}\n{unit}"), justify="right")
    for row, line in zip(rows, body, strict=True):
        cells = [Text.assemble((median, "bold"), "\n", (spread, "dim")) for median, spread in line]
        table.add_row(Text(row.label), *cells)
    console.print(table)


def _print_plain(heads: list[tuple[str, str]], rows: list[Row], body: list[list[tuple[str, str]]]) -> None:
    lines = [("", heads), *((row.label, line) for row, line in zip(rows, body, strict=True))]
    first = max(len(label) for label, _ in lines)
    widths = [max(len(text) for _, line in lines for text in line[index]) for index in range(len(heads))]
    for label, line in lines:
        for part in (0, 1):
            texts = [cell[part].rjust(width) for cell, width in zip(line, widths, strict=True)]
            print("  ".join([(label if part == 0 else "").ljust(first), *texts]).rstrip())


def _print_goals(found: list[Ratio]) -> None:
    if found:
        print("\ngoals (medians of the ratios of single rounds)")
    for ratio in found:
        goal = ratio.goal
        what = f"{ROWS[goal.ours].label} / {ROWS[goal.other].label}, {goal.column}"
        spread = f"({ratio.low:.2f}–{ratio.high:.2f})"
        verdict = "met" if ratio.met else "missed"
        print(f"  {what:<42} {ratio.median:>7.2f} {spread:<16} goal {goal.factor:g}  {verdict}")


def as_json(table: Table, rows: list[Row], columns: list[Column], options: dict[str, Any]) -> dict[str, Any]:
    """All measurements, and the versions that were measured."""
    needed = sorted({need for row in rows for need in row.needs} | {"uvloop"})
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "versions": {need: version_of(need) for need in needed},
        "options": options,
        "columns": {column.name: {"title": column.title, "unit": column.unit} for column in columns},
        "rows": {
            row.name: {
                "label": row.label,
                "cells": {column.name: _cell_json(table[row.name][column.name]) for column in columns},
            }
            for row in rows
        },
        "goals": [
            {
                "ours": ratio.goal.ours,
                "other": ratio.goal.other,
                "column": ratio.goal.column,
                "goal": ratio.goal.factor,
                "median": ratio.median,
                "min": ratio.low,
                "max": ratio.high,
            }
            for ratio in ratios(table)
        ],
    }


def _cell_json(cell: Cell) -> dict[str, Any]:
    figures: dict[str, Any] = {"samples": cell.samples}
    if cell.samples:
        figures |= {
            "median": statistics.median(cell.samples),
            "min": min(cell.samples),
            "max": max(cell.samples),
        }
    return figures | {"note": cell.note, "reason": cell.reason}


def write_json(path: Path, results: dict[str, Any]) -> None:
    """Write the results for other programs to read."""
    path.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")


def write_plot(path: Path, table: Table, rows: list[Row], columns: list[Column]) -> bool:
    """Draw one panel per column. Return False without matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        return False
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    across = min(4, len(columns))
    down = math.ceil(len(columns) / across)
    height = 0.28 * len(rows) + 1.1
    figure, panels = plt.subplots(down, across, figsize=(4.6 * across, height * down), squeeze=False)
    for panel in panels.flat[len(columns) :]:
        panel.set_visible(False)
    for column, panel in zip(columns, panels.flat, strict=False):
        shown = [row for row in rows if table[row.name][column.name].samples]
        for place, row in enumerate(shown):
            samples = table[row.name][column.name].samples
            median = statistics.median(samples)
            colour = "#c0392b" if row.label.startswith("ours") or row.label.endswith("ours") else "#7f8c8d"
            if "floor" in row.name:
                colour = "#2c3e50"
            spread = [[median - min(samples)], [max(samples) - median]]
            panel.barh(place, median, color=colour, xerr=spread, ecolor="black", capsize=2)
            panel.annotate(f" {short(median)}", (max(samples), place), va="center", fontsize=7)
        panel.set_yticks(range(len(shown)), [row.label for row in shown], fontsize=8)
        panel.invert_yaxis()
        # The rows are orders of magnitude apart.
        panel.set_xscale("log")
        panel.margins(x=0.18)
        panel.tick_params(axis="x", labelsize=7)
        panel.set_title(f"{column.title} ({column.unit})", fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return True
