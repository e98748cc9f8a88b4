"""Reads a COCO results file and matches its entries with the images of the annotations."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pycocotools import mask as coco_mask

from mask_rcnn.data.findings import Findings, shown
from mask_rcnn.data.json_file import read_json
from mask_rcnn.data.json_values import UNCLEAR, are_numbers, identity, number, numbers, whole_number
from mask_rcnn.data.readers.annotations import read_box
from mask_rcnn.data.readers.coco_entries import GIVEN, note_id
from mask_rcnn.data.readers.image_files import common_suffix, name_parts
from mask_rcnn.data.segmentations import compressed, read_run_lengths
from mask_rcnn.system.paths import RemotePath

if TYPE_CHECKING:
    from mask_rcnn.data.readers.coco_content import CocoContent

EXPECTED = "a COCO results file"


@dataclass(frozen=True)
class Results:
    """The checked and repaired entries of a results file.

    Args:
        entries: Dicts with `image_id` and `category_id` of the annotations, `score`, and at least one of
            `bbox`, `segmentation` (compressed run lengths) and `keypoints`.
        warnings: One line for each kind of repaired or left out content.
    """

    entries: tuple[dict[str, Any], ...]
    warnings: tuple[str, ...]


def load_results(source: str | Path | RemotePath | list[Any]) -> tuple[list[Any], str, list[str]]:
    """Reads the entries of a results file, without checking them.

    Args:
        source: Path of the json, or its parsed content, a list.

    Returns:
        entries: List of the entries.
        name: Name of the file, for messages.
        notes: List of sentences about a guessed text encoding.

    Raises:
        ValueError: The content is not a list.
    """
    name, notes = GIVEN, []
    entries: Any = source
    if isinstance(source, str | os.PathLike | RemotePath):
        name, (entries, notes) = str(source), read_json(source, EXPECTED)
    if not isinstance(entries, list):
        raise ValueError(
            "A COCO results file holds a list with one entry for each object. "
            f"Received: {name} with {shown(entries)}. "
            "Give the file with results, not one with the ground truth."
        )
    return entries, name, notes


def mask_sizes(entries: Iterable[Any]) -> dict[Any, tuple[int, int]]:
    """Returns {image id: (height, width)} from the run-length masks of entries that use image ids."""
    sizes = {}
    for entry in entries:
        by_id = isinstance(entry, dict) and "file_name" not in entry
        mask = entry.get("segmentation") if by_id else None
        size = mask.get("size") if isinstance(mask, dict) else None
        if isinstance(size, list) and len(size) == 2 and all(type(side) is int and side > 0 for side in size):
            sizes.setdefault(identity(entry.get("image_id")), tuple(size))
    return sizes


def box_of(entry: Mapping[str, Any]) -> list[float]:
    """Returns COCO's (x, y, width, height) of a checked entry, computed from mask or keypoints if needed."""
    if "bbox" in entry:
        return entry["bbox"]
    if "segmentation" in entry:
        return coco_mask.toBbox(entry["segmentation"]).tolist()
    points = np.reshape(entry["keypoints"], (-1, 3))[:, :2]
    return [*points.min(axis=0).tolist(), *np.ptp(points, axis=0).tolist()]


def read_results(
    entries: Sequence[Any], content: "CocoContent", *, shared_classes: bool = False, name: str = GIVEN
) -> Results:
    """Checks and repairs the entries of a results file.

    Entries with `file_name` and `category_name`, which `mask-rcnn detect --json` writes, are matched by these
    names, because the annotations may use other ids.

    Args:
        entries: The list from `load_results`. It is not changed.
        content: `CocoContent` of the annotations.
        shared_classes: Whether to leave out entries of categories that the annotations do not have, with a
            report. Otherwise they are an error. Defaults to False.
        name: Name of the file, for error messages. Defaults to "the given content".

    Returns:
        `Results`.

    Raises:
        ValueError: Entries are unclear. The message lists all of them.
    """
    findings = Findings()
    image_ids = _image_ids(entries, content, findings)
    category_ids = _category_ids(entries, content)
    sizes = content.sizes
    left_out = {image["id"] for image in content.left_out}
    checked = []
    matches = zip(entries, image_ids, category_ids, strict=True)
    for index, (entry, image_id, category_id) in enumerate(matches):
        if image_id is None:
            continue
        where = f"entry {index}"
        if category_id is None:
            _note_category(entry, content, shared_classes, where=where, findings=findings)
        elif image_id in left_out:
            findings.repair("entries of images that cannot be used were left out", where)
        else:
            if "category_name" not in entry:
                note_id(entry["category_id"], category_id, where=where, findings=findings)
            ids = {"image_id": image_id, "category_id": category_id}
            checked.append(_entry(entry, ids, sizes[image_id], where=where, findings=findings))
    findings.check(EXPECTED, name)
    return Results(tuple(checked), tuple(findings.lines()))


