"""Measures the training data in images per second, next to a plain decode and resize of the same files."""

import dataclasses
import itertools
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from mask_rcnn.benchmark.timing import Seconds, median, timed
from mask_rcnn.config import Config
from mask_rcnn.data.input_pipeline.pipeline import PREFETCHED_BATCHES, training_dataset
from mask_rcnn.data.records import Dataset
from mask_rcnn.data.transforms import Resize, input_size

WORKERS = (1, 2)  # processes
NUM_IMAGES = 160  # images per measurement, rounded up to whole batches


def benchmark_data(dataset: Dataset, config: Config, *, batch_size: int, repeats: int) -> dict[str, Any]:
    """Measures the training data of a config, in turns with a plain decode and resize.

    Args:
        dataset: `Dataset`.
        config: `Config`.
        batch_size: Number of images per batch.
        repeats: Number of rounds of all measurements. The median is reported.

    Returns:
        Dict with
        baseline: Images per second of JPEG decoding with Pillow and resizing as in `input.resize`, in one
            process.
        workers: `{number of processes: images per second of complete batches}`.
        ratio: Complete batches with one process divided by `baseline`.
        speedup: Complete batches with two processes divided by those with one.
        loader_cpu: CPU seconds per image in this process, with one worker.
        load: (load average of the machine before, after).
    """
    steps = -(-NUM_IMAGES // batch_size)
    train = dataclasses.replace(config.train, batch_size=batch_size, reference_batch_size=batch_size)
    config = dataclasses.replace(config, num_classes=dataset.num_classes, train=train)
    load = [os.getloadavg()[0]]
    runs: dict[str | int, Callable[[], Seconds]] = {
        "baseline": _baseline(dataset, config, steps * batch_size)
    }
    for workers in WORKERS:
        runs[workers] = _batches(dataset, config, workers=workers, steps=steps)
    seconds: dict[str | int, list[Seconds]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            seconds[name].append(run())
    medians = {name: median(measured) / (steps * batch_size) for name, measured in seconds.items()}
    baseline, one, two = (1 / duration.wall for duration in medians.values())
    return {
        "baseline": baseline,
        "workers": dict(zip(WORKERS, (one, two), strict=True)),
        "ratio": one / baseline,
        "speedup": two / one,
        "loader_cpu": medians[WORKERS[0]].cpu,
        "load": [*load, os.getloadavg()[0]],
    }


def format_data_report(report: dict[str, Any]) -> str:
    """Returns the report of `benchmark_data` as text."""
    lines = [f"Decode and resize alone: {report['baseline']:.1f} images/s in one process"]
    for workers, rate in report["workers"].items():
        lines.append(f"Complete batches, data.workers={workers}: {rate:.1f} images/s")
    before, after = report["load"]
    return "\n".join(
        [
            *lines,
            f"Complete batches over decode and resize: {report['ratio']:.2f}; "
            f"two workers over one: {report['speedup']:.2f}",
            f"CPU of the training process: {1000 * report['loader_cpu']:.1f} ms per image",
            f"{os.cpu_count()} cores, load average {before:.1f} before and {after:.1f} after",
        ]
    )


def _baseline(dataset: Dataset, config: Config, num_images: int) -> Callable[[], Seconds]:
    """Returns a function that measures the `Seconds` of a plain decode and resize of the files."""
    records = list(itertools.islice(itertools.cycle(dataset.images), num_images))
    short_side = max(config.input.train_short_sides)

    def run():
        for record in records:
            with record.path.open("rb") as file, Image.open(file) as image:
                pixels = np.asarray(image.convert("RGB"))
            size = input_size(pixels.shape[:2], short_side, config.input)
            Resize(pixels.shape[:2], size).apply(pixels, config.input.resize)

    return lambda: timed(run)[0]


def _batches(dataset: Dataset, config: Config, *, workers: int, steps: int) -> Callable[[], Seconds]:
    """Returns a function that measures the `Seconds` of complete batches after the workers have started."""
    batch_size = config.train.batch_size
    warmup = PREFETCHED_BATCHES + 2 * workers // batch_size + 2  # batches that may be ready before the start
    train = dataclasses.replace(config.train, steps=warmup + steps + PREFETCHED_BATCHES)
    data = dataclasses.replace(config.data, workers=workers)
    measured = dataclasses.replace(config, train=train, data=data)

    def run():
        batches = iter(training_dataset(dataset, measured))
        for _ in range(warmup):
            next(batches)
        return timed(lambda: [next(batches)["image_sizes"] for _ in range(steps)])[0]

    return run
