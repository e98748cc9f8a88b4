"""The picture of a run: its losses by step."""

import csv
import importlib.util

import numpy as np
from absl import logging

# Points of a curve: each is the mean of the steps between two points.
POINTS = 300


def plot_losses(log_path, picture_path):
    """Draws every loss of `log.csv`; says that it does not, where matplotlib is missing.

    Args:
        log_path: what `CsvLog` wrote.
        picture_path: a PNG file.
    """
    if importlib.util.find_spec("matplotlib") is None:
        logging.warning("No picture of the losses: `pip install matplotlib` to have it.")
        return
    from matplotlib.figure import Figure

    with open(log_path, newline="") as file:
        rows = list(csv.DictReader(file))
    names = ["loss", *(name for name in rows[0] if name.endswith("_loss"))]
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    steps = _means([int(row["step"]) for row in rows])
    for name in names:
        width = 2.2 if name == "loss" else 1.2
        axes.plot(steps, _means([float(row[name]) for row in rows]), linewidth=width, label=_title(name))
    axes.set(xlabel="step", ylabel="loss", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(picture_path, dpi=120)


def _means(values):
    """Means of at most `POINTS` runs of neighbours."""
    return [part.mean() for part in np.array_split(values, min(POINTS, len(values)))]


def _title(name):
    return "total" if name == "loss" else name.removesuffix("_loss").replace("_", " ")
