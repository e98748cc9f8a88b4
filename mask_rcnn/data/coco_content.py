"""Reads a COCO json without its image files, checked and repaired, for training and evaluation."""

import collections
import dataclasses
import os
from dataclasses import dataclass

import numpy as np

from mask_rcnn.data.annotation_table import AnnotationTable
from mask_rcnn.data.coco_entries import (
    EXPECTED,
    GIVEN,
    are_ids_unique,
    check_lists,
    read_categories,
    read_images,
    read_references,
)
from mask_rcnn.data.coco_scan import scan_bytes, scan_file, scan_of
from mask_rcnn.data.federation import Federation, read_federation
from mask_rcnn.data.findings import Findings, shown
from mask_rcnn.data.json_values import whole_number
from mask_rcnn.data.shards import Shards, is_shards, read_shards
from mask_rcnn.data.usable_images import CocoAnnotations, report, usable_images
from mask_rcnn.structures import Category
from mask_rcnn.system.memory import release_freed_memory
from mask_rcnn.system.paths import RemotePath

NO_SIZE = "`height` or `width` was missing: the size of the file or of a mask was taken"


@dataclass(frozen=True)
class CocoContent:
    """The content of a COCO json without its image files, checked and repaired.

    Args:
        name: Path of the file.
        categories: Tuple of `Category` in the order of the file.
        images: Dicts with `id`, `file_name` (None if the file has none), `height`, `width`.
        annotations: Dicts of `read_annotation`, grouped by image.
        left_out: Dicts as in `images`, of the images that cannot be used.
        warnings: One line for each kind of repaired or left out content.
        federation: `Federation` if not all classes are labeled in each image, as in LVIS. Defaults to None:
            all objects of all classes are labeled.
    """

    name: str
    categories: tuple[Category, ...]
    images: tuple[dict, ...]
    annotations: CocoAnnotations
    left_out: tuple[dict, ...]
    warnings: tuple[str, ...]
    federation: Federation | None = None

    @property
    def sizes(self):
        """{image id: (height, width)}."""
        return {image["id"]: (image["height"], image["width"]) for image in self.images}

    @property
    def frequencies(self):
        """`[K]` str, frequency of each class in the order of ids, "" if unknown; None without federation."""
        if self.federation is None:
            return None
        ids = sorted(category.id for category in self.categories)
        return np.array([self.federation.frequencies.get(id, "") for id in ids], "U1")


def read_annotations(source, sizes=None, max_bad_images=0.01):
    """Reads a COCO instances json without its image files, as an evaluation needs it.

    Args:
        source: Path of the json or of TFRecord files, or the parsed content of a json, which is not changed.
        sizes: {image id: (height, width)} from another source, used for images without a size in the json.
            Defaults to None.
        max_bad_images: As in `read_coco`. Defaults to 0.01.

    Returns:
        `CocoContent`.

    Raises:
        ValueError: The content is not clear, or too many images are unusable.
    """
    sizes = sizes or {}
    entries = read_entries(source)

    def size_of(image):
        if image["height"] and image["width"]:
            return image["height"], image["width"]
        size = sizes.get(image["id"]) or _mask_size(entries.others.get(image["id"], ()))
        if size is None:
            raise ValueError(
                "The size of the image is needed. Received: no `height` and `width` in the json, and no mask "
                "with a size. Add them."
            )
        entries.findings.repair(NO_SIZE, f"image {shown(image['id'])}")
        return size

    images, table, left_out, reasons = usable_images(entries, size_of)
    release_freed_memory()
    warnings = report(left_out, reasons, entries, max_bad_images)
    categories = tuple(entries.categories.values())
    annotations = CocoAnnotations(table, images)
    federation = entries.federation and entries.federation.renumbered(_new_index(entries, images))
    return CocoContent(
        entries.name, categories, tuple(images), annotations, tuple(left_out), warnings, federation
    )


def _new_index(entries, images):
    """Returns the index of each image of a json among the usable images, `[I]` int32, or -1 if left out."""
    index = {image["id"]: number for number, image in enumerate(images)}
    return np.array([index.get(id, -1) for id in entries.images], "int32")


