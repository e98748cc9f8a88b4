"""Writes a repaired copy of a COCO json, with the repairs of the reader and of the checks."""

from pathlib import Path

import numpy as np

from mask_rcnn.data.annotation_table import table_of
from mask_rcnn.data.findings import Findings, shown
from mask_rcnn.data.image_io.images import read_header
from mask_rcnn.data.json_file import read_json
from mask_rcnn.data.json_values import identity, whole_number
from mask_rcnn.data.masks import full_mask
from mask_rcnn.data.readers.annotations import TOLERANCE, read_annotation
from mask_rcnn.data.readers.coco_entries import (
    EXPECTED,
    are_ids_unique,
    read_categories,
    read_images,
    read_references,
)
from mask_rcnn.data.readers.image_files import find_image_files
from mask_rcnn.data.segmentations import extent, pixel_area
from mask_rcnn.data_check.check import CheckedSet
from mask_rcnn.data_check.geometry import (
    MIN_REACH,
    areas_differ,
    clip_corners,
    duplicate_pairs,
    reach_outside,
)
from mask_rcnn.data_check.polygons import crossing_polygons, owners_of_polygons
from mask_rcnn.data_check.reader_findings import FOUND_ELSEWHERE
from mask_rcnn.evaluation.coco_results import write_json
from mask_rcnn.structures import encode_crop
from mask_rcnn.system.paths import AnyPath

# Fields that `read_annotation` returns. IF_KNOWN are only written if they have a value or are in the file.
ALWAYS, IF_KNOWN = ("id", "image_id", "category_id", "bbox", "area", "iscrowd"), ("segmentation", "keypoints")


def repair_coco(annotations_path: Path, images_dir: Path, out: AnyPath, *, checked: CheckedSet) -> list[str]:
    """Writes a repaired copy of a COCO json. All other fields of the json are kept.

    Args:
        annotations_path: Path of the json, which is not changed.
        images_dir: `Path` of its image folder.
        out: Path of the new file.
        checked: `CheckedSet` of the json.

    Returns:
        List of sentences, one for each kind of change, with counts and examples.

    Raises:
        ValueError: No image file can be used, or entries are unclear.
    """
    content, notes = read_json(annotations_path, EXPECTED)
    findings = Findings()
    known = read_images(content["images"], findings)
    images = _repaired_images(
        content["images"], known, images_dir=images_dir, checked=checked, findings=findings
    )
    if not images:
        raise ValueError(
            "A repaired copy needs at least one image whose file can be used. "
            f"Received: {annotations_path} with {len(known)} images and no such file in {images_dir}. "
            "Check the folder."
        )
    references, categories = _references(content, known, findings)
    pairs = _read_all(references, images, categories, findings=findings)
    findings.check(EXPECTED, str(annotations_path))
    annotations = [annotation for _, annotation in pairs]
    _replace_crossing_polygons(annotations, images, findings)
    for annotation in annotations:
        _fit_to_mask(annotation, _size(images[annotation["image_id"]]), findings)
    keep = _first_of_duplicates(annotations, images, findings)
    repaired = {
        **content,
        "images": list(images.values()),
        "categories": _repaired_categories(content["categories"], categories),
        "annotations": [_merged(*pairs[row]) for row in np.flatnonzero(keep).tolist()],
    }
    write_json(out, repaired)
    for kind in FOUND_ELSEWHERE:  # other sentences list how these were repaired
        findings.repairs.pop(kind, None)
    return [*notes, *findings.lines()]


def _size(image):
    return image["height"], image["width"]


def _repaired_images(entries, known, *, images_dir, checked, findings):
    """Returns `{id: entry}` of the images whose file can be used."""
    raw = {}
    for entry in entries:
        raw.setdefault(identity(entry["id"]), entry)
    records = {record.id: record for record in checked.dataset.images}
    bad = checked.bad_files()
    images = {}
    for id, path in find_image_files(known.values(), images_dir, findings).items():
        if id in bad:
            findings.repair("images whose file cannot be used were removed", shown(known[id]["file_name"]))
            continue
        size = records.get(id) or read_header(path, channels=checked.reading.channels)
        name = known[id]["file_name"]
        if isinstance(path, Path) and path != images_dir / name and path.is_relative_to(images_dir):
            name = path.relative_to(images_dir).as_posix()
        images[id] = {**raw[id], "id": id, "file_name": name, "height": size.height, "width": size.width}
    return images


def _references(content, known, findings):
    """Returns the annotations of declared images with unique whole ids, and the categories by id."""
    declared = {whole_number(entry.get("id")) for entry in content["categories"]}
    pairs = read_references(enumerate(content["annotations"]), known, declared, findings=findings)
    entries = [entry for _, entry in pairs]
    if not are_ids_unique([entry["id"] for entry in entries], findings):
        entries = [{**entry, "id": number} for number, entry in enumerate(entries, start=1)]
    used = {entry["category_id"] for entry in entries}
    return entries, read_categories(content["categories"], used, findings)


def _repaired_categories(entries, categories):
    raw = {}
    for entry in entries:
        raw.setdefault(whole_number(entry["id"]), entry)
    return [{**raw[id], "id": id, "name": category.name} for id, category in categories.items()]


def _read_all(references, images, categories, *, findings):
    """Returns pairs (entry, annotation from `read_annotation`) of the valid annotations."""
    pairs = []
    for entry in references:
        where = f"annotation {entry['id']}"
        if entry["image_id"] not in images:
            findings.repair("annotations of removed images were removed", where)
            continue
        size = _size(images[entry["image_id"]])
        try:
            annotation = read_annotation(entry, size, categories[entry["category_id"]], findings=findings)
        except ValueError as error:
            reason = str(error).partition(" Received: ")[0].removesuffix(".")
            findings.repair(f"invalid annotations were removed: {reason}", where)
            continue
        pairs.append((entry, annotation))
    return pairs


def _table(annotations, images):
    index = {id: number for number, id in enumerate(images)}
    return table_of(annotations, [index[annotation["image_id"]] for annotation in annotations])


def _replace_crossing_polygons(annotations, images, findings):
    """Replaces self-crossing polygons by run lengths of the mask that training uses, in-place."""
    table = _table(annotations, images)
    crossing, _ = crossing_polygons(table)
    for row in np.unique(owners_of_polygons(table)[crossing]).tolist():
        annotation = annotations[row]
        size = _size(images[annotation["image_id"]])
        mask = full_mask(annotation["segmentation"], *size)
        annotation["segmentation"] = encode_crop(mask, (0, 0), size) if mask.any() else None
        findings.repair(
            "polygons that cross themselves were written as run lengths", f"annotation {annotation['id']}"
        )


def _fit_to_mask(annotation, size, findings):
    """Fits box and area of an annotation to its image and its mask, in-place."""
    where = f"annotation {annotation['id']}"
    box, sizes = np.array([annotation["bbox"]], "float64"), np.array([size])
    corners = clip_corners(np.hstack([box[:, :2], box[:, :2] + box[:, 2:]]), sizes)
    if reach_outside(box, sizes)[0] > MIN_REACH:
        findings.repair("boxes that reached out of their image were clipped", where)
        annotation["bbox"] = _as_box(corners[0])
    if not annotation["segmentation"]:
        return
    bounds = clip_corners(np.array([extent(annotation["segmentation"])], "float64"), sizes)
    if (np.abs(bounds - corners) > TOLERANCE).any() and (bounds[:, 2:] > bounds[:, :2]).all():
        findings.repair("boxes that were not those of their masks were computed from the masks", where)
        annotation["bbox"] = _as_box(bounds[0])
    area = pixel_area(annotation["segmentation"], size)
    if (
        area
        and areas_differ(np.array([annotation["area"]]), np.array([area]), np.array([annotation["bbox"]]))[0]
    ):
        findings.repair("areas that were not those of their masks were computed from the masks", where)
        annotation["area"] = area


def _as_box(corners):
    x1, y1, x2, y2 = corners.tolist()
    return [x1, y1, x2 - x1, y2 - y1]


def _first_of_duplicates(annotations, images, findings):
    """Returns which annotations are not duplicates of an earlier one, `[N]` bool."""
    plain = [{**annotation, "segmentation": None, "keypoints": None} for annotation in annotations]
    _, later = duplicate_pairs(_table(plain, images))
    keep = np.ones(len(annotations), bool)
    keep[later] = False
    for row in np.flatnonzero(~keep).tolist():
        findings.repair(
            "objects that repeat another one were removed", f"annotation {annotations[row]['id']}"
        )
    return keep


def _merged(entry, annotation):
    """Returns an entry with the repaired values of `annotation`. Its other fields are kept."""
    merged = {**entry, **{name: annotation[name] for name in ALWAYS}}
    for name in IF_KNOWN:
        if annotation[name] or entry.get(name):
            merged[name] = annotation[name] or []
    if "num_keypoints" in entry or annotation["keypoints"]:
        merged["num_keypoints"] = annotation["num_keypoints"]
    return merged
