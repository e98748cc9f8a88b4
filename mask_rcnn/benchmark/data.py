"""Measures the training data in images per second, next to a plain decode and resize of the same files."""

import dataclasses
import itertools
import os

import numpy as np
from PIL import Image

from mask_rcnn.benchmark.timing import median, timed
from mask_rcnn.data.pipeline import PREFETCHED_BATCHES, training_dataset
from mask_rcnn.data.transforms import Resize, input_size

WORKERS = (1, 2)  # processes
NUM_IMAGES = 160  # images per measurement, rounded up to whole batches


def benchmark_data(dataset, config, batch_size, repeats):
    """Measures the training data of a config, in turns with a plain decode and resize.

    Args:
        dataset: `Dataset`.
        config: `Config`.
        batch_size: Number of images per batch.
        repeats: Number of rounds of all measurements. The median is reported.

    Returns:
        Dict with
        bare: Images per second of JPEG decoding with Pillow and resizing as in `input.resize`, in one
            process.
        workers: `{number of processes: images per second of complete batches}`.
        ratio: Complete batches with one process divided by `bare`.
        speedup: Complete batches with two processes divided by those with one.
        loader_cpu: CPU seconds per image in this process, with one worker.
        load: (load average of the machine before, after).
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
    """Returns the report of `benchmark_data` as text."""
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


def _batches(dataset, config, workers, steps):
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
