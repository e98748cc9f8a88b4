"""The data of a run: the user's COCO files, or shapes drawn for it."""

import dataclasses
from pathlib import Path

import numpy as np
import tensorflow as tf
from absl import logging

from mask_rcnn.data.coco import read_coco
from mask_rcnn.data.dataset_arrays import arrays_of
from mask_rcnn.data.records import Dataset
from mask_rcnn.data.shapes import write_shapes
from mask_rcnn.data.trainable import check_trainable


def read_training_data(config, folder, train_data=None, val_data=None):
    """Reads the images to learn from and those to validate on.

    Args:
        config: a `Config`.
        folder: where the shapes are drawn, if there are no other data.
        train_data: `Dataset`, or batches, which take the place of the files that the config names.
        val_data: `Dataset` that takes the place of the files that the config names.

    Returns:
        (training `Dataset` or batches, validation `Dataset`, path of the validation json); the last is None
        for `val_data`, and both where there is nothing to validate on.
    """
    _check_given(config.data, train_data, val_data)
    if train_data is None:
        return _read_files(config, folder)
    if config.keypoint_head and isinstance(train_data, Dataset):
        train_data = with_keypoints_only(train_data)
    for data in (train_data, val_data):
        if isinstance(data, Dataset):
            check_trainable(data, config)
    if val_data is not None and isinstance(train_data, Dataset):
        _check_same_classes(train_data, val_data, val_data.name)
    return train_data, val_data, None


def _check_given(data, train_data, val_data):
    """Raises a ValueError unless data are given once: as objects, or in the config."""
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
            f"Received: {type(train_data).__name__}. `MaskRCNN.fit` takes all that Keras takes."
        )
    named = [name for name in ("train_annotations", "val_annotations") if getattr(data, name) is not None]
    if train_data is not None and named:
        raise ValueError(
            "Data are given either as `train_data` and `val_data`, or in the config. "
            f"Received: both, with data.{named[0]}={getattr(data, named[0])!r}. Leave one of them out."
        )


def _read_files(config, folder):
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
    """Returns the config for as many classes as the data set has; one that says another number is wrong.

    Args:
        config: a `Config`.
        dataset: a `Dataset`; None for batches, whose classes the config must count.
    """
    if dataset is None:
        if not config.num_classes:
            raise ValueError(
                "Batches do not tell how many classes there are. Received: num_classes=0. "
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
