"""Converts the detections of one image to and from labelme's JSON.

`mask-rcnn data convert` reads and writes folders of these files.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import logging
from pycocotools import mask as coco_mask

from mask_rcnn.evaluation.coco_results import from_coco, to_coco
from mask_rcnn.formats.coco_builder import annotation_fields
from mask_rcnn.formats.labelme import declared_size, group_shapes, labelme_content, read_object
from mask_rcnn.formats.registry import Source
from mask_rcnn.interop.classes import class_ids_of
from mask_rcnn.structures import Category, Detections, as_categories

NAME = "the labelme json"


def to_labelme(detections: Detections, categories: Sequence[Category | str], image_path: str | Path) -> dict:
    """Converts detections to the content of a labelme file.

    A mask becomes a shape of the type "mask" with exactly its pixels. When it is read again, the box is the
    bounding box of the mask. Detections without masks become rectangles. labelme has no fields for keypoints
    and attributes. They are left out with a warning.

    Args:
        detections: A `Detections` of N objects.
        categories: The K `Category` records, or names.
        image_path: Path of the image file, relative to the JSON file.

    Returns:
        Dict for `json.dump`.
    """
    categories = as_categories(categories, len(categories))
    lost = ["keypoints"] * (detections.keypoints is not None) + sorted(detections.attributes)
    if lost and len(detections):
        logging.warning(
            "labelme has no place for %s: left out of %d objects.", ", ".join(lost), len(detections)
        )
    names = {category.id: category.name for category in categories}
    entries = [_without_empty_mask(entry) for entry in to_coco(detections, 0, categories)]
    return labelme_content(str(image_path), detections.image_size, entries, names=names)


def _without_empty_mask(entry):
    """Removes the mask from an entry if the mask has no pixels, so that the box is written instead."""
    is_empty = entry.get("segmentation") and not coco_mask.area(entry["segmentation"])
    return {key: value for key, value in entry.items() if key != "segmentation"} if is_empty else entry


def from_labelme(content: dict, categories: Sequence[Category | str]) -> Detections:
    """Converts the content of a labelme file to `Detections`.

    Shapes with the same label and group are one object. Boxes are the bounding boxes of the shapes. Shapes
    without `score`, such as those drawn by a person, have score 1. Shapes that cannot be read are left out
    with a warning.

    Args:
        content: Dict, the content of the file.
        categories: The K `Category` records, or names.

    Raises:
        ValueError: If the size of the image is missing, or if a label is not one of the categories.
    """
    height, width = declared_size(content, NAME)
    if height is None or width is None:
        raise ValueError(
            f"Expected `imageHeight` and `imageWidth`. Received: {[height, width]}. "
            "Open and save the file in labelme."
        )
    size = (height, width)
    categories = as_categories(categories, len(categories))
    # Shapes are read without an image, so `images` is not used.
    source = Source(path=Path(NAME), images=None)  # pyright: ignore[reportArgumentType]
    entries = []
    for label, group in group_shapes(content, NAME):
        found_object = read_object(label, group, size=size, source=source)
        fields = found_object and annotation_fields(found_object, size, group[0][1], findings=source.findings)
        if fields is None:
            source.findings.repair("objects without a pixel in the image were left out", group[0][1])
            continue
        (class_id,) = class_ids_of([label], categories)
        scores = [shape["score"] for shape, _ in group if shape.get("score") is not None]
        category_id = categories[class_id - 1].id
        entries.append({**fields, "category_id": category_id, "score": min(scores, default=1.0)})
    for line in source.findings.lines():
        logging.warning("%s", line)
    return from_coco(entries, size, categories)
