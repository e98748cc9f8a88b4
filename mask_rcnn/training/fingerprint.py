"""The fingerprint of a run: its config, its training data and the order of its images.

A run may only be resumed with the same fingerprint. Otherwise it would silently become another run.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from mask_rcnn import config_io
from mask_rcnn.config import Config
from mask_rcnn.data.annotation_table import ImageAnnotations
from mask_rcnn.data.dataset_arrays import arrays_of
from mask_rcnn.data.input_pipeline.pipeline import images_of_step
from mask_rcnn.data.records import Dataset
from mask_rcnn.training.run_folder import config_changes

# Fields that may change when a run is resumed. A name that ends in a dot is a whole section. These fields set
# file locations, when to save and evaluate, how detections are selected, and the optimizer of later steps.
RESUMABLE_FIELDS = (
    "data.",
    "backbone.weights",
    "train.init_weights",
    "train.steps",
    "train.budget",
    "train.reference_batch_size",
    "train.learning_rate",
    "train.schedule",
    "train.milestones",
    "train.warmup_steps",
    "train.warmup_factor",
    "train.momentum",
    "train.weight_decay",
    "train.norm_weight_decay",
    "train.clip_norm",
    "train.accumulate",
    "train.rematerialize",
    "train.strategy",
    "train.checkpoint_every",
    "train.evaluate_every",
    "train.best_metric",
    "train.validation_loss",
    "train.patience",
    "train.keep_checkpoints",
    "input.short_side",
    "rpn.pre_nms",
    "rpn.post_nms",
    "box_head.score_threshold",
    "box_head.nms_iou",
    "box_head.max_detections",
    "box_head.min_size",
    "box_head.best_class_only",
    "mask_head.paste",
)
# Fields of `data.` that must not change: they select the training images and how often each one occurs.
DATA_SELECTION_FIELDS = ("data.shapes_train", "data.shapes_size", "data.overfit", "data.repeat_threshold")
ORDER_STEP = 2  # the images of this step, counted from 0, represent the order of all steps


def fingerprint(config: Config, dataset: Dataset | tf.data.Dataset) -> dict[str, Any]:
    """Returns the values that must be equal between a checkpoint and the run that resumes it.

    Args:
        config: `Config` of the run.
        dataset: Training `Dataset`, or a `tf.data.Dataset` of batches, whose content is not known.

    Returns:
        Dict for JSON:
        config: The config as YAML text.
        images: Number of training images. 0 for batches.
        objects: Number of their annotations. 0 for batches.
        digest: Result of `dataset_digest`. "batches" for batches.
        order: Ids of the images of one step. Empty for batches.
    """
    text = config_io.to_yaml(config)
    if not isinstance(dataset, Dataset):
        return {"config": text, "images": 0, "objects": 0, "digest": "batches", "order": []}
    return {
        "config": text,
        "images": len(dataset),
        "objects": len(arrays_of(dataset).images),
        "digest": dataset_digest(dataset),
        "order": [image.id for image in images_of_step(dataset, config, ORDER_STEP)],
    }


def dataset_digest(dataset: Dataset) -> str:
    """Returns a hash of a `Dataset`: names, sizes, annotations and order of its images, mixture shares."""
    arrays = arrays_of(dataset)
    names = [(image.id, image.path.name, image.height, image.width) for image in dataset.images]
    digest = hashlib.sha256(json.dumps(names).encode())
    if dataset.shares:
        digest.update(json.dumps([dataset.shares, [image.source for image in dataset.images]]).encode())
    for values in _outlines(dataset):
        digest.update(values)  # pyright: ignore[reportArgumentType] (arrays are buffers)
    for values in (arrays.images, arrays.class_ids, arrays.boxes, arrays.areas, arrays.crowd):
        digest.update(np.ascontiguousarray(values))  # pyright: ignore[reportArgumentType]
    return digest.hexdigest()


def check_fingerprint(saved: object, current: dict[str, Any]) -> None:
    """Raises a ValueError that lists the changes if a run must not continue from a checkpoint.

    Args:
        saved: `fingerprint` of the checkpoint, as it was read.
        current: `fingerprint` of the run.
    """
    if not isinstance(saved, dict) or saved.keys() != current.keys():
        raise ValueError(
            "A checkpoint must hold its config and a digest of its data. Received: one without them. "
            "Start a run in another folder."
        )
    old, new = (config_io.from_text(values["config"]) for values in (saved, current))
    changes = [text for text in config_changes(old, new) if not may_change(text.partition(":")[0])]
    if saved["digest"] != current["digest"]:
        before, now = (
            f"{values['images']} images, {values['objects']} objects" for values in (saved, current)
        )
        has_same_counts = before == now
        changes.append(
            f"training data: {before} -> {now}"
            + (" with other names or annotations, or shares of a mixture" if has_same_counts else "")
        )
    elif saved["order"] != current["order"] and not changes:
        changes.append(f"images of step {ORDER_STEP + 1}: {saved['order']} -> {current['order']}")
    if changes:
        listing = "\n  ".join(changes)
        raise ValueError(
            "A run can only be resumed with the data and the config that it began with. "
            f"Received, as before -> now:\n  {listing}\n"
            "Undo these changes, or start a run in another folder: `train.init_weights` can begin it with "
            "the weights of this one."
        )


def _outlines(dataset: Dataset) -> Iterator[bytes | np.ndarray]:
    """Yields the masks and keypoints of all annotations as buffers to hash.

    Their points can change while the boxes stay the same.
    """
    tables = {}
    for annotations in (image.annotations for image in dataset.images):
        if isinstance(annotations, ImageAnnotations):
            tables[id(annotations.table)] = annotations.table
        else:
            yield repr([(each.segmentation, each.keypoints) for each in annotations]).encode()
    for table in tables.values():
        for values in (table.polygon_lengths, table.numbers, table.masks, table.keypoints):
            yield np.ascontiguousarray(values)


def may_change(field: str) -> bool:
    """Returns whether a run may be resumed with another value of a field, such as "train.steps"."""
    is_resumable = any(
        field.startswith(name) if name.endswith(".") else field == name for name in RESUMABLE_FIELDS
    )
    return is_resumable and field not in DATA_SELECTION_FIELDS
