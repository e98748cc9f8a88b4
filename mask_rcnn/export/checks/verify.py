"""Checks an exported model: runs it in a separate Python process and compares it with the Keras model."""

import contextlib
import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np

from mask_rcnn.export.checks import subprocess_runner
from mask_rcnn.export.checks.compare import DIFFERENCES, compare
from mask_rcnn.export.checks.confidence_bounds import images_needed, share_of
from mask_rcnn.export.checks.training_scale import CONFIDENT, compare_with_own_scale, own_scale_warnings
from mask_rcnn.export.formats import KERAS, format_of
from mask_rcnn.system.json_subprocess import JsonSubprocess

OUTCOMES = {
    "passed": "passed",
    "warned": "PASSED WITH WARNINGS: it says what the Keras model says in the same frame; see above",
    "undecided": "UNDECIDED: too few detections to tell; measure its AP with `mask-rcnn evaluate --model`",
    "failed": "FAILED",
}


class Alone:
    """A context manager that runs an exported model in a separate Python process.

    Args:
        path: Path of the model.
        images: `{name: [H, W, 3] uint8}`.
        threads: Int, number of threads that the runtime may use. Defaults to None, the runtime's own choice.

    Attributes:
        versions: `{package: version}` of its runtime.
        load: Loading time, seconds.
        process_id: Id of the process while it runs.
    """

    def __init__(self, path, images, threads=None):
        self._path, self._images, self._threads = Path(path), images, threads

    def __enter__(self):
        format = format_of(self._path)
        with contextlib.ExitStack() as stack:
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mask_rcnn_alone_")))
            images = self._folder / "images.npz"
            # Numbers instead of names, because a name may contain line breaks and slashes.
            self._numbers = {name: str(number) for number, name in enumerate(self._images)}
            np.savez(images, **{self._numbers[name]: image for name, image in self._images.items()})
            # In isolated mode (-I), Python imports nothing from the working directory.
            words = [sys.executable, "-I", subprocess_runner.__file__]
            expected = f"{str(self._path)!r} must run in an interpreter of its own."
            self._program = stack.enter_context(JsonSubprocess(words, expected))
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
        """Runs the image `name`. Returns a dict of `wall` and `cpu`, seconds."""
        return self._program.ask(f"run {self._numbers[name]}")

    def found(self):
        """Returns the outputs for each image that was run, `{image name: {output: array}}`."""
        file = self._folder / "found.npz"
        self._program.ask(f"save {file}")
        outputs = {number: {} for number in self._numbers.values()}
        with np.load(file) as arrays:
            for key in arrays:
                number, _, output = key.rpartition("/")
                outputs[number][output] = arrays[key]
        return {name: outputs[number] for name, number in self._numbers.items()}


def verify(path, reference, images, tolerance, *, least_bytes=0, own_scale=None, calibration=()):
    """Compares an exported model with the Keras model on some images.

    Args:
        path: Path of the exported model.
        reference: Function of an image that returns the outputs of a runner: a `keras_runner.Runner`.
        images: `{name: [H, W, 3] uint8}`. The model should detect objects in them. More images reveal smaller
            differences.
        tolerance: `Tolerance`.
        least_bytes: Int, number of bytes that the weights need. A smaller export has lost weights. Defaults
            to 0.
        own_scale: `OwnScale` for a format with a fixed frame. Defaults to None.
        calibration: Names of the calibration images of int8. Defaults to none.

    Returns:
        Dict that JSON can represent:

        - `outcome`: a key of OUTCOMES. The model must not be used if it is "failed".
        - `problems`, `doubts`, `warnings`: lists of sentences. The first list that is not empty determines
          the
          outcome: "failed", "undecided" or "warned".
        - `notes`: list of sentences about the format, which do not change the outcome.
        - `format`: name of the format.
        - `bytes`: size of the model on disk.
        - `versions`: `{package: version}` of the runtime.
        - `load`: loading time, seconds.
        - `images`: `{name: result of compare}`.
        - `worst`: sums of the counts and maxima of the differences over all images.
        - `tolerance`: dict of `Tolerance`.
        - `strays`: result of `share_of` for the detections that differ by more than the tolerance, or that
          only one model has.
        - `own_scale`: result of `compare_with_own_scale`, or None.
        - `calibration`: dict of `images`, the number of calibration images, and `compared`, the number of
          these that are also compared.
    """
    with Alone(path, images) as exported:
        for name in images:
            exported.run(name)
        found = exported.found()
    compared = {
        name: compare(reference(image), found[name], image.shape[:2], tolerance)
        for name, image in images.items()
    }
    worst, strays = _worst(compared.values()), _strays(compared.values())
    own = compare_with_own_scale(own_scale, images, found) if own_scale else None
    size, format = size_on_disk(path), format_of(path)
    problems = [*_size_problems(size, least_bytes), *_problems(worst, strays, tolerance)]
    doubts = list(_doubts(strays, tolerance, len(images)))
    warnings = list(own_scale_warnings(own)) if own else []
    return {
        "outcome": "failed" if problems else "undecided" if doubts else "warned" if warnings else "passed",
        "problems": problems,
        "doubts": doubts,
        "warnings": warnings,
        "notes": list(format.notes),
        "format": format.name,
        "bytes": size,
        "versions": exported.versions,
        "load": exported.load,
        "images": compared,
        "worst": worst,
        "strays": strays,
        "own_scale": own,
        "tolerance": asdict(tolerance),
        "calibration": {"images": len(calibration), "compared": len(set(calibration) & set(images))},
    }


