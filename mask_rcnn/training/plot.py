"""The picture of a run, its losses by step, and the style of all plots."""

import csv
import importlib.util

import numpy as np
from absl import logging

# Points of a curve: each is the mean of the steps between two points.
POINTS = 300
DPI = 120


def plot_losses(log_path, picture_path):
    """Draws every loss of `log.csv`; says that it does not, where matplotlib is missing.

    Args:
        log_path: what `CsvLog` wrote.
        picture_path: a PNG file.
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


def new_figure(what, size):
    """Returns an empty matplotlib figure, or None, with a warning, where matplotlib is missing.

    Args:
        what: What it shows, for the warning.
        size: (width, height) in inches.
    """
    if importlib.util.find_spec("matplotlib") is None:
        logging.warning("No picture of %s: `pip install matplotlib` to have it.", what)
        return None
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained")


def style(axes):
    """Gives axes a light grid and no frame on top and at the right."""
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _means(values):
    """Means of at most `POINTS` runs of neighbours."""
    return [part.mean() for part in np.array_split(values, min(POINTS, len(values)))]


def _title(name):
    return "total" if name == "loss" else name.removesuffix("_loss").replace("_", " ")
