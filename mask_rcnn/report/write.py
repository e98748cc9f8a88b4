"""Writes the report about a run: an HTML page and its numbers."""

import collections
from collections.abc import Callable

import numpy as np

from mask_rcnn.evaluation.coco_results import write_json
from mask_rcnn.evaluation.metrics import Metrics
from mask_rcnn.report.analysis import RunDetections, Track, analyze_run, main_iou_type, progress
from mask_rcnn.report.errors import ERROR_TYPES
from mask_rcnn.report.numbers import comparison_numbers, report_numbers
from mask_rcnn.report.page import report_page
from mask_rcnn.report.pictures import Shapes, blank_image, draw_errors
from mask_rcnn.system.files import atomic_write
from mask_rcnn.system.paths import AnyPath, as_path

NUM_WORST = 12  # number of pictures of images with the most errors
NUM_CHANGED = 3  # number of pictures in a comparison, for each of better and worse
GAP = 8  # pixels between two pictures
PAGE, NUMBERS = "index.html", "report.json"


def write_report(
    folder: AnyPath,
    detected: RunDetections,
    *,
    metrics: Metrics | None = None,
    other: RunDetections | None = None,
    pixels_of: Callable[[int | str], np.ndarray | None] | None = None,
    track: Track | None = None,
) -> dict:
    """Writes `index.html` and `report.json` about an evaluation to a folder.

    Args:
        folder: Path of the folder. It is created if it does not exist.
        detected: `RunDetections` with at least one detection.
        metrics: Its `Metrics`, which are copied to the json. Defaults to None.
        other: `RunDetections` of a second run on the same images, for a comparison. Defaults to None.
        pixels_of: Function of an image id. It returns the pixels, `[H, W, 3]` uint8, or None if the image
            cannot be shown. Defaults to None: objects are drawn on gray.
        track: Function of (items, their number, a description) that yields the items and shows progress.
            Defaults to None: no progress.

    Returns:
        The content of `report.json`, a dict.

    Raises:
        ValueError: There is no detection or no object, or the runs have different images.
    """
    folder = as_path(folder)
    _check(detected, other)
    analyses = analyze_run(detected, track)
    numbers = report_numbers(detected, analyses, metrics)
    iou_type = main_iou_type(analyses)
    scene = _Scene(detected, analyses[iou_type], pixels_of)
    comparison, changed = None, []
    if other is not None:
        other_analyses = analyze_run(other, track)
        comparison = comparison_numbers(detected, analyses, other_analyses, name=other.name, track=track)
        numbers["comparison"] = comparison
        shared = main_iou_type(other_analyses)  # the second run may only have boxes
        compared = [
            _Scene(detected, analyses[shared], pixels_of),
            _Scene(other, other_analyses[shared], pixels_of),
        ]
        changed = _changed_pictures(comparison["evaluations"][shared]["images"], compared, track)
    worst = [row for row in numbers["evaluations"][iou_type]["images"] if row["missed"] + row["wrong"]]
    worst = worst[:NUM_WORST]
    shown = progress(track, len(worst), "drawing images")
    pictures = [scene.picture(row["id"], row["file_name"]) for row in shown(worst)]
    page = report_page(numbers, iou_type, pictures, comparison=comparison, compared_pictures=changed)
    write_json(folder / NUMBERS, numbers)
    with atomic_write(folder / PAGE) as partial:
        partial.write_text(page, encoding="utf-8")
    return numbers


def _check(detected, other):
    for run in (detected, other):
        if run is not None and not run.entries:
            raise ValueError(
                "A report needs at least one detection. Received: "
                f"{run.name} without a detection. Lower the score threshold, or check the file."
            )
    if not detected.iou_types:
        raise ValueError(
            "A report needs annotated objects. "
            f"Received: {detected.content.name}, without an object in the images. Give other annotations."
        )
    if other is not None and other.image_ids != detected.image_ids:
        raise ValueError(
            "Only runs on the same images can be compared. "
            f"Received: {detected.name} on {len(detected.image_ids)} images, {other.name} on "
            f"{len(other.image_ids)}. Evaluate both on the images that both can read."
        )


def _changed_pictures(rows, scenes, track):
    """Returns (picture, caption) of the images with the largest changes, each with both runs side by side."""
    changes = [row for row in rows if row["first_errors"] != row["second_errors"]]
    better = [row for row in changes if row["second_errors"] < row["first_errors"]][:NUM_CHANGED]
    worse = [row for row in changes if row["second_errors"] > row["first_errors"]][:NUM_CHANGED]
    changes, pictures = [*better, *worse], []
    for row in progress(track, len(changes), "drawing changes")(changes):
        (first, _), (second, _) = (scene.picture(row["id"], row["file_name"]) for scene in scenes)
        axis = int(first.shape[0] >= first.shape[1])  # wide pictures are stacked vertically
        gap = np.full_like(first[:, :GAP] if axis else first[:GAP], 255)
        counts = f"{row['first_errors']} of the first run, {row['second_errors']} of the second"
        caption = f"{row['file_name'] or row['id']}: errors: {counts}"
        pictures.append((np.concatenate([first, gap, second], axis), caption))
    return pictures


class _Scene:
    """Draws the images of a run with their correct and wrong detections."""

    def __init__(self, detected, analysis, pixels_of):
        self.analysis, self.pixels_of = analysis, pixels_of
        self.names = detected.class_names
        self.shapes = Shapes(
            analysis.evaluation, detected.content, detected.entries, image_ids=detected.image_ids
        )
        self.index = {id: number for number, id in enumerate(detected.image_ids)}

    def picture(self, id, file_name):
        """Returns the picture of an image, `[H, W, 3]` uint8, and its caption."""
        image, size = self.index[id], self.shapes.sizes[self.index[id]]
        pixels = self.pixels_of and self.pixels_of(id)
        note = ""
        if pixels is None or pixels.shape[:2] != size:
            pixels, note = blank_image(size), " (the image itself is not shown)"
        analysis = self.analysis
        drawn = draw_errors(
            pixels, analysis.evaluation, analysis.point, kinds=analysis.kinds, image=image, shapes=self.shapes
        )
        return drawn, f"{file_name or f'image {id}'}: {self._counts(image)}{note}"

    def _counts(self, image):
        """Returns the errors of an image as text."""
        analysis, evaluation = self.analysis, self.analysis.evaluation
        wrong = np.flatnonzero(analysis.point.wrong & (evaluation.images == image))
        counts = collections.Counter(ERROR_TYPES[kind] for kind in analysis.kinds[wrong])
        parts = [f"{analysis.images['found'][image]} found", f"{analysis.images['missed'][image]} missed"]
        parts += [f"{count} {kind}" for kind, count in counts.most_common()]
        confused = wrong[analysis.point.confused[wrong] >= 0]
        pairs = collections.Counter(
            f"{self.names[evaluation.object_classes[analysis.point.confused[row]]]} as "
            f"{self.names[evaluation.classes[row]]}"
            for row in confused
        )
        parts += [f"{pair} ({count})" if count > 1 else pair for pair, count in pairs.most_common(5)]
        return ", ".join(parts)
