"""An exported model is run before anyone relies on it: alone, in a fresh interpreter of its own runtime."""

import contextlib
import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np

from mask_rcnn.export import alone
from mask_rcnn.export.compare import DIFFERENCES, compare
from mask_rcnn.export.formats import KERAS, format_of
from mask_rcnn.program import Program


class Alone:
    """An exported model in a process of its own, a context manager.

    Args:
        path: the model.
        images: `{name: [H, W, 3] uint8}`.
        threads: that it may use; None is its runtime's choice.

    Attributes:
        versions: of its runtime.
        load: seconds it took to load.
        process_id: while it runs.
    """

    def __init__(self, path, images, threads=None):
        self._path, self._images, self._threads = Path(path), images, threads

    def __enter__(self):
        format = format_of(self._path)
        with contextlib.ExitStack() as stack:
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mask_rcnn_alone_")))
            images = self._folder / "images.npz"
            np.savez(images, **self._images)
            # Isolated (-I), the interpreter sees what is installed and not what lies around.
            words = [sys.executable, "-I", alone.__file__]
            expected = f"{str(self._path)!r} must run in an interpreter of its own."
            self._program = stack.enter_context(Program(words, expected))
            job = {"runner": format.runner_file, "model": self._path, "images": images}
            job = {name: str(path) for name, path in job.items()} | {"threads": self._threads}
            answer = self._program.ask(json.dumps(job))
            if format is not KERAS and "mask_rcnn" in answer["imported"]:
                raise ValueError(
                    f"A runner must not need mask_rcnn. Received: {format.runner_file}. Copy what it imports."
                )
            self.versions, self.load = answer["versions"], answer["load"]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception):
        self._stack.close()

    @property
    def process_id(self):
        return self._program.process_id

    def run(self, name):
        """Runs image `name`; returns a dict of `wall` and `cpu`, seconds."""
        return self._program.ask(f"run {name}")

    def found(self):
        """Returns the outputs for each image that was run, `{image: {name: array}}`."""
        file = self._folder / "found.npz"
        self._program.ask(f"save {file}")
        outputs = {name: {} for name in self._images}
        with np.load(file) as arrays:
            for key in arrays:
                name, _, output = key.rpartition("/")
                outputs[name][output] = arrays[key]
        return outputs


def verify(path, reference, images, tolerance, least_bytes=0):
    """Compares an exported model with the Keras model.

    Args:
        path: the exported model.
        reference: function of an image to the outputs of a runner: a `keras_runner.Runner`.
        images: `{name: [H, W, 3] uint8}`, on which the model finds something.
        tolerance: `Tolerance`.
        least_bytes: that its weights need: a converter that loses them says nothing.

    Returns:
        The report, a dict that JSON can hold: `passed`; `problems`, a list of sentences; `format`, `bytes`,
        `versions`, `load` (seconds); `images`, `{name: what compare returns}`; `worst`, the sums and maxima
        of these; `tolerance`.
    """
    with Alone(path, images) as exported:
        for name in images:
            exported.run(name)
        found = exported.found()
    compared = {
        name: compare(reference(image), found[name], image.shape[:2], tolerance)
        for name, image in images.items()
    }
    worst = _worst(compared.values())
    report = {
        "format": format_of(path).name,
        "bytes": size_on_disk(path),
        "versions": exported.versions,
        "load": exported.load,
        "images": compared,
        "worst": worst,
        "tolerance": asdict(tolerance),
    }
    problems = [*_size_problems(report["bytes"], least_bytes), *_problems(worst, tolerance)]
    return {"passed": not problems, "problems": problems, **report}


def size_on_disk(path):
    """Returns the bytes of a file, or of all files in a folder."""
    path = Path(path)
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(os.path.getsize(file) for file in files)


def format_verification(report):
    """Returns a report of `verify` as text."""
    worst, tolerance = report["worst"], report["tolerance"]
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    lines = [
        f"{report['format']}, {report['bytes'] / 1e6:.1f} MB, loaded in {report['load']:.1f} s; {versions}",
        f"{len(report['images'])} images, detections: {worst['expected']} of Keras, {worst['found']} of the "
        f"export; {worst['matched']} compared, {worst['moved']} of them too far apart; {worst['missing']} "
        f"missing, {worst['added']} added",
        *(
            f"  {name:<10} differ by at most {worst[name]:<9.3g} (tolerance {tolerance[name]:g})"
            for name in DIFFERENCES
        ),
        *report["problems"],
        "passed" if report["passed"] else "FAILED",
    ]
    return "\n".join(lines)


def _worst(compared):
    compared = list(compared)
    counts = ("expected", "found", "matched", "moved", "missing", "added")
    sums = {name: sum(each[name] for each in compared) for name in counts}
    # np.max, for max() forgets NaN.
    return sums | {name: float(np.max([each[name] for each in compared])) for name in DIFFERENCES}


def _problems(worst, tolerance):
    if not worst["matched"]:
        yield (
            f"Nothing was compared: Keras found {worst['expected']} objects, the export {worst['found']}, "
            "and none of them are the same. Give images with objects that the model knows: --images."
        )
        return
    for name in DIFFERENCES:
        if not np.isfinite(worst[name]):
            yield f"The {name} differ by {worst[name]}, which no part of the detections may."
    strays = worst["moved"] + worst["missing"] + worst["added"]
    if strays > tolerance.strays * (worst["matched"] + worst["missing"]):
        yield f"{strays} detections are not the same, more than {tolerance.strays:.0%}."
        for name in DIFFERENCES:
            if worst[name] > getattr(tolerance, name):
                yield f"The {name} differ by {worst[name]:.3g}, more than {getattr(tolerance, name):g}."


def _size_problems(size, least):
    if size < least:
        yield f"{size} bytes cannot hold its weights, which are {least}: they were lost on the way."