def size_on_disk(path):
    """Returns the size of a file, or of all files in a folder, bytes."""
    path = Path(path)
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(os.path.getsize(file) for file in files)


def format_verification(report):
    """Returns a report of `verify` as text."""
    worst, tolerance, strays = report["worst"], report["tolerance"], report["strays"]
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    lines = [
        f"{report['format']}, {report['bytes'] / 1e6:.1f} MB, loaded in {report['load']:.1f} s; {versions}",
        f"{len(report['images'])} images, detections: {worst['expected']} of Keras, {worst['found']} of the "
        f"export; {worst['matched']} compared, {worst['moved']} of them too far apart; {worst['missing']} "
        f"missing, {worst['added']} added",
        f"  not the same: {_percentages(strays)} (tolerance {tolerance['strays']:.0%})",
        *(
            f"  {name:<10} differ by at most {worst[name]:<9.3g} (tolerance {tolerance[name]:g})"
            for name in DIFFERENCES
        ),
        *_format_own_scale(report["own_scale"]),
        *_format_calibration(report["calibration"]),
        *report["problems"],
        *report["doubts"],
        *(f"warning: {warning}" for warning in report["warnings"]),
        *(f"note: {note}" for note in report["notes"]),
        OUTCOMES[report["outcome"]],
    ]
    return "\n".join(lines)


def _percentages(share):
    """Returns a share as text, such as "2 of 40, 5.0% (1.6% to 14.5% in images like these)"."""
    return (
        f"{share['count']} of {share['total']}, {share['share']:.1%} "
        f"({share['lower']:.1%} to {share['upper']:.1%} in images like these)"
    )


def _format_own_scale(own_scale):
    if own_scale:
        scale = own_scale["scale"]
        yield (
            f"beside the Keras model at its own size, detections from score {CONFIDENT}: objects are "
            f"{scale['given'][1]:.2f} times as large"
        )
        yield f"  lost:  {_percentages(own_scale['lost'])}"
        yield f"  added: {_percentages(own_scale['added'])}"


def _format_calibration(calibration):
    if calibration["images"]:
        yield (
            f"{calibration['images']} calibration images; {calibration['compared']} of them are among the "
            "images that were compared"
        )


def _worst(compared):
    compared = list(compared)
    counts = ("expected", "found", "matched", "moved", "missing", "added")
    sums = {name: sum(each[name] for each in compared) for name in counts}
    # np.max keeps NaN, max() may not.
    return sums | {name: float(np.max([each[name] for each in compared])) for name in DIFFERENCES}


def _strays(compared):
    """Returns the share of the detections that are not the same: moved, missing or added."""
    compared = list(compared)
    counts = [each["moved"] + each["missing"] + each["added"] for each in compared]
    totals = [each["matched"] + each["missing"] + each["added"] for each in compared]
    return share_of(counts, totals)


def _problems(worst, strays, tolerance):
    if not worst["matched"]:
        yield (
            f"Nothing was compared: Keras found {worst['expected']} objects, the export {worst['found']}, "
            "and none of them are the same. Give images with objects that the model knows: --images."
        )
        return
    for name in DIFFERENCES:
        if not np.isfinite(worst[name]):
            yield f"The {name} differ by {worst[name]}, which no share of the detections may."
    if strays["lower"] > tolerance.strays or (strays["count"] and not tolerance.strays):
        yield f"{strays['count']} detections are not the same, more than {tolerance.strays:.0%}."
        for name in DIFFERENCES:
            if worst[name] > getattr(tolerance, name):
                yield f"The {name} differ by {worst[name]:.3g}, more than {getattr(tolerance, name):g}."


def _doubts(strays, tolerance, num_images):
    """Yields a sentence if the confidence bounds of the strays include the tolerance."""
    if strays["lower"] <= tolerance.strays < strays["upper"] and tolerance.strays:
        needed = images_needed(strays, tolerance.strays, num_images)
        advice = f"about {needed} images" if needed else "many more images"
        yield (
            f"{strays['total']} detections in {num_images} images do not tell whether at most "
            f"{tolerance.strays:.0%} of all are not the same. Give {advice}: --images, --check-images."
        )


def _size_problems(size, least):
    if size < least:
        yield f"{size} bytes cannot hold its weights, which are {least}: they were lost on the way."