@dataclass(frozen=True)
class Entries:
    """The entries of a COCO json.

    Args:
        name: Name of the file.
        images, categories: Dicts by id.
        regular: `AnnotationTable` of the annotations that need no repair.
        positions: `[N]` int64, their positions in the json.
        others: {image id: [(position, entry)]} of the other annotations.
        findings: `Findings`.
        notes: Sentences about the text encoding.
        federation: `Federation`, or None. Its images are indexed as in `images`.
    """

    name: str
    images: dict
    categories: dict
    regular: AnnotationTable
    positions: np.ndarray
    others: dict
    findings: Findings
    notes: list
    federation: Federation | None


def read_entries(source):
    """Returns the `Entries` of a json, of TFRecord files or of `Shards`.

    Args:
        source: Path of a json or of TFRecord files, `Shards`, or the parsed content of a json.

    Raises:
        ValueError: Ids are unclear. The message lists all of them.
    """
    name, scan, findings = _scan(source)
    content = scan.content
    check_lists(content, name)
    images = read_images(content["images"], findings)
    federation = read_federation(content, images, findings)
    declared = {whole_number(entry.get("id")) for entry in content["categories"] if isinstance(entry, dict)}
    others = read_references(_with_crowd_flags(scan.others, federation), images, declared, findings)
    regular, others = _numbered(scan, others, findings)
    used = {*regular.class_ids.tolist(), *(entry["category_id"] for _, entry in others)}
    categories = read_categories(content["categories"], used, findings)
    findings.check(EXPECTED, name)
    by_image = collections.defaultdict(list)
    for position, entry in others:
        by_image[entry["image_id"]].append((position, entry))
    return Entries(
        name, images, categories, regular, scan.positions, by_image, findings, scan.notes, federation
    )


def _with_crowd_flags(others, federation):
    """Returns the (position, entry) pairs with `iscrowd` added, which LVIS files do not have."""
    if federation is None:
        return others
    return [
        (position, {"iscrowd": 0, **entry} if isinstance(entry, dict) else entry)
        for position, entry in others
    ]


def _scan(source):
    """Returns the name of a json, its `Scan`, and the `Findings` so far."""
    is_path = isinstance(source, str | os.PathLike | RemotePath)
    if is_path and is_shards(source):
        source = read_shards(source)
    if isinstance(source, Shards):
        return source.name, scan_bytes(source.content, source.name, EXPECTED), source.findings
    if is_path:
        return str(source), scan_file(source, EXPECTED), Findings()
    return GIVEN, scan_of(source), Findings()


def _numbered(scan, others, findings):
    """Numbers all annotations from 1 if an id is missing, repeated or not a whole number.

    Returns:
        The table of regular annotations, and (position, entry) of the others.
    """
    regular = scan.table
    ids = np.sort(regular.ids)
    if not others and (ids[1:] > ids[:-1]).all() and 0 not in ids:
        return regular, others
    ids = dict(zip(scan.positions.tolist(), regular.ids.tolist(), strict=True))
    ids |= {position: entry["id"] for position, entry in others}
    if are_ids_unique([ids[position] for position in sorted(ids)], findings):
        return regular, others
    numbers = {position: number for number, position in enumerate(sorted(ids), start=1)}
    renumbered = np.array([numbers[position] for position in scan.positions.tolist()], "int64")
    others = [(position, {**entry, "id": numbers[position]}) for position, entry in others]
    return dataclasses.replace(regular, ids=renumbered), others


def _mask_size(annotations):
    """Returns the size in a run-length mask of an image, or None."""
    masks = (annotation.get("segmentation") for _, annotation in annotations)
    sizes = (mask.get("size") for mask in masks if isinstance(mask, dict))
    whole = ([whole_number(side) for side in size] for size in sizes if isinstance(size, list))
    return next((tuple(size) for size in whole if len(size) == 2 and all(_is_side(s) for s in size)), None)


def _is_side(side):
    return isinstance(side, int) and 0 < side < 2**16
