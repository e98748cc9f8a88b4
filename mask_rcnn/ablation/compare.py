"""Compares the results of the runs of a table with the paper, with confidence intervals of differences."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mask_rcnn import config_io
from mask_rcnn.ablation.rows import Row, Table
from mask_rcnn.config import Config
from mask_rcnn.data.readers.coco_content import CocoContent
from mask_rcnn.data.records import Dataset
from mask_rcnn.evaluation.average_precision import MAX_KEYPOINT_DETECTIONS, sorted_image_ids
from mask_rcnn.evaluation.bootstrap import (
    NUM_RESAMPLES,
    average_precisions,
    confidence_interval,
    image_counts,
)
from mask_rcnn.evaluation.coco_evaluation import content_of_dataset
from mask_rcnn.report.detection_matches import match_detections
from mask_rcnn.training.data_sources import annotation_paths
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
        measured: `{IoU type: [3]}`, their mean over the seeds.
        intervals: `{IoU type: [(low, high), ...]}`, intervals of `measured`. None if not measurable.
        differences: `{IoU type: [3]}`, `measured` minus `measured` of the first row that was trained for the
            IoU type. The first row has none.
        difference_intervals: `{IoU type: [(low, high), ...]}`, intervals of `differences`.
    """

    row: Row
    steps: list[int]
    shared_features: bool
    seeds: dict[str, list[list[float]]]
    measured: dict[str, list[float]]
    intervals: dict[str, list[tuple[float, float] | None]]
    differences: dict[str, list[float]]
    difference_intervals: dict[str, list[tuple[float, float] | None]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """Results of all rows of a table.

    Args:
        table: The `Table`.
        rows: `{name: RowResult}` of the rows with runs, in their order.
        num_images: Number of images of the validation set.
        num_resamples: Number of bootstrap resamples of these images for the intervals.
        notes: Sentences about images that could not be read.
    """

    table: Table
    rows: dict[str, RowResult]
    num_images: int
    num_resamples: int
    notes: tuple[str, ...]

    def first(self, iou_type: str) -> str:
        """Returns the name of the first row for an IoU type, with which the other rows are compared."""
        return next(name for name, each in self.rows.items() if iou_type in each.measured)


def read_validation_set(config: Config) -> Dataset:
    """Returns the `Dataset` on which the runs of a `Config` are evaluated."""
    return read_set(annotation_paths(config.data, "val"), config)


def compare(table: Table, base: Config, folders: Mapping[str, Sequence[Path]]) -> Comparison:
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
        draws = {}  # {IoU type: [S, 1 + R, 3]}; index 0 of axis 1 is the whole validation set
        for iou_type in table.iou_types:
            if all(iou_type in result["summary"] for result in results):
                limits = [result["max_detections"] for result in results]
                draws[iou_type] = np.array(
                    [
                        _resampled_ap(folder, content, ids=ids, iou_type=iou_type, limit=limit, counts=counts)
                        for folder, limit in zip(folders[row.name], limits, strict=True)
                    ]
                )
        first = {**draws, **first}
        rows[row.name] = _row_result(row, folders[row.name], draws=draws, first=first)
        num_unreadable = max(len(ids) - result["num_images"] for result in results)
        if num_unreadable:
            notes[row.name] = (
                f"{row.name}: up to {num_unreadable} images could not be read and count as undetected"
            )
    return Comparison(
        table=table, rows=rows, num_images=len(ids), num_resamples=NUM_RESAMPLES, notes=tuple(notes.values())
    )


def _resampled_ap(
    folder: Path,
    content: CocoContent,
    *,
    ids: Sequence[int | str],
    iou_type: str,
    limit: int,
    counts: np.ndarray,
) -> np.ndarray:
    """Returns AP, AP50 and AP75 of a run in percent for each row of image counts, `[1 + R, 3]`."""
    entries = json.loads((folder / "detections.json").read_text())
    limit = MAX_KEYPOINT_DETECTIONS if iou_type == "keypoints" else limit
    evaluation = match_detections(content, entries, ids, iou_type=iou_type, max_detections=limit)
    ap = average_precisions(evaluation.class_matches(), counts)  # [1 + R, T]
    return 100 * np.stack([ap.mean(axis=1), ap[:, AT_50], ap[:, AT_75]], axis=1)


def _row_result(
    row: Row,
    folders: Sequence[Path],
    *,
    draws: Mapping[str, np.ndarray],
    first: Mapping[str, np.ndarray],
) -> RowResult:
    """Returns the `RowResult` from the `draws` of a row and of the first row of each IoU type."""
    means = {iou_type: values.mean(axis=0) for iou_type, values in draws.items()}  # [1 + R, 3]
    gains = {
        iou_type: means[iou_type] - first[iou_type].mean(axis=0)
        for iou_type, values in draws.items()
        if first[iou_type] is not values
    }
    configs = [config_io.from_yaml(folder / "config.yaml") for folder in folders]
    return RowResult(
        row=row,
        steps=[config.train.scaled_steps for config in configs],
        shared_features=configs[0].rpn.shared_features,
        seeds={iou_type: values[:, 0].tolist() for iou_type, values in draws.items()},
        measured={iou_type: values[0].tolist() for iou_type, values in means.items()},
        intervals={
            iou_type: [confidence_interval(each) for each in values[1:].T]
            for iou_type, values in means.items()
        },
        differences={iou_type: values[0].tolist() for iou_type, values in gains.items()},
        difference_intervals={
            iou_type: [confidence_interval(each) for each in values[1:].T]
            for iou_type, values in gains.items()
        },
    )
