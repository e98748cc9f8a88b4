"""Reads a COCO json without its image files, checked and repaired, for training and evaluation."""

import collections
import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from mask_rcnn.data.annotation_table import AnnotationTable
from mask_rcnn.data.findings import Findings, shown
from mask_rcnn.data.json_values import whole_number
from mask_rcnn.data.readers.coco_entries import (
    EXPECTED,
    GIVEN,
    are_ids_unique,
    check_lists,
    read_categories,
    read_images,
    read_references,
)
from mask_rcnn.data.readers.coco_scan import Scan, scan_bytes, scan_file, scan_of
from mask_rcnn.data.readers.federation import Federation, read_federation
from mask_rcnn.data.readers.usable_images import CocoAnnotations, report, usable_images
from mask_rcnn.data.tfrecords.shards import Shards, is_shards, read_shards
from mask_rcnn.structures import Category
from mask_rcnn.system.memory import release_freed_memory
from mask_rcnn.system.paths import RemotePath

NO_SIZE = "`height` or `width` was missing: the size of the file or of a mask was taken"


@dataclass(frozen=True, kw_only=True)
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
    def sizes(self) -> dict[int | str, tuple[int, int]]:
        """{image id: (height, width)}."""
        return {image["id"]: (image["height"], image["width"]) for image in self.images}

    @property
    def frequencies(self) -> np.ndarray | None:
        """`[K]` str, frequency of each class in the order of ids, "" if unknown; None without federation."""
        if self.federation is None:
            return None
        ids = sorted(category.id for category in self.categories)
        return np.array([self.federation.frequencies.get(id, "") for id in ids], "U1")


def read_annotations(
    source: str | Path | RemotePath | dict[str, Any],
    sizes: Mapping[int | str, tuple[int, int]] | None = None,
    max_bad_images: float = 0.01,
) -> CocoContent:
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
    known_sizes = sizes or {}
    entries = read_entries(source)

    def size_of(image):
        if image["height"] and image["width"]:
            return image["height"], image["width"]
        size = known_sizes.get(image["id"]) or _mask_size(entries.other_annotations.get(image["id"], ()))
        if size is None:
            raise ValueError(
                "The size of the image is needed. Received: no `height` and `width` in the json, and no mask "
                "with a size. Add them."
            )
        entries.findings.repair(NO_SIZE, f"image {shown(image['id'])}")
        return size

    images, table, left_out, reasons = usable_images(entries, size_of)
    release_freed_memory()
    warnings = report(left_out, reasons, entries, max_bad_images=max_bad_images)
    categories = tuple(entries.categories.values())
    annotations = CocoAnnotations(table, images)
    federation = entries.federation and entries.federation.renumbered(_new_index(entries, images))
    return CocoContent(
        name=entries.name,
        categories=categories,
        images=tuple(images),
        annotations=annotations,
        left_out=tuple(left_out),
        warnings=warnings,
        federation=federation,
    )


def _new_index(entries, images):
    """Returns the index of each image of a json among the usable images, `[I]` int32, or -1 if left out."""
    index = {image["id"]: number for number, image in enumerate(images)}
    return np.array([index.get(id, -1) for id in entries.images], "int32")


@dataclass(frozen=True, kw_only=True)
class Entries:
    """The entries of a COCO json.

    Args:
        name: Name of the file.
        images, categories: Dicts by id.
        regular_annotations: `AnnotationTable` of the N annotations that need no repair.
        positions: `[N]` int64, their positions in the list `annotations` of the json.
        other_annotations: {image id: [(position, entry)]} of the other annotations, which are read one by
            one.
        findings: `Findings`.
        notes: Sentences about the text encoding.
        federation: `Federation`, or None. Its images are indexed as in `images`.
    """

    name: str
    images: dict[int | str, dict[str, Any]]
    categories: dict[int, Category]
    regular_annotations: AnnotationTable
    positions: np.ndarray
    other_annotations: dict[int | str, list[tuple[int, dict[str, Any]]]]
    findings: Findings
    notes: list[str]
    federation: Federation | None


def read_entries(source: str | Path | RemotePath | Shards | dict[str, Any]) -> Entries:
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
    others = read_references(
        _with_crowd_flags(scan.other_annotations, federation), images, declared, findings=findings
    )
    regular, others = _numbered(scan, others, findings)
    used = {*regular.class_ids.tolist(), *(entry["category_id"] for _, entry in others)}
    categories = read_categories(content["categories"], used, findings)
    findings.check(EXPECTED, name)
    by_image = collections.defaultdict(list)
    for position, entry in others:
        by_image[entry["image_id"]].append((position, entry))
    return Entries(
        name=name,
        images=images,
        categories=categories,
        regular_annotations=regular,
        positions=scan.positions,
        other_annotations=by_image,
        findings=findings,
        notes=scan.notes,
        federation=federation,
    )


def _with_crowd_flags(others, federation):
    """Returns the (position, entry) pairs with `iscrowd` added, which LVIS files do not have."""
    if federation is None:
        return others
    return [
        (position, {"iscrowd": 0, **entry} if isinstance(entry, dict) else entry)
        for position, entry in others
    ]


def _scan(source: Any) -> tuple[str, Scan, Findings]:
    """Returns the name of a json, its `Scan`, and the `Findings` so far."""
    shards = read_shards(source) if _is_path(source) and is_shards(source) else source
    if isinstance(shards, Shards):
        return shards.name, scan_bytes(shards.content, shards.name, EXPECTED), shards.findings
    if _is_path(source):
        return str(source), scan_file(source, EXPECTED), Findings()
    return GIVEN, scan_of(source), Findings()


def _is_path(source: object) -> TypeGuard[str | Path | RemotePath]:
    return isinstance(source, str | os.PathLike | RemotePath)


def _numbered(scan, others, findings):
    """Numbers all annotations from 1 if an id is missing, repeated or not a whole number.

    Returns:
        The table of regular annotations, and (position, entry) of the others.
    """
    regular = scan.regular_annotations
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


def _mask_size(annotations) -> tuple[int, int] | None:
    """Returns the size in a run-length mask of an image, or None."""
    for _, annotation in annotations:
        mask = annotation.get("segmentation")
        size = mask.get("size") if isinstance(mask, dict) else None
        if isinstance(size, list) and len(size) == 2:
            height, width = map(whole_number, size)
            if _is_side(height) and _is_side(width):
                return height, width
    return None


def _is_side(side: object) -> TypeGuard[int]:
    return isinstance(side, int) and 0 < side < 2**16
