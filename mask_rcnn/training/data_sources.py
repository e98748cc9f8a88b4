"""Checks where the data of a run come from: objects of the caller, or files that the config names."""

from pathlib import Path
from typing import Any, Literal, TypeAlias

import tensorflow as tf

from mask_rcnn.config import DataConfig
from mask_rcnn.config.training import parse_mixture
from mask_rcnn.data.readers.coco import check_images_dir
from mask_rcnn.data.records import Dataset
from mask_rcnn.data.tfrecords.shards import find_shards, is_shards
from mask_rcnn.system.paths import RemotePath, as_path

SetPaths: TypeAlias = tuple[str | Path, str | Path | None]  # annotations, and image folder


def check_sources(
    data: DataConfig,
    train_data: Dataset | tf.data.Dataset | None = None,
    val_data: Dataset | None = None,
) -> None:
    """Raises a ValueError unless data are given in one way: as objects, or as existing files in the config.

    Args:
        data: `DataConfig`.
        train_data, val_data: As in `training_data.read_training_data`.
    """
    if val_data is not None and not isinstance(val_data, Dataset):
        raise ValueError(
            "`val_data` must be a `Dataset` of `read_coco`: COCO's scores need the annotations. "
            f"Received: {type(val_data).__name__}. For mean losses of batches use `MaskRCNN.evaluate`."
        )
    if train_data is None and val_data is not None:
        raise ValueError(
            "`val_data` goes with `train_data`. Received: `val_data` alone. "
            "Read the training set with `read_coco`, too."
        )
    if train_data is not None and not isinstance(train_data, Dataset | tf.data.Dataset):
        raise ValueError(
            "`train_data` must be a `Dataset` of `read_coco` or a `tf.data.Dataset` of batches. "
            f"Received: {type(train_data).__name__}. `MaskRCNN.fit` accepts all data that Keras accepts."
        )
    if data.overfit and isinstance(train_data, tf.data.Dataset):
        raise ValueError(
            "`data.overfit` chooses images of a `Dataset`. Received: "
            f"data.overfit={data.overfit} with batches. Set it to 0, and repeat some of your batches."
        )
    named = [name for name in ("train_annotations", "val_annotations") if getattr(data, name) is not None]
    if train_data is not None and named:
        raise ValueError(
            "Data are given either as `train_data` and `val_data`, or in the config. "
            f"Received: both, with data.{named[0]}={getattr(data, named[0])!r}. Leave one of them out."
        )
    _check_paths(data)


def _check_paths(data: DataConfig) -> None:
    """Raises a ValueError unless annotations and images are given together and exist."""
    for split in ("train", "val"):
        annotations, images = annotation_paths(data, split)
        if annotations is not None and is_shards(annotations):
            check_images_dir(annotations, images)
            find_shards(annotations)
            continue
        if (annotations is None) != (images is None):
            missing = "images" if images is None else "annotations"
            raise ValueError(
                "Annotations and the folder of their images go together. "
                f"Received: data.{split}_annotations={annotations!r}, data.{split}_images={images!r}. "
                f"Add `data.{split}_{missing}` (`--{split}-{missing}`)."
            )
        if annotations is not None:
            _check_file(f"{split}_annotations", annotations)
            _check_folder(f"{split}_images", images)
    for annotations, images, _ in map(parse_mixture, data.mixture):
        _check_file("mixture", annotations)
        _check_folder("mixture", images)
    if data.val_annotations is not None and data.train_annotations is None:
        raise ValueError(
            "A validation set goes with a training set: without one, synthetic shapes are trained on. "
            f"Received: data.val_annotations={data.val_annotations!r}, data.train_annotations=None. "
            "Add `data.train_annotations` (`--train-annotations`) and `data.train_images` (`--train-images`)."
        )


def _check_file(field: str, path: str | Path) -> None:
    if not as_path(path).is_file():
        raise _path_error(field, as_path(path), "a COCO json file")


def _check_folder(field: str, path: str | Path) -> None:
    if not as_path(path).is_dir():
        raise _path_error(field, as_path(path), "a folder of images")


def _path_error(field: str, path: Path | RemotePath, expected: str) -> ValueError:
    received = "is a folder" if path.is_dir() else "is a file" if path.exists() else "does not exist"
    option = "" if field == "mixture" else f" (`--{field.replace('_', '-')}`)"
    return ValueError(
        f"`data.{field}`{option} must be {expected}. "
        f"Received: {str(path)!r}, which {received}. Check the path."
    )


def annotation_paths(data: DataConfig, split: Literal["train", "val"]) -> tuple[Any, Any]:
    """Returns the annotations and the image folder of a set in the config. Each may be None."""
    return getattr(data, f"{split}_annotations"), getattr(data, f"{split}_images")
