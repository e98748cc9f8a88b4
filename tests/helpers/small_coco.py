"""A small data set with every kind of annotation: polygons, RLE, crowds and keypoints."""

import json

import cv2
import numpy as np
from PIL import Image

from mask_rcnn.data.readers.coco import read_coco

NAMES = ("nose", "left_eye", "right_eye")
FLIP_PAIRS = ("left_eye:right_eye",)
SIZES = ((48, 64), (64, 48), (48, 72), (40, 90), (64, 48), (50, 64))


def read_small_coco(folder):
    """Writes the data set to a folder and returns its `Dataset`."""
    images, annotations = [], []
    for index, size in enumerate(SIZES):
        random = np.random.default_rng([7, index])
        coarse = random.integers(0, 256, (6, 8, 3), dtype="uint8")
        pixels = np.kron(coarse, np.ones((12, 12, 1), "uint8"))[: size[0], : size[1]]
        pixels = np.pad(pixels, [(0, size[0] - len(pixels)), (0, size[1] - pixels.shape[1]), (0, 0)], "wrap")
        Image.fromarray(pixels).save(folder / f"{index}.png")
        images.append({"id": index, "file_name": f"{index}.png", "height": size[0], "width": size[1]})
        for number in range(5):
            annotations.append(_annotation(len(annotations) + 1, index, number, size, random))
    category = {"id": 1, "name": "person", "keypoints": list(NAMES)}
    content = {"images": images, "annotations": annotations, "categories": [category]}
    (folder / "instances.json").write_text(json.dumps(content))
    return read_coco(folder / "instances.json", folder)


def _annotation(id, image_id, number, size, random):
    """Returns an annotation: polygons for numbers 0 and 2, RLE for 1 and 3, and a crowd region for 4."""
    height, width = size
    side = float(random.uniform(8, 20))
    y, x = random.uniform(0, height - side), random.uniform(0, width - side)
    angles = np.sort(random.uniform(0, 2 * np.pi, 7))
    radius = random.uniform(0.25, 0.5, 7) * side
    points = np.stack([x + side / 2 + radius * np.cos(angles), y + side / 2 + radius * np.sin(angles)], -1)
    keypoints = [int(x + 2), int(y + 3), 2, int(x + 6), int(y + 5), 1, 0, 0, 0]
    segmentation = [points.round(2).ravel().tolist()]
    (x1, y1), (x2, y2) = points.min(0).round(2), points.max(0).round(2)
    box = [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)]
    if number % 2 or number == 4:
        mask = np.zeros(size, "uint8")
        cv2.fillPoly(mask, [points.round().astype("int32")], 1)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = [columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]]
        flat = np.concatenate([[0], mask.T.ravel(), [2]])
        edges = np.flatnonzero(np.diff(flat))
        runs = np.diff(np.concatenate([[0], edges]))
        segmentation = {"size": list(size), "counts": runs.tolist()}
    return {
        "id": id,
        "image_id": image_id,
        "category_id": 1,
        "bbox": [float(each) for each in box],
        "area": float(box[2] * box[3]) * 0.7,
        "iscrowd": int(number == 4),
        "segmentation": segmentation,
        **({} if number == 4 else {"keypoints": keypoints, "num_keypoints": 2}),
    }
