"""The samples of a soak: a slope, a plot, a file."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["GOAL_KIB_PER_HOUR", "slope_per_hour", "write_json", "write_plot"]

#: ROBUSTNESS, fault 16: less than a MiB an hour.
GOAL_KIB_PER_HOUR = 1024.0

#: Panels of the plot: title and the figures in it.
_PANELS = (
    ("resident memory of the server (MiB)", ("rss_mib",)),
    ("connections, tasks, open files", ("connections", "tasks", "fds")),
    ("tables", ("exported", "imported", "observed", "calls_in", "calls_out")),
    ("objects that the collector knows", ("objects",)),
)


def slope_per_hour(samples: Sequence[dict[str, Any]], name: str) -> float:
    """Return the growth of a figure in an hour: least squares over the second half; the first half is warming up.

    Raises:
        ValueError: there are too few samples.
    """
    times = [float(sample["at"]) for sample in samples]
    if len(samples) < 4:
        raise ValueError("four samples at least")
    middle = (times[0] + times[-1]) / 2
    points = [(at, float(sample[name])) for at, sample in zip(times, samples, strict=True) if at >= middle]
    mean_at = sum(at for at, _ in points) / len(points)
    mean = sum(value for _, value in points) / len(points)
    over = sum((at - mean_at) * (value - mean) for at, value in points)
    under = sum((at - mean_at) ** 2 for at, _ in points)
    return 3600 * over / under


def write_json(path: Path, what: dict[str, Any]) -> None:
    path.write_text(json.dumps(what, indent=1) + "\n")


def write_plot(path: Path, samples: Sequence[dict[str, Any]], slope: float) -> bool:
    """Draw the figures of the server over time. Return False without matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        return False
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    minutes = [(sample["at"] - samples[0]["at"]) / 60 for sample in samples]
    figure, panels = plt.subplots(len(_PANELS), 1, figsize=(9, 10), sharex=True)
    for panel, (title, names) in zip(panels, _PANELS, strict=True):
        for name in names:
            values = [s["rss_kib"] / 1024 if name == "rss_mib" else s[name] for s in samples]
            panel.plot(minutes, values, label=name, linewidth=0.9)
        panel.set_title(title, fontsize=9)
        panel.set_ylim(bottom=0)
        if len(names) > 1:
            panel.legend(fontsize=7, ncols=len(names))
    panels[0].set_title(f"{_PANELS[0][0]}: {slope:+.0f} KiB/h over the second half", fontsize=9)
    panels[-1].set_xlabel("minutes")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return True
