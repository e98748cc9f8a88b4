"""Reader for COCO results files: predictions of any system, to correct them in an annotation tool.

A results file has one entry per object, with the ids of its image and class. The names and sizes of the
images and the names of the classes are in a COCO JSON of annotations.

`mask-rcnn detect --json` also writes `file_name` and `category_name`. With them, no COCO JSON is needed.
Images and classes without a detection are then missing in the result.
"""

from collections.abc import Sequence

import numpy as np
from pycocotools import mask as coco_mask

from mask_rcnn.data.findings import shown
from mask_rcnn.data.readers.coco_content import read_annotations
from mask_rcnn.data.readers.results import box_of, load_results, read_results
from mask_rcnn.formats.registry import READERS, Source


@READERS.register("coco_results")
def read_coco_results(source: Source) -> dict:
    """Reads masks, boxes and scores of a COCO results file, such as that of `mask-rcnn detect --json`."""
    entries, name, notes = load_results(source.path)
    source.notes.extend(notes)
    content = read_annotations(source.annotations or _named_content(entries, name, source))
    results = read_results(entries, content, name=name)
    source.notes.extend([*content.warnings, *results.warnings])
    annotations = []
    for number, entry in enumerate(results.entries, start=1):
        fields = _fields(entry, number, size=content.sizes[entry["image_id"]], source=source)
        if fields:
            annotations.append({"id": number, "iscrowd": 0, **fields})
            source.scores[number] = entry["score"]
    categories = [{"id": category.id, "name": category.name} for category in content.categories]
    return {"images": list(content.images), "categories": categories, "annotations": annotations}


def _named_content(entries: Sequence, name: str, source: Source) -> dict:
    """Returns the content of a COCO JSON with the images and classes that the entries name."""
    images, categories = {}, {}
    for number, entry in enumerate(entries):
        where = f"entry {number} of {name}"
        names = [
            entry.get(key) if isinstance(entry, dict) else None for key in ("file_name", "category_name")
        ]
        if not all(isinstance(each, str) for each in names):
            raise ValueError(
                "The names of images and classes are needed, which most results files do not contain. "
                f"Received: {where}, {shown(entry)}. Give a COCO JSON with `--annotations`."
            )
        if "frame" in entry:
            raise ValueError(
                "Expected predictions in image files. "
                f"Received: {where}, a frame of the video {shown(names[0])}. Detect in its frames as images."
            )
        if names[0] not in images:
            height, width = source.images.size(source.images.find(names[0], where))
            image = {"id": len(images) + 1, "file_name": names[0], "height": height, "width": width}
            images[names[0]] = image
        categories.setdefault(names[1], {"id": entry.get("category_id"), "name": names[1]})
    if not entries:
        raise ValueError(
            f"Expected at least one prediction. Received: {name}, an empty list. Give `--annotations`."
        )
    return {"images": list(images.values()), "categories": list(categories.values()), "annotations": []}


def _fields(entry: dict, number: int, *, size: tuple[int, int], source: Source) -> dict | None:
    """Returns the fields of the annotation of a prediction, or None if the prediction is left out.

    Args:
        entry: Checked entry of a results file.
        number: Number of the entry, for messages.
        size: (height, width) of its image.
        source: `Source`. What is left out is added to its findings.
    """
    where, repair = f"prediction {number}", source.findings.repair
    if entry["score"] < source.score_threshold:
        threshold = f"{source.score_threshold:g}"
        repair(f"predictions with scores below {threshold} were left out (`--score-threshold`)", where)
        return None
    if "keypoints" in entry:
        repair("keypoints of predictions were left out", where)
    mask = entry.get("segmentation")
    if mask and not coco_mask.area(mask):
        repair("masks of predictions without a pixel were left out: their boxes are kept", where)
        mask = None
    # If there is a mask, the box is that of the mask, because a person corrects the mask.
    x, y, width, height = coco_mask.toBbox(mask).tolist() if mask else box_of(entry)
    x1, x2 = np.clip((x, x + width), 0, size[1]).tolist()
    y1, y2 = np.clip((y, y + height), 0, size[0]).tolist()
    if x2 <= x1 or y2 <= y1:
        repair("predictions without a pixel in the image were left out", where)
        return None
    area = float(coco_mask.area(mask)) if mask else (x2 - x1) * (y2 - y1)
    ids = {"image_id": entry["image_id"], "category_id": entry["category_id"]}
    fields = {**ids, "bbox": [x1, y1, x2 - x1, y2 - y1], "area": area}
    return fields | ({"segmentation": mask} if mask else {})
