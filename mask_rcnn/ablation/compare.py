"""Compares the results of the runs of a table with the paper, with confidence intervals of differences."""

import dataclasses
import json

import numpy as np

from mask_rcnn import config_io
from mask_rcnn.ablation.rows import Row, Table
from mask_rcnn.evaluation.average_precision import MAX_KEYPOINT_DETECTIONS, sorted_image_ids
from mask_rcnn.evaluation.bootstrap import (
    NUM_RESAMPLES,
    average_precisions,
    confidence_interval,
    image_counts,
)
from mask_rcnn.evaluation.coco_evaluation import content_of_dataset
from mask_rcnn.report.detection_matches import match_detections
from mask_rcnn.training.training_data import read_set

NUMBERS = ("AP", "AP50", "AP75")
AT_50, AT_75 = 0, 5  # indices of 0.5 and 0.75 in COCO's IoU thresholds


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowResult:
    """Results of the runs of a row, in percent.

    Args:
        row: The `Row`.
        steps: List with the number of steps of each run.
        shared_features: Whether the RPN shared the features of the heads, `rpn.shared_features`.
        seeds: `{IoU type: [S, 3]}`, AP, AP50 and AP75 of each seed.
        here: `{IoU type: [3]}`, their mean over the seeds.
        intervals: `{IoU type: [(low, high), ...]}`, intervals of `here`. None if not measurable.
        differences: `{IoU type: [3]}`, `here` minus `here` of the first row that was trained for the IoU
            type. The first row has none.
        difference_intervals: `{IoU type: [(low, high), ...]}`, intervals of `differences`.
    """

    row: Row
    steps: list
    shared_features: bool
    seeds: dict
    here: dict
    intervals: dict
    differences: dict
    difference_intervals: dict


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """Results of all rows of a table.

    Args:
        table: The `Table`.
        rows: `{name: RowResult}` of the rows with runs, in their order.
        num_images: Number of images of the validation set.
        num_resamples: Number of bootstrap resamples of these images for the intervals.
        notes: Further sentences for the reader.
    """

    table: Table
    rows: dict
    num_images: int
    num_resamples: int
    notes: tuple[str, ...]

    def first(self, iou_type):
        """Returns the name of the row that the others are compared with for an IoU type."""
        return next(name for name, each in self.rows.items() if iou_type in each.here)


def read_validation_set(config):
    """Returns the `Dataset` on which the runs of a `Config` are evaluated."""
    return read_set((config.data.val_annotations, config.data.val_images), config)


def compare(table, base, folders):
    """Compares finished runs on the same images.

    Args:
        table: The `Table`.
        base: `Config` with the validation set of all runs.
        folders: `{name of a row: list of the paths of its runs}`.

    Returns:
        `Comparison`.
    """
    dataset = read_validation_set(base)
    content = content_of_dataset(dataset, base.data.val_annotations)
    ids = sorted_image_ids(image.id for image in dataset.images)
    counts = np.concatenate([np.ones([1, len(ids)], int), image_counts(len(ids), NUM_RESAMPLES)])
    rows, first, notes = {}, {}, {}
    for row in table.rows:
        if row.name not in folders:
            continue
        results = [json.loads((folder / "results.json").read_text()) for folder in folders[row.name]]
        draws = {  # {IoU type: [S, 1 + R, 3]}; index 0 of axis 1 is the whole validation set
            kind: np.array(
                [
                    _resampled(folder, content, ids, kind, result["max_detections"], counts)
                    for folder, result in zip(folders[row.name], results, strict=True)
                ]
            )
            for kind in table.iou_types
            if all(kind in result["summary"] for result in results)
        }
        first = {**draws, **first}
        rows[row.name] = _row_result(row, folders[row.name], draws, first)
        missed = sorted({len(ids) - result["num_images"] for result in results} - {0})
        if missed:
            notes[row.name] = (
                f"{row.name}: up to {missed[-1]} images could not be read and count as undetected"
            )
    return Comparison(
        table=table, rows=rows, num_images=len(ids), num_resamples=NUM_RESAMPLES, notes=tuple(notes.values())
    )


def _resampled(folder, content, ids, iou_type, max_detections, counts):
    """Returns AP, AP50 and AP75 of a run in percent for each row of image counts, `[1 + R, 3]`."""
    entries = json.loads((folder / "detections.json").read_text())
    limit = MAX_KEYPOINT_DETECTIONS if iou_type == "keypoints" else max_detections
    evaluation = match_detections(content, entries, ids, iou_type=iou_type, max_detections=limit)
    ap = average_precisions(evaluation.class_matches(), counts)  # [1 + R, T]
    return 100 * np.stack([ap.mean(axis=1), ap[:, AT_50], ap[:, AT_75]], axis=1)


def _row_result(row, folders, draws, first):
    """Returns the `RowResult` from the `draws` of a row and of the first row of each IoU type."""
    means = {kind: values.mean(axis=0) for kind, values in draws.items()}  # [1 + R, 3]
    gains = {
        kind: means[kind] - first[kind].mean(axis=0)
        for kind, values in draws.items()
        if first[kind] is not values
    }
    configs = [config_io.from_yaml(folder / "config.yaml") for folder in folders]
    return RowResult(
        row=row,
        steps=[config.train.scaled_steps for config in configs],
        shared_features=configs[0].rpn.shared_features,
        seeds={kind: values[:, 0].tolist() for kind, values in draws.items()},
        here={kind: values[0].tolist() for kind, values in means.items()},
        intervals={
            kind: [confidence_interval(each) for each in values[1:].T] for kind, values in means.items()
        },
        differences={kind: values[0].tolist() for kind, values in gains.items()},
        difference_intervals={
            kind: [confidence_interval(each) for each in values[1:].T] for kind, values in gains.items()
        },
    )
