"""Reads the data of a run: the user's COCO files, or synthetic shapes."""

import dataclasses

import numpy as np
import tensorflow as tf
from absl import logging

from mask_rcnn.config.training import parse_mixture
from mask_rcnn.data.coco import check_images_dir, read_coco
from mask_rcnn.data.dataset_arrays import arrays_of
from mask_rcnn.data.mixture import mix_datasets
from mask_rcnn.data.records import Dataset
from mask_rcnn.data.shapes import write_shapes
from mask_rcnn.data.shards import find_shards, is_shards
from mask_rcnn.data.trainable import check_trainable
from mask_rcnn.system.paths import as_path
from mask_rcnn.training.check_runner import Checks

MAX_NAMES = 5  # class names shown in a line


def read_training_data(config, folder, train_data=None, val_data=None, checks=None):
    """Reads the training set and the validation set. `check_sources` must have accepted the arguments.

    Args:
        config: `Config`.
        folder: `Path` for synthetic shapes, which are drawn if there are no other data.
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

    def others():
        if train_data is None:
            return _validation_set(config, folder)
        return _trainable(val_data, config), None

    train_set = checks.run("training data", lambda: _training_set(config, folder, train_data), _described)
    val_set, val_path = checks.run(
        "validation data",
        lambda: (train_set, None) if config.data.overfit else others(),
        lambda found: _described(found[0]),
    ) or (None, None)
    if isinstance(train_set, Dataset) and val_set is not None:
        checks.run("classes", lambda: _check_same_classes(train_set, val_set, val_path or val_set.name))
    checks.finish()
    return train_set, val_set, val_path


def check_sources(data, train_data=None, val_data=None):
    """Raises a ValueError unless data are given in one way: as objects, or as existing files in the config.

    Args:
        data: `DataConfig`.
        train_data, val_data: As in `read_training_data`.
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


def _training_set(config, folder, given):
    """Returns the trainable `Dataset` for training, or batches."""
    data = config.data
    if given is None:
        drawn = data.train_annotations is None
        paths = draw_shapes(config, folder, "train") if drawn else _paths(data, "train")
        given = _read_mixture(paths, config)
    if config.keypoint_head and isinstance(given, Dataset):
        given = with_keypoints_only(given)
    if data.overfit:
        given = first_with_objects(given, data.overfit)
    return _trainable(given, config)


def _validation_set(config, folder):
    """Returns the validation `Dataset` and the path of its json. Both are None if the config names none."""
    data = config.data
    if data.train_annotations is not None and data.val_annotations is None:
        return None, None
    drawn = data.train_annotations is None
    paths = draw_shapes(config, folder, "val") if drawn else _paths(data, "val")
    return _trainable(read_set(paths, config), config), paths[0]


def _read_mixture(paths, config):
    """Returns the `Dataset` of a json and an image folder, joined with the data sets of `data.mixture`."""
    others = [parse_mixture(text) for text in config.data.mixture]
    if not others:
        return read_set(paths, config)
    files = [paths, *(each[:2] for each in others)]
    named = [dataclasses.replace(read_set(each, config), name=str(each[0])) for each in files]
    shares = [share for *_, share in others]
    return mix_datasets(named, [1 - sum(shares), *shares])


def read_set(paths, config):
    """Returns the `Dataset` of (json path, image folder), with limits and pixel format of a config."""
    data = config.data
    return read_coco(
        *paths,
        max_bad_images=data.max_bad_images,
        max_pixels=data.max_pixels,
        **config.input.pixel_format,
    )


def draw_shapes(config, folder, split):
    """Draws a set of synthetic shapes; returns the paths of its json and of its image folder.

    Args:
        config: `Config`.
        folder: `Path` for the files.
        split: "train" or "val".
    """
    data, is_val = config.data, split == "val"
    count = data.shapes_val if is_val else data.shapes_train
    return write_shapes(folder / split, count, data.shapes_size, seed=2 * config.train.seed + is_val)


def _trainable(data, config):
    if isinstance(data, Dataset):
        check_trainable(data, config)
    return data


def _described(data):
    """Returns a text with the numbers of images, objects and classes of a data set."""
    if not isinstance(data, Dataset):
        return "none" if data is None else "batches"
    names = [category.name for category in data.categories]
    shown = ", ".join(names[:MAX_NAMES]) + (", ..." if len(names) > MAX_NAMES else "")
    num_objects = len(arrays_of(data).images)
    return f"{data.name}, {len(data)} images, {num_objects} objects, {len(names)} classes ({shown})"


def with_keypoints_only(dataset):
    """Returns a `Dataset` of the images with keypoints, as Mask R-CNN (section 5) and detectron2 train."""
    arrays = arrays_of(dataset)
    images = tuple(dataset.images[index] for index in np.unique(arrays.images[arrays.has_keypoints]))
    logging.info("%s: %d of %d images have keypoints.", dataset.name, len(images), len(dataset))
    return dataclasses.replace(dataset, images=images)


def first_with_objects(dataset, count):
    """Returns a `Dataset` of the first `count` images with objects that are not crowd regions."""
    arrays = arrays_of(dataset)
    indices = np.unique(arrays.images[~arrays.crowd])
    if len(indices) < count:
        logging.warning("%s has %d images with objects; all are used.", dataset.name, len(indices))
    images = tuple(dataset.images[index] for index in indices[:count])
    return dataclasses.replace(dataset, images=images, shares=())


def _check_paths(data):
    """Raises a ValueError unless annotations and images are given together and exist."""
    for split in ("train", "val"):
        annotations, images = _paths(data, split)
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
            _check_kinds(f"{split}_annotations", f"{split}_images", as_path(annotations), as_path(images))
    for annotations, images, _ in map(parse_mixture, data.mixture):
        _check_kinds("mixture", "mixture", as_path(annotations), as_path(images))
    if data.val_annotations is not None and data.train_annotations is None:
        raise ValueError(
            "A validation set goes with a training set: without one, synthetic shapes are trained on. "
            f"Received: data.val_annotations={data.val_annotations!r}, data.train_annotations=None. "
            "Add `data.train_annotations` (`--train-annotations`) and `data.train_images` (`--train-images`)."
        )


def _check_kinds(annotations_field, images_field, annotations, images):
    for field, path, is_right, kind in (
        (annotations_field, annotations, annotations.is_file(), "a COCO json file"),
        (images_field, images, images.is_dir(), "a folder of images"),
    ):
        if not is_right:
            received = "is a folder" if path.is_dir() else "is a file" if path.exists() else "does not exist"
            option = "" if field == "mixture" else f" (`--{field.replace('_', '-')}`)"
            raise ValueError(
                f"`data.{field}`{option} must be {kind}. "
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
    return "the same in both sets"


def with_class_count(config, dataset):
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


def check_objects(train_set, val_set, iou_type):
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


def _has_objects(dataset):
    return not arrays_of(dataset).crowd.all()
