"""The data of a run: the user's COCO files, or shapes drawn for it."""

import dataclasses
from pathlib import Path

import numpy as np
from absl import logging

from mask_rcnn.data.coco import read_coco
from mask_rcnn.data.dataset_arrays import arrays_of
from mask_rcnn.data.shapes import write_shapes
from mask_rcnn.data.trainable import check_trainable


def read_training_data(config, folder):
    """Reads the images to learn from and those to validate on.

    Args:
        config: a `Config`.
        folder: where the shapes are drawn, if the config names no annotations.

    Returns:
        (training `Dataset`, validation `Dataset`, path of the validation json); the last two are None
        where there is nothing to validate on.
    """
    data, seed = config.data, config.train.seed
    check_paths(data)
    if data.train_annotations is None:
        train = write_shapes(folder / "train", data.shapes_train, data.shapes_size, 2 * seed)
        val = write_shapes(folder / "val", data.shapes_val, data.shapes_size, 2 * seed + 1)
    else:
        train = _paths(data, "train")
        val = _paths(data, "val") if data.val_annotations else None
    train_set = read_coco(*train, data.max_bad_images, data.max_pixels)
    if config.keypoint_head:
        train_set = with_keypoints_only(train_set)
    check_trainable(train_set, config)
    if val is None:
        return train_set, None, None
    val_set = read_coco(*val, data.max_bad_images, data.max_pixels)
    _check_same_classes(train_set, val_set, val[0])
    check_trainable(val_set, config)
    return train_set, val_set, val[0]


def with_keypoints_only(dataset):
    """Leaves out images without an annotated keypoint: section 5 and detectron2 train without them."""
    arrays = arrays_of(dataset)
    images = tuple(dataset.images[index] for index in np.unique(arrays.images[arrays.has_keypoints]))
    logging.info("%s: %d of %d images have keypoints.", dataset.name, len(images), len(dataset))
    return dataclasses.replace(dataset, images=images)


def check_paths(data):
    """Raises a ValueError unless annotations and images are given together, and are files and folders.

    Args:
        data: a `DataConfig`.
    """
    for split in ("train", "val"):
        annotations, images = _paths(data, split)
        if (annotations is None) != (images is None):
            missing = "images" if images is None else "annotations"
            raise ValueError(
                "Annotations and the folder of their images go together. "
                f"Received: data.{split}_annotations={annotations!r}, data.{split}_images={images!r}. "
                f"Add `data.{split}_{missing}` (`--{split}-{missing}`)."
            )
        if annotations is not None:
            _check_kinds(split, Path(annotations), Path(images))
    if data.val_annotations is not None and data.train_annotations is None:
        raise ValueError(
            "A validation set goes with a training set: without one, synthetic shapes are trained on. "
            f"Received: data.val_annotations={data.val_annotations!r}, data.train_annotations=None. "
            "Add `data.train_annotations` (`--train-annotations`) and `data.train_images` (`--train-images`)."
        )


def _check_kinds(split, annotations, images):
    for field, path, is_right, kind in (
        (f"{split}_annotations", annotations, annotations.is_file(), "a COCO json file"),
        (f"{split}_images", images, images.is_dir(), "a folder of images"),
    ):
        if not is_right:
            received = "is a folder" if path.is_dir() else "is a file" if path.exists() else "does not exist"
            raise ValueError(
                f"`data.{field}` (`--{field.replace('_', '-')}`) must be {kind}. "
                f"Received: {str(path)!r}, which {received}. Check the path."
            )


def _paths(data, split):
    return getattr(data, f"{split}_annotations"), getattr(data, f"{split}_images")


def _check_same_classes(train_set, val_set, val_path):
    train, val = (sorted(category.name for category in each.categories) for each in (train_set, val_set))
    if train != val:
        raise ValueError(
            f"Training and validation set must have the same classes. Received: {train} to train on, "
            f"{val} in {val_path}. Give both files the same `categories`."
        )


def with_class_count(config, dataset):
    """Returns the config for as many classes as the data set has; one that says another number is wrong."""
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
