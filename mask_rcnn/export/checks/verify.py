"""Checks an exported model: runs it in a separate Python process and compares it with the Keras model."""

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import numpy as np

from mask_rcnn.export.checks import subprocess_runner
from mask_rcnn.export.checks.compare import DIFFERENCES, Tolerance, compare
from mask_rcnn.export.checks.confidence_bounds import FractionEstimate, estimate_fraction, images_needed
from mask_rcnn.export.checks.training_scale import (
    CONFIDENT,
    TrainingScale,
    compare_with_training_scale,
    training_scale_warnings,
)
from mask_rcnn.export.formats import KERAS, format_of
from mask_rcnn.export.runners.outputs import Outputs
from mask_rcnn.system.json_subprocess import JsonSubprocess

OUTCOMES = {
    "passed": "passed",
    "warned": "PASSED WITH WARNINGS: the export agrees with the Keras model in the same frame. See above.",
    "undecided": "UNDECIDED: too few detections. Measure the AP with `mask-rcnn evaluate --model`.",
    "failed": "FAILED",
}


class IsolatedRunner:
    """A context manager that runs an exported model in a separate Python process.

    Args:
        path: Path of the model.
        images: `{name: [H, W, 3] uint8}`.
        threads: Number of threads that the runtime may use. Defaults to None, the runtime's own choice.

    Attributes:
        versions: `{package: version}` of its runtime.
        load: Loading time, seconds.
        process_id: Id of the process while it runs.
    """

    versions: dict[str, str]
    load: float

    def __init__(self, path: Path | str, images: Mapping[str, np.ndarray], threads: int | None = None):
        self._path, self._images, self._threads = Path(path), images, threads

    def __enter__(self) -> Self:
        format = format_of(self._path)
        with contextlib.ExitStack() as stack:
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mask_rcnn_verify_")))
            images = self._folder / "images.npz"
            # Numbers instead of names, because a name may contain line breaks and slashes.
            self._numbers = {name: str(number) for number, name in enumerate(self._images)}
            arrays: dict[str, Any] = {self._numbers[name]: image for name, image in self._images.items()}
            np.savez(images, **arrays)
            # In isolated mode (-I), Python imports nothing from the working directory.
            command = [sys.executable, "-I", subprocess_runner.__file__]
            expected = f"Expected {str(self._path)!r} to run in a separate Python process."
            self._program = stack.enter_context(JsonSubprocess(command, expected))
            job = {"runner": format.runner_file, "model": self._path, "images": images}
            job = {name: str(path) for name, path in job.items()} | {"threads": self._threads}
            reply = self._program.ask(json.dumps(job))
            if format is not KERAS and "mask_rcnn" in reply["imported"]:
                raise ValueError(
                    f"A runner must not import mask_rcnn. Received: {format.runner_file}, which does. "
                    "Copy the functions that it needs into this file."
                )
            self.versions, self.load = reply["versions"], reply["load"]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    @property
    def process_id(self) -> int:
        """Id of the process."""
        return self._program.process_id

    def run(self, name: str) -> dict[str, float]:
        """Runs the image `name`. Returns a dict of `wall` and `cpu`, seconds."""
        return self._program.ask(f"run {self._numbers[name]}")

    def outputs(self) -> dict[str, Outputs]:
        """Returns the outputs for each image that was run, `{image name: {output: array}}`."""
        file = self._folder / "outputs.npz"
        self._program.ask(f"save {file}")
        outputs = {number: {} for number in self._numbers.values()}
        with np.load(file) as arrays:
            for key in arrays:
                number, _, output = key.rpartition("/")
                outputs[number][output] = arrays[key]
        return {name: outputs[number] for name, number in self._numbers.items()}


def verify(
    path: Path | str,
    reference: Callable[[np.ndarray], Outputs],
    images: Mapping[str, np.ndarray],
    *,
    tolerance: Tolerance,
    least_bytes: int = 0,
    training_scale: TrainingScale | None = None,
    calibration: Collection[str] = (),
) -> dict[str, Any]:
    """Compares an exported model with the Keras model on some images.

    Args:
        path: Path of the exported model.
        reference: Function of an image that returns the outputs of a runner: a `keras_runner.Runner`.
        images: `{name: [H, W, 3] uint8}`. The model should detect objects in them. More images reveal smaller
            differences.
        tolerance: Largest allowed differences.
        least_bytes: Number of bytes that the weights need. A smaller export has lost weights. Defaults to 0.
        training_scale: The model at its training scale, for a format with a fixed frame. Defaults to None.
        calibration: Names of the calibration images of int8. Defaults to none.

    Returns:
        Dict that JSON can represent:

        - `outcome`: a key of OUTCOMES. The model must not be used if it is "failed".
        - `problems`, `doubts`, `warnings`: lists of sentences. The first list that is not empty determines
          the outcome: "failed", "undecided" or "warned".
        - `notes`: list of sentences about the format, which do not change the outcome.
        - `format`: name of the format.
        - `bytes`: size of the model on disk.
        - `versions`: `{package: version}` of the runtime.
        - `load`: loading time, seconds.
        - `images`: `{name: result of compare}`.
        - `worst`: sums of the counts and maxima of the differences over all images.
        - `tolerance`: dict of `Tolerance`.
        - `mismatches`: result of `estimate_fraction` for the detections that differ by more than the
          tolerance, or that only one model has.
        - `training_scale`: result of `compare_with_training_scale`, or None.
        - `calibration`: dict of `images`, the number of calibration images, and `compared`, the number of
          these that are also compared.
    """
    with IsolatedRunner(path, images) as exported:
        for name in images:
            exported.run(name)
        found = exported.outputs()
    compared = {
        name: compare(reference(image), found[name], image_size=image.shape[:2], tolerance=tolerance)
        for name, image in images.items()
    }
    worst, mismatches = _worst(compared.values()), _mismatches(compared.values())
    scale_report = compare_with_training_scale(training_scale, images, found) if training_scale else None
    size, format = size_on_disk(path), format_of(path)
    problems = [*_size_problems(size, least_bytes), *_problems(worst, mismatches, tolerance)]
    doubts = list(_doubts(mismatches, tolerance, len(images)))
    warnings = list(training_scale_warnings(scale_report)) if scale_report else []
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
        "mismatches": mismatches,
        "training_scale": scale_report,
        "tolerance": asdict(tolerance),
        "calibration": {"images": len(calibration), "compared": len(set(calibration) & set(images))},
    }


