"""Reads COCO instances json files and reports every problem in them clearly.

All commands read json files with these functions, so the same file always gives the same result:

- Entries that every COCO tool accepts are repaired and reported, one line per kind with a count and examples.
- Entries without a clear meaning are an error that lists all of them.
- An image is left out if its file or one of its annotations is unusable. This is reported, and it is only an
  error if there are too many such images. One bad image in ten thousand should not stop a run. Removing only
  the annotation would teach the network that the object is background.
"""

import contextlib
import dataclasses
import functools
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from mask_rcnn.data.annotation_table import ImageAnnotations
from mask_rcnn.data.findings import shown
from mask_rcnn.data.image_io.checked_files import check_files
from mask_rcnn.data.image_io.image_headers import MAX_PIXELS, RGB8
from mask_rcnn.data.readers.background_check import checking_ahead
from mask_rcnn.data.readers.coco_content import NO_SIZE, Entries, read_entries
from mask_rcnn.data.readers.coco_entries import EXPECTED
from mask_rcnn.data.readers.federation import UNLABELED
from mask_rcnn.data.readers.image_files import find_image_files
from mask_rcnn.data.readers.usable_images import report, usable_images
from mask_rcnn.data.records import Dataset, ImageRecord
from mask_rcnn.data.tfrecords.shards import is_shards, read_shards
from mask_rcnn.system.memory import release_freed_memory
from mask_rcnn.system.paths import RemotePath, as_path


def read_coco(
    annotations_path: str | Path | RemotePath,
    images_dir: str | Path | RemotePath | None = None,
    *,
    max_bad_images: float = 0.01,
    max_pixels: int = MAX_PIXELS,
    channels: int = 3,
    dtype: str = "uint8",
) -> Dataset:
    """Reads a COCO instances json or TFRecord files, and checks every image.

    Args:
        annotations_path: Path of the json file, of a TFRecord file, or a pattern such as
            "gs://bucket/train-*.tfrecord".
        images_dir: Folder that the `file_name`s of the json are relative to. Must be None for TFRecord files.
            Defaults to None.
        max_bad_images: Maximum fraction of the images that may be left out. An image is left out if its file
            is missing, truncated or of another size, or if one of its annotations is invalid. More such
            images are an error. Defaults to 0.01.
        max_pixels: Maximum height times width of an image. Larger images cannot be used. Defaults to
            `MAX_PIXELS`.
        channels, dtype: Number of channels and dtype of all images, as in `read_image`. Images with other
            channels cannot be used. Default to 3 and "uint8", 8-bit RGB.

    Returns:
        A `Dataset`. Its class ids 1..K are the category ids in ascending order.

    Raises:
        ValueError: The content is not clear, or too many images are unusable.
        FileNotFoundError: The json file or the image folder does not exist.
    """
    reading = read_with_reasons(
        annotations_path, images_dir, max_pixels=max_pixels, channels=channels, dtype=dtype
    )
    warnings = report(reading.left_out, reading.reasons, reading.entries, max_bad_images=max_bad_images)
    if reading.entries.federation is not None:
        warnings = (*warnings, UNLABELED)
    if warnings:
        _log_once("\n  ".join([f"{reading.entries.name}:", *warnings]))
    return dataclasses.replace(reading.dataset, warnings=warnings)


@dataclass(frozen=True, kw_only=True)
class CocoReading:
    """The content of a COCO json and its image files, with the unusable images.

    Args:
        dataset: `Dataset` of the usable images, without warnings.
        entries: `Entries` of the json, with the `Findings` of the reader.
        left_out: List of the dicts of unusable images, with `id` and `file_name`.
        reasons: List of the error messages for the images of `left_out`.
        channels: Number of channels of the images.
    """

    dataset: Dataset
    entries: Entries
    left_out: list[dict[str, Any]]
    reasons: list[str]
    channels: int


