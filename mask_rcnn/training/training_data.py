"""Reads the data of a run: the user's COCO files, or synthetic shapes."""

import dataclasses
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import tensorflow as tf
from absl import logging

from mask_rcnn.config import Config
from mask_rcnn.config.training import parse_mixture
from mask_rcnn.data.dataset_arrays import arrays_of
from mask_rcnn.data.input_pipeline.mixture import mix_datasets
from mask_rcnn.data.input_pipeline.trainable import check_trainable
from mask_rcnn.data.readers.coco import read_coco
from mask_rcnn.data.records import Dataset
from mask_rcnn.data.shapes import write_shapes
from mask_rcnn.training.check_runner import Checks
from mask_rcnn.training.data_sources import SetPaths, annotation_paths

MAX_NAMES = 5  # class names shown in a line

Data = TypeVar("Data")


def read_training_data(
    config: Config,
    folder: Path | None,
    *,
    train_data: Dataset | tf.data.Dataset | None = None,
    val_data: Dataset | None = None,
    checks: Checks | None = None,
) -> tuple[Dataset | tf.data.Dataset, Dataset | None, str | Path | None]:
    """Reads the training set and the validation set. Call `data_sources.check_sources` before.

    Args:
        config: `Config`.
        folder: `Path` for synthetic shapes, which are drawn if there are no other data. It may be None with
            other data.
        train_data: `Dataset`, or batches, used instead of the files of the config. Defaults to None.
        val_data: `Dataset` used instead of the files of the config. Defaults to None.
        checks: `Checks`. Errors of both sets are raised together. Defaults to new ones.

    Returns:
        train_set: Training `Dataset` or batches. With `data.overfit`, both sets are the same few images.
        val_set: Validation `Dataset`, or None without validation data.
        val_path: Path of the validation json. None for `val_data`, `data.overfit` and without a validation
            set.
    """
    checks = checks or Checks()

    train_set = checks.run("training data", lambda: _training_set(config, folder, train_data), _description)

    def read_validation_set():
        if config.data.overfit:
            return train_set if isinstance(train_set, Dataset) else None, None
        if train_data is None:
            return _validation_set(config, folder)
        return _trainable(val_data, config), None

    val_set, val_path = checks.run(
        "validation data", read_validation_set, lambda result: _description(result[0])
    ) or (None, None)
    if isinstance(train_set, Dataset) and val_set is not None:
        checks.run("classes", lambda: _check_same_classes(train_set, val_set, val_path or val_set.name))
    checks.finish()  # raises an error if a set could not be read
    return train_set, val_set, val_path  # pyright: ignore[reportReturnType] (`finish` has raised)


def _training_set(
    config: Config, folder: Path | None, train_data: Dataset | tf.data.Dataset | None
) -> Dataset | tf.data.Dataset:
    """Returns the trainable `Dataset` for training, or batches."""
    data = config.data
    if train_data is None:
        is_drawn = data.train_annotations is None
        paths = draw_shapes(config, folder, "train") if is_drawn else annotation_paths(data, "train")
        train_data = _read_mixture(paths, config)
    if config.keypoint_head and isinstance(train_data, Dataset):
        train_data = with_keypoints_only(train_data)
    if data.overfit and isinstance(train_data, Dataset):  # `check_sources` refuses batches
        train_data = first_with_objects(train_data, data.overfit)
    return _trainable(train_data, config)


def _validation_set(config: Config, folder: Path | None) -> tuple[Dataset | None, str | Path | None]:
    """Returns the validation `Dataset` and the path of its json. Both are None if the config names none."""
    data = config.data
    if data.train_annotations is not None and data.val_annotations is None:
        return None, None
    is_drawn = data.train_annotations is None
    paths = draw_shapes(config, folder, "val") if is_drawn else annotation_paths(data, "val")
    return _trainable(read_set(paths, config), config), paths[0]


def _read_mixture(paths: SetPaths, config: Config) -> Dataset:
    """Returns the `Dataset` of a json and an image folder, joined with the data sets of `data.mixture`."""
    mixture = [parse_mixture(text) for text in config.data.mixture]
    if not mixture:
        return read_set(paths, config)
    paths_of_sets = [paths, *((annotations, images) for annotations, images, _ in mixture)]
    named = [dataclasses.replace(read_set(each, config), name=str(each[0])) for each in paths_of_sets]
    shares = [share for *_, share in mixture]
    return mix_datasets(named, [1 - sum(shares), *shares])


def read_set(paths: SetPaths, config: Config) -> Dataset:
    """Returns the `Dataset` of (json path, image folder), with limits and pixel format of a config."""
    data = config.data
    return read_coco(
        *paths,
        max_bad_images=data.max_bad_images,
        max_pixels=data.max_pixels,
        **config.input.pixel_format,
    )