def _image_ids(entries, content, findings):
    """Returns the image id of each entry, or None if the entry is left out or refused."""
    images = [*content.images, *content.left_out]
    named = [isinstance(entry, dict) and isinstance(entry.get("file_name"), str) for entry in entries]
    if all(named) and named:
        if any(isinstance(image["file_name"], str) for image in images):
            return _ids_by_name(entries, images, findings)
        findings.repair("the annotations have no `file_name`: entries were matched by `image_id`", "all")
    elif any(named):
        findings.refuse(
            "either every entry or none must have a `file_name`",
            f"entry {named.index(True)} with one, entry {named.index(False)} without",
        )
    known, ids = {image["id"] for image in images}, []
    for index, entry in enumerate(entries):
        where = f"entry {index}"
        id = identity(entry.get("image_id")) if isinstance(entry, dict) else None
        if not isinstance(entry, dict):
            findings.refuse("each entry must be an object", f"{where}, {shown(entry)}")
        elif id is UNCLEAR or id not in known:
            findings.refuse(
                "`image_id` must be in the annotations; use the annotations of the detected images",
                f"{where} with image_id={shown(entry.get('image_id'))}",
            )
        else:
            note_id(entry["image_id"], id, where=where, findings=findings)
        ids.append(id if id is not UNCLEAR and id in known else None)
    return ids


def _category_ids(entries, content):
    """Returns the category id of each entry, by `category_name` if it has one, or None without a match."""
    ids = {category.id for category in content.categories}
    by_name = {category.name: category.id for category in content.categories}
    category_ids = []
    for entry in entries:
        fields = entry if isinstance(entry, dict) else {}
        name = fields.get("category_name")
        id = by_name.get(name) if isinstance(name, str) else whole_number(fields.get("category_id", 0))
        category_ids.append(id if id in ids else None)
    return category_ids


def _note_category(entry, content, shared_classes, *, where, findings):
    """Refuses or leaves out an entry of a category that the annotations do not have."""
    field = "category_name" if isinstance(entry.get("category_name"), str) else "category_id"
    received = f"{field}={shown(entry.get(field))}"
    if shared_classes:
        findings.repair("entries of categories that the annotations do not have were left out", received)
        return
    expected = sorted(getattr(category, field[len("category_") :]) for category in content.categories)
    findings.refuse(
        f"`{field}` must be in the annotations, which have {shown(expected)} (or use --shared-classes)",
        f"{where} with {received}",
    )


def _ids_by_name(entries, images, findings):
    """Returns the id of the image with the file name of each entry, or None."""
    ids = _images_of_names(dict.fromkeys(entry["file_name"] for entry in entries), images)
    for name, image_ids in ids.items():
        if len(image_ids) > 1:
            findings.refuse(
                "`file_name` must belong to one image of the annotations",
                f"{shown(name)}, which could be image {', '.join(map(shown, image_ids))}",
            )
        elif not image_ids:
            kind = "files that the annotations do not have were left out with their detections"
            findings.repair(kind, shown(name))
    _check_one_file(entries, ids, findings)
    if not any(ids.values()):
        expected = ", ".join(shown(image["file_name"]) for image in images[:3])
        received = shown(entries[0]["file_name"])
        findings.refuse(f"`file_name` must be one of the annotations, such as {expected}", received)
    matches = (ids[entry["file_name"]] for entry in entries)
    return [image_ids[0] if len(image_ids) == 1 else None for image_ids in matches]


def _check_one_file(entries, ids, findings):
    """Refuses images of the annotations that several files of the results match.

    Args:
        entries: Entries with `file_name`.
        ids: {file name: list of the ids of matching images}.
        findings: `Findings`.
    """
    matched = {}  # `detect` gives files of the same name in several folders different ids
    for entry in entries:
        if len(ids[entry["file_name"]]) == 1:
            file = shown(entry["file_name"]), shown(entry.get("image_id"))
            matched.setdefault(ids[entry["file_name"]][0], {})[file] = None
    for id, files in matched.items():
        if len(files) > 1:
            listed = ", ".join(f"{name} (image_id={number})" for name, number in list(files)[:3])
            findings.refuse(
                "an image of the annotations must be one file", f"image {shown(id)}, which could be {listed}"
            )


def _images_of_names(names, images):
    """Returns {file name: ids of the images with this name, or else with the same end of the name}."""
    by_name, by_last = {}, {}
    for image in images:
        if isinstance(image["file_name"], str) and name_parts(image["file_name"]):
            parts = name_parts(image["file_name"])
            by_name.setdefault(image["file_name"], []).append(image["id"])
            by_last.setdefault(parts[-1], []).append((parts, image["id"]))
    return {name: by_name.get(name) or _matching_images(name, by_last) for name in names}


def _matching_images(name, by_last):
    """Returns the ids of the images whose name ends with the given name or is its end, the longest match."""
    parts = name_parts(name)
    candidates = by_last.get(parts[-1], []) if parts else []
    common = [(common_suffix(parts, image_parts), image_parts, id) for image_parts, id in candidates]
    matches = [(count, id) for count, image_parts, id in common if count == min(len(parts), len(image_parts))]
    longest = max((count for count, _ in matches), default=0)
    return [id for count, id in matches if count == longest]


def _entry(entry, ids, size, *, where, findings):
    """Returns a checked entry with the ids of its image and category. Problems are added as refusals."""
    score = number(entry.get("score"))
    checked: dict[str, Any] = {**ids, "score": score}
    if score is None or score is UNCLEAR:
        findings.refuse("`score` must be a finite number", f"{where} with score={shown(entry.get('score'))}")
    elif isinstance(entry["score"], str):
        findings.repair("`score` was text: it was read as a number", where)
    try:
        checked |= _geometry(entry, size, where=where, findings=findings)
    except ValueError as error:
        findings.refuse(str(error), where)
        return checked
    if len(checked) == 3:
        findings.refuse("an entry needs a `bbox`, a `segmentation` or `keypoints`", where)
    return checked


def _geometry(entry, size, *, where, findings):
    """Returns the `bbox`, `segmentation` and `keypoints` of an entry, as far as it has them."""
    box, mask, points = (entry.get(name) for name in ("bbox", "segmentation", "keypoints"))
    geometry = {}
    if box is not None:
        geometry["bbox"] = x, y, width, height = read_box(box, where, findings)
        if x > size[1] or y > size[0] or x + width < 0 or y + height < 0:
            findings.repair("a `bbox` lies outside of its image: are these the right annotations?", where)
    if mask is not None:
        if not isinstance(mask, dict):
            raise ValueError(
                "`segmentation` must be a run-length object of the whole image. "
                f"Received: {where} with segmentation={shown(mask)}. Encode the mask."
            )
        geometry["segmentation"] = compressed(read_run_lengths(mask, size, where=where, findings=findings)[0])
    if points is not None:
        geometry["keypoints"] = _points(points, where)
    return geometry


def _points(value, where):
    values = numbers(value) if isinstance(value, list) and not are_numbers(value) else value
    if not isinstance(values, list) or not values or len(values) % 3 or not are_numbers(values):
        raise ValueError(
            "`keypoints` must be a flat list x, y, score. "
            f"Received: {where} with keypoints={shown(value)}. Flatten it."
        )
    return values
