"""COCO results: predictions of any system, to be corrected in an annotation tool.

A results file has one entry for each object, with the ids of image and class. Names and sizes of images and
names of classes are in a COCO json. `mask-rcnn detect --json` writes `file_name` and `category_name` as
well, which are enough without a COCO json: images and classes without a detection are then unknown.
"""

import numpy as np
from pycocotools import mask as coco_mask

from mask_rcnn.data.coco_content import read_annotations
from mask_rcnn.data.findings import shown
from mask_rcnn.data.results import box_of, load_results, read_results
from mask_rcnn.formats.registry import READERS


@READERS.register("coco_results")
def read_coco_results(source):
    """Reads COCO results, such as those of `mask-rcnn detect --json`; masks and boxes with their scores."""
    entries, name, notes = load_results(source.path)
    source.notes.extend(notes)
    content = read_annotations(source.annotations or _declared(entries, name, source))
    results = read_results(entries, content, name=name)
    source.notes.extend([*content.warnings, *results.warnings])
    annotations = []
    for number, entry in enumerate(results.entries, start=1):
        fields = _fields(entry, number, content.sizes[entry["image_id"]], source)
        if fields:
            annotations.append({"id": number, "iscrowd": 0, **fields})
            source.scores[number] = entry["score"]
    categories = [{"id": category.id, "name": category.name} for category in content.categories]
    return {"images": list(content.images), "categories": categories, "annotations": annotations}


def _declared(entries, name, source):
    """Returns the content of a COCO json with the images and classes that the results name, no annotation."""
    images, categories = {}, {}
    for number, entry in enumerate(entries):
        where = f"entry {number} of {name}"
        names = [
            entry.get(key) if isinstance(entry, dict) else None for key in ("file_name", "category_name")
        ]
        if not all(isinstance(each, str) for each in names):
            raise ValueError(
                "Results have ids of images and classes; a COCO json has their names. "
                f"Received: {where}, {shown(entry)}. Give the json with `--annotations`."
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


def _fields(entry, number, size, source):
    """Returns what an annotation has of a prediction, or None if it is left out.

    Args:
        entry: Checked entry of a results file.
        number: Number of the entry, for messages.
        size: (height, width) of its image.
        source: `Source`; its findings are added to.
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
    # A box that a person corrects is that of the mask.
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