def size_on_disk(path: Path | str) -> int:
    """Returns the size of a file, or of all files in a folder, bytes."""
    path = Path(path)
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(os.path.getsize(file) for file in files)


def format_verification(report: Mapping[str, Any]) -> str:
    """Returns a report of `verify` as text."""
    worst, tolerance, mismatches = report["worst"], report["tolerance"], report["mismatches"]
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    lines = [
        f"{report['format']}, {report['bytes'] / 1e6:.1f} MB, loaded in {report['load']:.1f} s; {versions}",
        f"{len(report['images'])} images. Detections: {worst['expected']} of the Keras model, "
        f"{worst['found']} of the export. {worst['matched']} pairs were compared, {worst['moved']} of them "
        f"differ by more than the tolerance. {worst['missing']} are missing, {worst['added']} were added.",
        f"  mismatches: {_percentages(mismatches)} (tolerance {tolerance['mismatches']:.0%})",
        *(
            f"  {name:<10} differ by at most {worst[name]:<9.3g} (tolerance {tolerance[name]:g})"
            for name in DIFFERENCES
        ),
        *_format_training_scale(report["training_scale"]),
        *_format_calibration(report["calibration"]),
        *report["problems"],
        *report["doubts"],
        *(f"warning: {warning}" for warning in report["warnings"]),
        *(f"note: {note}" for note in report["notes"]),
        OUTCOMES[report["outcome"]],
    ]
    return "\n".join(lines)


def _percentages(estimate: FractionEstimate) -> str:
    """Returns a fraction as text, such as "2 of 40, 5.0% (1.6% to 14.5% in images like these)"."""
    return (
        f"{estimate['count']} of {estimate['total']}, {estimate['fraction']:.1%} "
        f"({estimate['lower']:.1%} to {estimate['upper']:.1%} in images like these)"
    )


def _format_training_scale(report: Mapping[str, Any] | None) -> Iterator[str]:
    if report:
        yield (
            "Compared with the Keras model at its training scale, detections with scores of at least "
            f"{CONFIDENT}. Objects are {report['scale']['in_images'][1]:.2f} times as large."
        )
        yield f"  lost:  {_percentages(report['lost'])}"
        yield f"  added: {_percentages(report['added'])}"


def _format_calibration(calibration: Mapping[str, int]) -> Iterator[str]:
    if calibration["images"]:
        yield (
            f"{calibration['images']} calibration images; {calibration['compared']} of them are among the "
            "images that were compared"
        )


def _worst(compared: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the sums of the counts and the maxima of the differences over the results of `compare`."""
    compared = list(compared)
    counts = ("expected", "found", "matched", "moved", "missing", "added")
    sums = {name: sum(result[name] for result in compared) for name in counts}
    # np.max keeps NaN, max() may not.
    return sums | {name: float(np.max([result[name] for result in compared])) for name in DIFFERENCES}


def _mismatches(compared: Iterable[Mapping[str, Any]]) -> FractionEstimate:
    """Returns the fraction of the detections that do not match: moved, missing or added."""
    compared = list(compared)
    counts = [result["moved"] + result["missing"] + result["added"] for result in compared]
    totals = [result["matched"] + result["missing"] + result["added"] for result in compared]
    return estimate_fraction(counts, totals)


def _problems(worst: Mapping[str, Any], mismatches: FractionEstimate, tolerance: Tolerance) -> Iterator[str]:
    """Yields a sentence for each reason why an export fails."""
    if not worst["matched"]:
        yield (
            f"No detections could be compared: the Keras model found {worst['expected']} objects, the export "
            f"{worst['found']}, and none of them match. Give images with objects that the model detects: "
            "--images."
        )
        return
    for name in DIFFERENCES:
        if not np.isfinite(worst[name]):
            yield f"The {name} differ by {worst[name]}. All differences must be finite."
    if mismatches["lower"] > tolerance.mismatches or (mismatches["count"] and not tolerance.mismatches):
        yield (
            f"{mismatches['count']} of {mismatches['total']} detections do not match. "
            f"At most {tolerance.mismatches:.0%} may not."
        )
        for name in DIFFERENCES:
            if worst[name] > getattr(tolerance, name):
                yield f"The {name} differ by {worst[name]:.3g}, more than {getattr(tolerance, name):g}."


def _doubts(mismatches: FractionEstimate, tolerance: Tolerance, num_images: int) -> Iterator[str]:
    """Yields a sentence if the confidence bounds of the mismatches include the tolerance."""
    if mismatches["lower"] <= tolerance.mismatches < mismatches["upper"] and tolerance.mismatches:
        needed = images_needed(mismatches, tolerance.mismatches, num_images)
        advice = f"about {needed} images" if needed else "many more images"
        yield (
            f"{mismatches['total']} detections in {num_images} images are too few to decide whether at most "
            f"{tolerance.mismatches:.0%} do not match. Give {advice}: --images, --check-images."
        )


def _size_problems(size: int, least: int) -> Iterator[str]:
    if size < least:
        yield f"Expected at least {least} bytes, the size of the weights. Received: {size} bytes."
