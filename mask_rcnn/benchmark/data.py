"""Images per second of the training data, beside a bare decode and resize of the same files."""

import dataclasses
import itertools
import os

import numpy as np
from PIL import Image

from mask_rcnn.benchmark.timing import median, timed
from mask_rcnn.data.pipeline import PREFETCHED_BATCHES, training_dataset
from mask_rcnn.data.transforms import Resize, input_size

WORKERS = (1, 2)  # processes
NUM_IMAGES = 160  # of each measurement, rounded up to whole batches


def benchmark_data(dataset, config, batch_size, repeats):
    """Measures the training data of a config, in turns with a bare decode and resize.

    Args:
        dataset: `Dataset`.
        config: `Config`.
        batch_size: images of a batch.
        repeats: rounds of all measurements; the median counts.

    Returns:
        Dict of images per second:

        - `bare`: JPEG decode by Pillow and resize as `input.resize` says, one after the other in one process.
        - `workers`: `{number of processes: complete batches}`.
        - `ratio`: complete batches of one process over `bare`.
        - `speedup`: complete batches of two processes over those of one.

        and `loader_cpu`, CPU seconds per image of this process with one worker; `load`, the mean number of
        running programs of the machine before and after.
    """
    steps = -(-NUM_IMAGES // batch_size)
    train = dataclasses.replace(config.train, batch_size=batch_size, reference_batch_size=batch_size)
    config = dataclasses.replace(config, num_classes=dataset.num_classes, train=train)
    load = [os.getloadavg()[0]]
    runs = {"bare": _bare(dataset, config, steps * batch_size)}
    for workers in WORKERS:
        runs[workers] = _batches(dataset, config, workers, steps)
    seconds = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            seconds[name].append(run())
    middle = {name: median(taken) / (steps * batch_size) for name, taken in seconds.items()}
    bare, one, two = (1 / taken.wall for taken in middle.values())
    return {
        "bare": bare,
        "workers": dict(zip(WORKERS, (one, two), strict=True)),
        "ratio": one / bare,
        "speedup": two / one,
        "loader_cpu": middle[WORKERS[0]].cpu,
        "load": [*load, os.getloadavg()[0]],
    }


def format_data_report(report):
    """Returns the report of `benchmark_data` as a text."""
    lines = [f"Decode and resize alone: {report['bare']:.1f} images/s in one process"]
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


def _bare(dataset, config, num_images):
    """Returns a function that measures the `Seconds` of the least that training has to do with the files."""
    records = list(itertools.islice(itertools.cycle(dataset.images), num_images))
    short_side = max(config.input.train_short_sides)

    def run():
        for record in records:
            with record.path.open("rb") as file, Image.open(file) as image:
                pixels = np.asarray(image.convert("RGB"))
            size = input_size(pixels.shape[:2], short_side, config.input)
            Resize(pixels.shape[:2], size).apply(pixels, config.input.resize)

    return lambda: timed(run)[0]


def _batches(dataset, config, workers, steps):
    """Returns a function that measures the `Seconds` of complete batches, after the workers have started."""
    batch_size = config.train.batch_size
    warmup = PREFETCHED_BATCHES + 2 * workers // batch_size + 2  # that may be ready before the clock starts
    train = dataclasses.replace(config.train, steps=warmup + steps + PREFETCHED_BATCHES)
    data = dataclasses.replace(config.data, workers=workers)
    measured = dataclasses.replace(config, train=train, data=data)

    def run():
        batches = iter(training_dataset(dataset, measured))
        for _ in range(warmup):
            next(batches)
        return timed(lambda: [next(batches)["image_sizes"] for _ in range(steps)])[0]

    return run
