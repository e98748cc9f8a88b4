"""Compares a converted checkpoint that torch saved with torchvision on the same photographs.

It needs torchvision in a separate environment, MASK_RCNN_TORCH_PYTHON=/path/to/its/python, and `-m slow`.
"""

import os
import subprocess

import numpy as np
import pytest
from locations import HELPERS, PARITY

from mask_rcnn.cli.main import main
from mask_rcnn.data.image_io.images import read_image
from mask_rcnn.prediction import predict

IMAGES = ("000000000450", "000000000636", "000000519208")
XYXY = [1, 0, 3, 2]  # converts yxyx to xyxy
NEAR_THRESHOLD = 0.07  # lower scores may be above 0.05 for one of the models only


@pytest.fixture(scope="module")
def theirs(shared_data, tmp_path_factory):
    """torchvision's results, and its checkpoint, converted, in the same folder."""
    python = os.environ.get("MASK_RCNN_TORCH_PYTHON")
    if not python:
        pytest.skip("needs MASK_RCNN_TORCH_PYTHON, a Python with torchvision")
    folder = tmp_path_factory.mktemp("torchvision")
    weights = PARITY / "maskrcnn_resnet50_fpn.weights.npz"
    paths = [shared_data / "coco2017_permissive" / "images" / f"{name}.jpg" for name in IMAGES]
    program = [
        python,
        HELPERS / "torchvision_detections.py",
        weights,
        folder / "a.pth",
        folder / "found.npz",
        *paths,
    ]
    subprocess.run(program, check=True)
    name = "torchvision/maskrcnn_resnet50_fpn"
    with pytest.raises(SystemExit) as stop:
        main(["", "models", "convert", f"{folder}/a.pth", "--as", name, "--out", f"{folder}/a.weights.h5"])
    assert stop.value.code == 0
    with np.load(folder / "found.npz") as found:
        return folder, paths, dict(found)


@pytest.fixture(scope="module")
def predictor(theirs):
    return predict.load(theirs[0] / "a.weights.h5")


def pasted_box(box):
    """Returns the box that torchvision pastes a mask into: xyxy, enlarged by 30 / 28 and truncated."""
    center, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * (30 / 28)
    return tuple(np.trunc([*(center - half), *(center + half)]))


def pairs(ours, boxes, labels, scores):
    """Yields (ours, theirs, distance in pixels) for each detection and the nearest of the same class."""
    for index, (box, class_id, score) in enumerate(zip(ours.boxes, ours.class_ids, ours.scores, strict=True)):
        distance = np.abs(boxes - box[XYXY]).max(axis=1) + 1e6 * (labels != class_id)
        nearest = np.argmin(distance + np.abs(scores - score))
        yield index, nearest, distance[nearest]


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(IMAGES)))
def test_the_same_objects_are_found(theirs, predictor, number):
    _, paths, found = theirs
    image = read_image(paths[number])
    ours = predictor.predict(image)
    boxes, labels, scores = (found[f"{name}{number}"] for name in ("boxes", "labels", "scores"))
    masks = np.unpackbits(found[f"masks{number}"], axis=-1, count=image.shape[1]).astype(bool)
    assert len(scores) > 5
    assert abs(np.sum(ours.scores > NEAR_THRESHOLD) - np.sum(scores > NEAR_THRESHOLD)) <= 1
    moved, worst = 0, {"pixels": 0.0, "score": 0.0, "mask": 0.0}
    for index, nearest, distance in pairs(ours, boxes, labels, scores):
        if ours.scores[index] < NEAR_THRESHOLD:
            continue
        worst["pixels"] = max(worst["pixels"], distance)
        worst["score"] = max(worst["score"], abs(ours.scores[index] - scores[nearest]))
        if pasted_box(ours.boxes[index, XYXY]) != pasted_box(boxes[nearest]):
            moved += 1  # a corner is close to a whole pixel, so rounding moves the mask by one
            continue
        mask, expected = ours.full_mask(index), masks[nearest]
        differ = np.sum(mask != expected)
        worst["mask"] = max(worst["mask"], differ / np.sum(mask | expected) if differ > 8 else 0.0)
    print(
        image.shape[:2], f"{len(ours.scores)} ours, {len(scores)} theirs, {moved} moved by a pixel; {worst}"
    )
    assert worst["pixels"] <= 1.5 and worst["score"] <= 0.02 and worst["mask"] <= 0.04
    assert moved <= 0.05 * len(scores)