def draw_shapes(config: Config, folder: Path | None, split: Literal["train", "val"]) -> SetPaths:
    """Draws a set of synthetic shapes; returns the paths of its json and of its image folder.

    Args:
        config: `Config`.
        folder: `Path` for the files.
        split: "train" or "val".
    """
    data, is_val = config.data, split == "val"
    if folder is None:
        raise ValueError(
            "Synthetic shapes need a folder. Received: folder=None and no data. Give a folder or data."
        )
    count = data.shapes_val if is_val else data.shapes_train
    return write_shapes(folder / split, count, data.shapes_size, seed=2 * config.train.seed + is_val)


def _trainable(data: Data, config: Config) -> Data:
    if isinstance(data, Dataset):
        check_trainable(data, config)
    return data


def _description(data: Dataset | tf.data.Dataset | None) -> str:
    """Returns a text with the numbers of images, objects and classes of a data set."""
    if not isinstance(data, Dataset):
        return "none" if data is None else "batches"
    names = [category.name for category in data.categories]
    shown = ", ".join(names[:MAX_NAMES]) + (", ..." if len(names) > MAX_NAMES else "")
    num_objects = len(arrays_of(data).images)
    return f"{data.name}, {len(data)} images, {num_objects} objects, {len(names)} classes ({shown})"


def with_keypoints_only(dataset: Dataset) -> Dataset:
    """Returns a `Dataset` of the images with keypoints, as Mask R-CNN (section 5) and detectron2 train."""
    arrays = arrays_of(dataset)
    images = tuple(dataset.images[index] for index in np.unique(arrays.images[arrays.has_keypoints]))
    logging.info("%s: %d of %d images have keypoints.", dataset.name, len(images), len(dataset))
    return dataclasses.replace(dataset, images=images)


def first_with_objects(dataset: Dataset, count: int) -> Dataset:
    """Returns a `Dataset` of the first `count` images with objects that are not crowd regions."""
    arrays = arrays_of(dataset)
    indices = np.unique(arrays.images[~arrays.crowd])
    if len(indices) < count:
        logging.warning("%s has %d images with objects; all are used.", dataset.name, len(indices))
    images = tuple(dataset.images[index] for index in indices[:count])
    return dataclasses.replace(dataset, images=images, shares=())


def _check_same_classes(train_set: Dataset, val_set: Dataset, val_path: str | Path) -> str:
    train, val = (sorted(category.name for category in each.categories) for each in (train_set, val_set))
    if train != val:
        raise ValueError(
            f"Training and validation set must have the same classes. Received: {train} to train on, "
            f"{val} in {val_path}. Give both files the same `categories`."
        )
    return "the same in both sets"


def with_class_count(config: Config, dataset: Dataset | None) -> Config:
    """Returns the config with `num_classes` set to the number of classes of the data set.

    Args:
        config: `Config`.
        dataset: `Dataset`, or None for batches. For batches, the config must set `num_classes`.

    Raises:
        ValueError: `num_classes` of the config contradicts the data set, or is missing for batches.
    """
    if dataset is None:
        if not config.num_classes:
            raise ValueError(
                "Training on batches needs the number of classes. Received: num_classes=0. "
                "Set `num_classes` in the config."
            )
        return config
    if not config.num_classes:
        return dataclasses.replace(config, num_classes=dataset.num_classes)
    if config.num_classes != dataset.num_classes:
        names = ", ".join(category.name for category in dataset.categories[:5])
        raise ValueError(
            "`num_classes` must be the number of categories in the annotations. "
            f"Received: num_classes={config.num_classes}, "
            f"{dataset.name} has {dataset.num_classes} ({names}...). "
            f"Set `num_classes` to {dataset.num_classes}."
        )
    return config


def check_objects(train_set: Dataset | tf.data.Dataset, val_set: Dataset | None, iou_type: str) -> None:
    """Raises a ValueError if the training set has no object; logs a warning if the validation set has none.

    Args:
        train_set: `Dataset`, or batches, which are not checked.
        val_set: `Dataset` or None.
        iou_type: IoU type ("bbox", "segm" or "keypoints") of the score that selects the best weights.
    """
    if isinstance(train_set, Dataset) and not _has_objects(train_set):
        raise ValueError(
            "A training set must have objects that are not crowd regions. "
            f"Received: {train_set.name} with {len(train_set)} images and no object. "
            "Look at it with `mask-rcnn data check`."
        )
    if val_set and not _has_objects(val_set):
        logging.warning(
            "%s has no object to find, so %s/AP cannot be measured: the latest weights count as the best.",
            val_set.name,
            iou_type,
        )


def _has_objects(dataset: Dataset) -> bool:
    return not arrays_of(dataset).crowd.all()