def read_with_reasons(
    annotations_path: str | Path | RemotePath,
    images_dir: str | Path | RemotePath | None = None,
    *,
    max_pixels: int = MAX_PIXELS,
    channels: int = 3,
    dtype: str = "uint8",
) -> CocoReading:
    """Returns the `CocoReading` of a json and its images. Any number of images may be left out.

    Arguments and errors are as in `read_coco`.
    """
    check_images_dir(annotations_path, images_dir)
    if is_shards(annotations_path):
        entries, paths, files = _read_shards(
            annotations_path, max_pixels=max_pixels, channels=channels, dtype=dtype
        )
    else:
        entries, paths, files = _read_json(
            annotations_path, as_path(images_dir), max_pixels=max_pixels, channels=channels
        )
    images, table, left_out, reasons = usable_images(
        entries, lambda image: _checked_size(image, files[image["id"]], entries.findings)
    )
    release_freed_memory()
    categories = tuple(sorted(entries.categories.values(), key=lambda category: category.id))
    class_ids = np.searchsorted([category.id for category in categories], table.class_ids) + 1
    records = _records(images, dataclasses.replace(table, class_ids=class_ids), paths=paths, files=files)
    path = as_path(annotations_path)
    name = f"{path.parent.name}/{path.name}" if is_shards(path) else path.stem  # the pattern may be only "*"
    dataset = Dataset(name=name, categories=categories, images=records, num_left_out=len(left_out))
    return CocoReading(
        dataset=dataset, entries=entries, left_out=left_out, reasons=reasons, channels=channels
    )


def check_images_dir(
    annotations_path: str | Path | RemotePath, images_dir: str | Path | RemotePath | None
) -> None:
    """Raises a ValueError if a json has no image folder, or if TFRecord files have one."""
    if is_shards(annotations_path) and images_dir is not None:
        raise ValueError(
            f"TFRecord files contain their images. Received: {str(annotations_path)!r} with the folder "
            f"of images {str(images_dir)!r}. Leave the folder out."
        )
    if images_dir is None and not is_shards(annotations_path):
        raise ValueError(
            "A COCO json needs the folder of its images. "
            f"Received: {str(annotations_path)!r} without one. Give the folder (`--images`)."
        )


def _read_shards(pattern, *, max_pixels, channels, dtype):
    """Returns the `Entries` of TFRecord files, and dicts by image id: image locations, `CheckedFile`s."""
    if {"channels": channels, "dtype": dtype} != RGB8:
        raise ValueError(
            "The images of TFRecord files are read as 8-bit RGB. "
            f"Received: {str(pattern)!r}, input.channels={channels}, "
            f"input.dtype={dtype!r}. Give a COCO json and a folder of images."
        )
    shards = read_shards(pattern, max_pixels)
    entries = read_entries(shards)
    paths = dict(zip(entries.images, shards.images, strict=True))
    return entries, paths, dict(zip(entries.images, shards.files, strict=True))


def _read_json(annotations_path, images_dir, *, max_pixels, channels):
    """Returns the `Entries` of a json, and dicts by image id: file paths, `CheckedFile`s."""
    in_background = checking_ahead(annotations_path, images_dir, max_pixels)
    with in_background if channels == 3 else contextlib.nullcontext():
        entries = read_entries(annotations_path)
    if not images_dir.is_dir():
        raise FileNotFoundError(
            f"Expected the folder of the images. Received: images_dir={str(images_dir)!r}. Check the path."
        )
    paths = find_image_files(entries.images.values(), images_dir, entries.findings)
    entries.findings.check(EXPECTED, entries.name)
    files = check_files(paths.values(), images_dir, max_pixels=max_pixels, channels=channels)
    return entries, paths, dict(zip(paths, files, strict=True))


def _records(images, table, *, paths, files):
    """Returns the `ImageRecord`s of images. Their annotations are rows of a common table."""
    bounds = np.searchsorted(table.images, np.arange(len(images) + 1)).tolist()
    return tuple(
        ImageRecord(
            id=image["id"],
            path=paths[image["id"]],
            height=image["height"],
            width=image["width"],
            annotations=ImageAnnotations(table, start, stop, size=(image["height"], image["width"])),
            bits=files[image["id"]].bits,
        )
        for image, (start, stop) in zip(images, itertools.pairwise(bounds), strict=True)
    )


@functools.lru_cache(maxsize=256)
def _log_once(report):
    """Logs the report of a file once per process, because a run reads the same file several times."""
    logging.warning("%s", report)


def _checked_size(image, file, findings):
    """Returns the size of an image file. It must equal the size in the json, if the json has one."""
    if isinstance(file, Exception):
        raise file
    size, declared = (file.height, file.width), (image["height"], image["width"])
    if any(side not in (None, actual) for actual, side in zip(size, declared, strict=True)):
        swapped = declared == size[::-1]
        raise ValueError(
            "The json must declare the size of the file. "
            f"Received: height={image['height']}, width={image['width']} in the json, "
            f"height={file.height}, width={file.width} in the file (EXIF orientation applied). "
            + ("Are height and width in the wrong order?" if swapped else "Use the image that was annotated.")
        )
    if None in declared:
        findings.repair(NO_SIZE, f"image {shown(image['id'])}")
    return size
