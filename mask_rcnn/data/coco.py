"""Reads any COCO instances json, and says early and clearly what is wrong with it.

A file that cannot be understood is an error. An image that cannot be used, for its file or for one of its
annotations, is left out with a report as long as such images are few: a bad one of ten thousand should not
stop a run, and dropping only the annotation would teach the network that the object is background.
"""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from absl import logging

from mask_rcnn.data.images import check_complete, read_header
from mask_rcnn.data.keypoints import read_category, read_keypoints
from mask_rcnn.data.masks import run_lengths
from mask_rcnn.data.records import Annotation, Dataset, ImageRecord

READERS = 16  # threads that look at image files; they mostly wait for the disk
MAX_LISTED = 20  # lines of an error or a report

FIELDS = {
    "images": {"id": int, "file_name": str, "height": int, "width": int},
    "categories": {"id": int, "name": str},
    "annotations": {"id": int, "image_id": int, "category_id": int, "bbox": list},
}


def read_coco(annotations_path, images_dir, max_bad_images=0.01):
    """Reads a COCO instances json and looks at every image file it names.

    Args:
        annotations_path: the json file.
        images_dir: the folder that its `file_name`s are relative to.
        max_bad_images: fraction of the images that may be left out, with one report, because the file is
            missing, cut off or of another size, or because an annotation makes no sense. More is an error.

    Returns:
        A `Dataset`; its class ids 1..K are the category ids in ascending order.
    """
    annotations_path, images_dir = Path(annotations_path), Path(images_dir)
    content = _load(annotations_path)
    if not images_dir.is_dir():
        raise FileNotFoundError(
            f"Expected the folder of the images. Received: images_dir={str(images_dir)!r}. Check the path."
        )
    entries = sorted(content["categories"], key=lambda category: category["id"])
    categories = tuple(map(read_category, entries))
    classes = {category.id: (class_id, category) for class_id, category in enumerate(categories, start=1)}
    by_image = _annotations_by_image(content, classes, annotations_path)

    records, bad = _read_images(content["images"], by_image, images_dir, classes)
    _report(bad, len(content["images"]), max_bad_images, annotations_path)
    return Dataset(
        name=annotations_path.stem,
        categories=categories,
        images=tuple(records),
        warnings=tuple(bad),
    )


def _load(path):
    """Parses the json and checks that it has COCO's lists, fields and unique ids."""
    if not path.is_file():
        raise FileNotFoundError(
            f"Expected a COCO json. Received: annotations_path={str(path)!r}. Check the path."
        )
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(
            f"Expected a COCO json. Received: {path}, which is no json ({error}). Was it copied to its end?"
        ) from error
    for name, fields in FIELDS.items():
        entries = content.get(name) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise ValueError(
                "Expected a COCO instances json: an object with the lists "
                f"`images`, `annotations` and `categories`. Received: {path} without a list `{name}`. "
                "Results files and other formats must be converted first."
            )
        _check_fields(entries, name, fields, path)
    if not content["images"] or not content["categories"]:
        raise ValueError(
            f"Expected at least one image and one category. Received: {path} with {len(content['images'])} "
            f"images and {len(content['categories'])} categories. Is it the right file?"
        )
    return content


def _check_fields(entries, name, fields, path):
    ids = set()
    for index, entry in enumerate(entries):
        for field, kind in fields.items():
            value = entry.get(field) if isinstance(entry, dict) else None
            if not isinstance(value, kind):
                raise ValueError(
                    f"Each entry of `{name}` needs a field `{field}` of type {kind.__name__}. "
                    f"Received: {path}, {name}[{index}] = {str(entry)[:200]}. Correct this entry."
                )
        if entry["id"] in ids:
            raise ValueError(
                f"The ids in `{name}` must be unique. Received: {path}, id={entry['id']} twice. "
                "Number the entries anew."
            )
        ids.add(entry["id"])


def _annotations_by_image(content, classes, path):
    """Groups the annotations by image id; every id that they use must be declared."""
    by_image = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        for field, declared, where in (
            ("image_id", by_image, "images"),
            ("category_id", classes, "categories"),
        ):
            if annotation[field] not in declared:
                raise ValueError(
                    f"Every `{field}` must be declared in `{where}`. Received: {path}, annotation "
                    f"{annotation['id']} with {field}={annotation[field]}. "
                    f"Declare it, or remove the annotation."
                )
        by_image[annotation["image_id"]].append(annotation)
    return by_image


def _read_images(entries, by_image, images_dir, classes):
    """Returns the `ImageRecord`s that can be used, and a sentence about each of the others."""
    paths = [images_dir / entry["file_name"] for entry in entries]
    records, bad = [], []
    with ThreadPoolExecutor(READERS) as pool:
        headers = [pool.submit(_read_complete_header, path) for path in paths]
        for entry, path, header in zip(entries, paths, headers, strict=True):
            try:
                records.append(_image_record(entry, path, header.result(), by_image[entry["id"]], classes))
            except (ValueError, FileNotFoundError) as error:
                bad.append(f"image {entry['id']} ({entry['file_name']}): {error}")
    return records, bad


