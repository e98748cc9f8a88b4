"""Small scenes for tests of the report: boxes and masks in images of 64 x 96 pixels, two classes."""

import contextlib
import copy
import io

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mask_rcnn.data.readers.coco_content import read_annotations
from mask_rcnn.report.analysis import RunDetections
from mask_rcnn.report.detection_matches import match_detections

HEIGHT, WIDTH = 64, 96
CAT, DOG = 3, 8  # category ids


def rle(box, size=(HEIGHT, WIDTH)):
    """Returns the RLE of a rectangle (x, y, width, height) of whole pixels."""
    mask = np.zeros(size, "uint8", order="F")
    x, y, width, height = box
    mask[y : y + height, x : x + width] = 1
    encoded = coco_mask.encode(mask)
    return {**encoded, "counts": encoded["counts"].decode()}


def truth(objects, num_images=1):
    """Returns COCO content.

    Args:
        objects: List of (box, category id), optionally with an image id (default 1) and a crowd flag (default
            0).
        num_images: Number of images.
    """
    annotations = []
    for number, (box, category, *rest) in enumerate(objects, start=1):
        image, crowd = (*rest, *(1, 0)[len(rest) :])
        annotations.append(
            {
                "id": number,
                "image_id": image,
                "category_id": category,
                "bbox": list(box),
                "area": box[2] * box[3],
                "segmentation": rle(box),
                "iscrowd": crowd,
            }
        )
    return {
        "images": [
            {"id": i, "height": HEIGHT, "width": WIDTH, "file_name": f"{i}.png"}
            for i in range(1, num_images + 1)
        ],
        "categories": [{"id": DOG, "name": "dog"}, {"id": CAT, "name": "cat"}],
        "annotations": annotations,
    }


def results(detections):
    """Returns COCO results entries from a list of (box, category id, score), optionally with an image id."""
    return [
        {
            "image_id": rest[0] if rest else 1,
            "category_id": category,
            "bbox": list(box),
            "score": score,
            "segmentation": rle(box),
        }
        for box, category, score, *rest in detections
    ]


def evaluate(annotations, entries, iou_type="bbox", max_detections=100):
    """Returns the `DetectionMatches` of COCO content and results entries."""
    content = read_annotations(annotations)
    ids = [image["id"] for image in content.images]
    return match_detections(content, entries, ids, iou_type=iou_type, max_detections=max_detections)


def scene(objects, detections, iou_type="bbox"):
    """Returns the `DetectionMatches` of a scene."""
    images = [each[2] for each in objects if len(each) > 2] + [
        each[3] for each in detections if len(each) > 3
    ]
    return evaluate(truth(objects, max([1, *images])), results(detections), iou_type)


def detected(annotations, entries, name="results.json", iou_types=("bbox", "segm")):
    """Returns the `RunDetections` of COCO content and results entries."""
    content = read_annotations(annotations)
    return RunDetections(
        name=name,
        content=content,
        entries=tuple(entries),
        image_ids=[image["id"] for image in content.images],
        iou_types=iou_types,
        max_detections=100,
    )


def random_scene(seed, num_images=4, num_objects=24):
    """Returns COCO content with crowd regions, and entries with equal scores and all kinds of errors."""
    random = np.random.default_rng(seed)
    objects, detections = [], []
    for _ in range(num_objects):
        box = [int(random.integers(0, 70)), int(random.integers(0, 40)), *random.integers(4, 24, 2).tolist()]
        category = int(random.choice([CAT, DOG]))
        image = int(random.integers(1, num_images + 1))
        objects.append((box, category, image, int(random.random() < 0.1)))
        for _ in range(random.integers(0, 4)):
            shift = random.integers(-3, 4, 2) * random.integers(0, 3)
            moved = [max(box[0] + int(shift[0]), 0), max(box[1] + int(shift[1]), 0), *box[2:]]
            other = int(random.choice([category, category, CAT, DOG]))
            detections.append((moved, other, round(float(random.random()), 1), image))
    return truth(objects, num_images), results(detections)


def coco_eval(annotations, entries, iou_type="bbox", evaluator=COCOeval):
    """Returns the evaluation of pycocotools."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = copy.deepcopy(annotations)
        coco.createIndex()
        found = copy.deepcopy(entries)
        if iou_type == "segm":  # pycocotools would use the area of the box
            found = [{name: value for name, value in each.items() if name != "bbox"} for each in found]
        else:
            found = [
                {name: value for name, value in each.items() if name != "segmentation"} for each in found
            ]
        evaluation = evaluator(coco, coco.loadRes(found), iou_type)
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation
