"""Selects the usable images of a COCO json and makes one table of all their annotations."""

import collections
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mask_rcnn.data.annotation_table import AnnotationTable, concatenate, table_of
from mask_rcnn.data.findings import listed, shown
from mask_rcnn.data.readers.annotations import read_annotation
from mask_rcnn.data.readers.coco_entries import EXPECTED

if TYPE_CHECKING:
    from mask_rcnn.data.readers.coco_content import Entries

# A kind of repair, see `Findings`.
REPEATED_OBJECT = "an object repeats another one of its image: it stays, and at most one of them can be found"


class CocoAnnotations(Sequence[dict[str, Any]]):
    """Sequence of annotations as dicts of `read_annotation`, made on demand from a table.

    Args:
        table: `AnnotationTable` whose class ids are category ids.
        images: Dicts with `id`, `height` and `width`. `table.images` are indices into them.
    """

    def __init__(
        self, table: AnnotationTable, images: Sequence[Mapping[str, Any]] | Mapping[int, Mapping[str, Any]]
    ):
        self.table, self.images = table, images

    def __len__(self) -> int:
        return len(self.table)

    def take(self, rows: np.ndarray) -> "CocoAnnotations":
        """Returns the annotations of the rows that are selected by index or by a mask `[N]` bool."""
        return CocoAnnotations(self.table.take(rows), self.images)

    def __getitem__(self, row: int) -> dict[str, Any]:
        table, image = self.table, self.images[int(self.table.images[row])]
        points = table.points(row)
        flat = [number for point in points for number in point] if points else None
        return {
            "id": int(table.ids[row]),
            "image_id": image["id"],
            "category_id": int(table.class_ids[row]),
            "bbox": table.boxes[row].tolist(),
            "area": float(table.areas[row]),
            "iscrowd": int(table.crowd[row]),
            "segmentation": table.segmentation(row, (image["height"], image["width"])),
            "keypoints": flat,
            "num_keypoints": sum(visibility > 0 for *_, visibility in points or ()),
        }


def usable_images(
    entries: "Entries", size_of: Callable[[dict[str, Any]], tuple[int, int]]
) -> tuple[list[dict[str, Any]], AnnotationTable, list[dict[str, Any]], list[str]]:
    """Returns the usable images, their annotations, the unusable images, and the reasons.

    Args:
        entries: `Entries`.
        size_of: Function from an image to (height, width). It raises a ValueError or OSError if the image
            cannot be used.

    Returns:
        images: List of dicts with `height` and `width`.
        table: `AnnotationTable` of their annotations, grouped by image. Its `images` are indices into
            `images`.
        left_out: List of the dicts of unusable images.
        reasons: List of the error messages for `left_out`.
    """
    images, left_out, reasons, read = [], [], [], []
    new_index = np.full(len(entries.images), -1, "int32")
    rows = _RowsOfImages(entries.regular_annotations, len(entries.images))
    for index, image in enumerate(entries.images.values()):
        others = entries.other_annotations.get(image["id"], ())
        try:
            size = size_of(image)
            checked = _read_all([entry for _, entry in others], size, entries)
        except (ValueError, OSError) as error:
            left_out.append(image)
            reasons.append(str(error))
            continue
        new_index[index] = len(images)
        images.append({**image, "height": size[0], "width": size[1]})
        read += [(len(images) - 1, position, one) for (position, _), one in zip(others, checked, strict=True)]
        if checked or rows.may_repeat[index]:
            annotations = _in_order(entries, rows.of(index), others=others, checked=checked, image=images[-1])
            _note_repeated(annotations, entries.findings)
    entries.findings.check(EXPECTED, entries.name)
    return images, _joined(entries, new_index, read), left_out, reasons


def _joined(entries, new_index, read):
    """Returns one table of the regular annotations and of those that were read one by one.

    Args:
        entries: `Entries`.
        new_index: `[I]`, index of each image among the usable ones, or -1 if it is left out.
        read: (image index, position, annotation) of the annotations that were read one by one.
    """
    regular = entries.regular_annotations
    table, positions = dataclasses.replace(regular, images=new_index[regular.images]), entries.positions
    if read:
        others = table_of([annotation for *_, annotation in read], [index for index, *_ in read])
        table = concatenate([table, others])
        positions = np.concatenate([positions, [position for _, position, _ in read]])
    order = np.lexsort((positions, table.images))
    return table.take(order[np.searchsorted(table.images[order], 0) :])


class _RowsOfImages:
    """Table rows of each of `num_images` images, and which images may contain duplicate objects."""

    def __init__(self, table, num_images):
        self.order = np.argsort(table.images, kind="stable")
        self.bounds = np.searchsorted(table.images[self.order], np.arange(num_images + 1))
        keys = (
            np.column_stack([table.images, table.class_ids, table.crowd, table.boxes]) + 0.0
        )  # adding 0.0 turns -0.0 into 0.0
        hashes = np.zeros(len(table), "uint64")
        for column in np.ascontiguousarray(keys.T).view("uint64"):
            hashes = (hashes ^ column) * np.uint64(0x9E3779B97F4A7C15)
            hashes ^= hashes >> np.uint64(29)
        _, groups, counts = np.unique(hashes, return_inverse=True, return_counts=True)
        self.may_repeat = np.zeros(num_images, bool)
        self.may_repeat[table.images[counts[groups] > 1]] = True

    def of(self, index):
        return self.order[self.bounds[index] : self.bounds[index + 1]]


def _in_order(entries, rows, *, others, checked, image):
    """Returns all annotations of an image as dicts, in the order of the file."""
    table = entries.regular_annotations
    regular = CocoAnnotations(table, {table.images[row]: image for row in rows[:1]})
    pairs = [(entries.positions[row], regular[row]) for row in rows]
    pairs += [(position, annotation) for (position, _), annotation in zip(others, checked, strict=True)]
    return [annotation for _, annotation in sorted(pairs, key=lambda pair: pair[0])]


def _read_all(annotations, size, entries):
    checked, problems = [], []
    for entry in annotations:
        category = entries.categories[entry["category_id"]]
        try:
            checked.append(read_annotation(entry, size, category, findings=entries.findings))
        except ValueError as error:
            problems.append(str(error))
    if problems:
        more = f" (and {len(problems) - 1} more of its annotations)" if len(problems) > 1 else ""
        raise ValueError(problems[0] + more)
    return checked


def _note_repeated(annotations, findings):
    """Adds a repair for duplicate objects of an image. They stay, as in every COCO evaluation."""
    boxes = collections.Counter(map(_place, annotations))
    known = set()
    for annotation in annotations:
        if boxes[_place(annotation)] == 1:
            continue
        content = (*_place(annotation), _hashable(annotation["segmentation"]))
        if content in known:
            findings.repair(REPEATED_OBJECT, f"annotation {annotation['id']}")
        known.add(content)


def _place(annotation):
    return annotation["category_id"], annotation["iscrowd"], *annotation["bbox"]


def _hashable(segmentation):
    if isinstance(segmentation, dict):
        counts = segmentation["counts"]
        return counts if isinstance(counts, str) else tuple(counts)
    return segmentation and tuple(map(tuple, segmentation))


def report(
    left_out: Sequence[Mapping[str, Any]],
    reasons: Sequence[str],
    entries: "Entries",
    *,
    max_bad_images: float,
) -> tuple[str, ...]:
    """Returns the warnings about left out and repaired content, one line each.

    Args:
        left_out, reasons: As from `usable_images`.
        entries: `Entries`.
        max_bad_images: Maximum fraction of images that may be left out.

    Raises:
        ValueError: Too many images are unusable.
    """
    num_images = len(entries.images)
    bad = [
        f"image {shown(image['id'])} ({shown(image['file_name'])}): {reason}"
        for image, reason in zip(left_out, reasons, strict=True)
    ]
    if len(bad) == num_images or len(bad) > max_bad_images * num_images:
        listing = "\n  ".join(listed(bad))
        raise ValueError(
            f"Expected at most {max_bad_images:.1%} of the images to be unusable. "
            f"Received: {entries.name} with {len(bad)} of {num_images}:\n  {listing}\n"
            "Correct them; training allows more with `data.max_bad_images`."
        )
    count = [f"{len(bad)} of {num_images} images are left out:"] if bad else []
    return (*entries.notes, *count, *listed(bad), *entries.findings.lines())