def _read_complete_header(path):
    header = read_header(path)
    check_complete(path, header)
    return header


def _image_record(entry, path, header, annotations, classes):
    if (header.height, header.width) != (entry["height"], entry["width"]):
        raise ValueError(
            "The json must declare the size of the file. "
            f"Received: height={entry['height']}, width={entry['width']} in the json, "
            f"{header} in the file (EXIF orientation applied). "
            "Use the image that was annotated."
        )
    return ImageRecord(
        id=entry["id"],
        path=path,
        height=header.height,
        width=header.width,
        annotations=tuple(
            _annotation(annotation, header.height, header.width, classes) for annotation in annotations
        ),
        bits=header.bits,
    )


def _annotation(entry, height, width, classes):
    class_id, category = classes[entry["category_id"]]
    box = _yxyx_box(entry, height, width)
    segmentation = entry.get("segmentation") or None
    if isinstance(segmentation, list):
        _check_polygons(entry["id"], segmentation)
    elif isinstance(segmentation, dict):
        _check_run_lengths(entry["id"], segmentation, height, width)
    elif segmentation is not None:
        raise ValueError(
            "`segmentation` must be a list of polygons or a run-length object. "
            f"Received: annotation {entry['id']} with segmentation={str(segmentation)[:100]}. "
            "Convert the mask."
        )
    return Annotation(
        id=entry["id"],
        class_id=class_id,
        box=box,
        area=float(entry.get("area") or (box[2] - box[0]) * (box[3] - box[1])),
        crowd=bool(entry.get("iscrowd", 0)),
        segmentation=segmentation,
        keypoints=read_keypoints(entry, category),
    )


def _yxyx_box(entry, height, width):
    """Turns COCO's (x, y, width, height) to yxyx, clipped to the image."""
    bbox = entry["bbox"]
    if len(bbox) == 4 and all(isinstance(value, int | float) and math.isfinite(value) for value in bbox):
        x, y, box_width, box_height = bbox
        y1, x1 = max(float(y), 0.0), max(float(x), 0.0)
        y2, x2 = min(float(y + box_height), float(height)), min(float(x + box_width), float(width))
        if y2 > y1 and x2 > x1:
            return y1, x1, y2, x2
    raise ValueError(
        "`bbox` must be [x, y, width, height] in pixels, not empty and not outside of the image. "
        f"Received: annotation {entry['id']} with bbox={bbox} in an image of height={height}, width={width}. "
        "Correct or remove the annotation."
    )


def _check_polygons(annotation_id, polygons):
    for polygon in polygons:
        is_flat = isinstance(polygon, list) and all(isinstance(value, int | float) for value in polygon)
        if not is_flat or len(polygon) < 6 or len(polygon) % 2 or not np.isfinite(polygon).all():
            raise ValueError(
                "A polygon is a list [x, y, x, y, ...] of at least three points. "
                f"Received: annotation {annotation_id} with polygon={str(polygon)[:100]}. "
                "Correct or remove the annotation."
            )


def _check_run_lengths(annotation_id, rle, height, width):
    size, counts = rle.get("size"), rle.get("counts")
    if list(size or ()) != [height, width] or not isinstance(counts, str | list):
        raise ValueError(
            "A run-length mask needs `counts` and the `size` of its image. "
            f"Received: annotation {annotation_id} with size={size} in an image of height={height}, "
            f"width={width}. Make the mask anew."
        )
    runs = run_lengths(counts)
    if runs.sum() != height * width or (runs < 0).any():
        raise ValueError(
            f"Run lengths must sum to the pixels of the image, {height * width}. "
            f"Received: annotation {annotation_id} with a sum of {runs.sum()}. Make the mask anew."
        )


def _report(bad, num_images, max_bad_images, path):
    """Raises if too many images are bad, else logs them in one message."""
    lines = [*bad[:MAX_LISTED], *([f"... and {len(bad) - MAX_LISTED} more"] if len(bad) > MAX_LISTED else [])]
    listing = "\n  ".join(lines)
    if len(bad) == num_images or len(bad) > max_bad_images * num_images:
        raise ValueError(
            f"Expected at most {max_bad_images:.1%} of the images to be unusable. "
            f"Received: {path} with {len(bad)} of {num_images}:\n  {listing}\n"
            "Correct them, or allow more with `data.max_bad_images`."
        )
    if bad:
        logging.warning("%s: %d of %d images are left out:\n  %s", path, len(bad), num_images, listing)
