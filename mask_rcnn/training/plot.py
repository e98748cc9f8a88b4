"""Plots the losses of a run, and defines the style of all plots."""

import csv
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from absl import logging

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Maximum number of points per curve. Each point is the mean of a range of steps.
POINTS = 300
DPI = 120


def plot_losses(log_path: Path, picture_path: Path) -> None:
    """Draws every loss of `log.csv` as a curve over the steps. Without matplotlib, it only logs a warning.

    Args:
        log_path: `Path` of the file that `CsvLog` wrote.
        picture_path: `Path` of the PNG file.
    """
    figure = new_figure("the losses", (9, 5))
    if figure is None:
        return
    with open(log_path, newline="") as file:
        rows = list(csv.DictReader(file))
    names = ["loss", *(name for name in rows[0] if name.endswith("_loss"))]
    axes = figure.subplots()
    steps = _means([int(row["step"]) for row in rows])
    for name in names:
        width = 2.2 if name == "loss" else 1.2
        axes.plot(steps, _means([float(row[name]) for row in rows]), linewidth=width, label=_title(name))
    axes.set(xlabel="step", ylabel="loss", ylim=(0, None))
    style(axes)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(picture_path, dpi=DPI)


def new_figure(content: str, size: tuple[float, float]) -> "Figure | None":
    """Returns an empty matplotlib figure, or None with a warning if matplotlib is not installed.

    Args:
        content: Content of the figure, such as "the losses", for the warning.
        size: (width, height) in inches.
    """
    if importlib.util.find_spec("matplotlib") is None:
        logging.warning("No picture of %s: `pip install matplotlib` to have it.", content)
        return None
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained")


def style(axes: "Axes") -> None:
    """Adds a light grid to matplotlib axes and removes the top and right frame lines."""
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _means(values: Sequence[float]) -> list[float]:
    """Returns the means of at most `POINTS` ranges of neighboring values."""
    return [float(part.mean()) for part in np.array_split(values, min(POINTS, len(values)))]


def _title(name: str) -> str:
    return "total" if name == "loss" else name.removesuffix("_loss").replace("_", " ")
