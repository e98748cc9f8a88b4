"""Tests of the report of keypoint results from the command line: OKS instead of IoU, and skeletons."""

import json

import cv2
import numpy as np
import pytest
from cli_fakes import run

from mask_rcnn.data.readers.results import box_of
from mask_rcnn.evaluation.coco_evaluation import iou_types_in, read_detections
from mask_rcnn.evaluation.coco_results import write_json
from mask_rcnn.report.analysis import RunDetections, analyze_run
from mask_rcnn.report.pictures import COLORS, Shapes, blank_image, draw_errors

HEIGHT, WIDTH = 64, 96
POINTS = np.array([[20, 10], [30, 20], [20, 35]])  # head, hand, foot; the box has 900 pixels
FAR = POINTS + [50, 5]


def flat(points, third):
    return [number for point in np.asarray(points).tolist() for number in (*point, third)]


def person(id, image_id, points):
    x, y = np.min(points, axis=0).tolist()
    known = {"keypoints": flat(points, 2), "num_keypoints": 3, "bbox": [x - 10, y - 3, 30, 30]}
    return {"id": id, "image_id": image_id, "category_id": 1, "area": 900, "iscrowd": 0, **known}


def found(image_id, points, score):
    return {"image_id": image_id, "category_id": 1, "keypoints": flat(points, 0.9), "score": score}


@pytest.fixture
def scene(tmp_path):
    """Returns two images with three persons: one detected, one nearly, one missed; and a false positive."""
    truth = {
        "images": [{"id": i, "file_name": f"{i}.png", "height": HEIGHT, "width": WIDTH} for i in (1, 2)],
        "categories": [
            {
                "id": 1,
                "name": "person",
                "keypoints": ["head", "hand", "foot"],
                "skeleton": [[1, 2], [2, 3]],
            }
        ],
        "annotations": [person(1, 1, POINTS), person(2, 1, FAR), person(3, 2, POINTS)],
    }
    # OKS of a shift: exp(-d^2 / (2 * 900 * (2 * 0.07)^2)), 0.64 for 4 pixels and 0.25 for 7.
    entries = [
        found(1, POINTS + [4, 0], 0.9),
        found(1, FAR + [0, 7], 0.8),
        found(2, POINTS + [45, 20], 0.7),
    ]
    write_json(tmp_path / "truth.json", truth)
    write_json(tmp_path / "found.json", entries)
    write_json(tmp_path / "better.json", [found(1, POINTS, 0.9), found(1, FAR, 0.8)])
    for i in (1, 2):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((HEIGHT, WIDTH, 3), 90, "uint8"))
    return tmp_path


def test_the_page_of_keypoint_results_speaks_of_oks(scene):
    words = ["--detections", scene / "found.json", "--annotations", scene / "truth.json"]
    words += ["--images", scene, "--compare", scene / "better.json", "--report", scene / "out"]
    assert run("evaluate", *words) == 0
    numbers = json.loads((scene / "out" / "report.json").read_text())
    assert list(numbers["evaluations"]) == ["keypoints"]
    one = numbers["evaluations"]["keypoints"]
    counts = {kind: each["count"] for kind, each in one["errors"]["errors"].items() if each["count"]}
    assert counts == {
        "localization": 1,
        "background": 1,
        "missed": 1,
        "false_positives": 2,
        "false_negatives": 2,
    }
    assert numbers["comparison"]["evaluations"]["keypoints"]["bootstrap"]["AP"]["difference"] > 0
    page = (scene / "out" / "index.html").read_text()
    assert "the OKS is from 0.1 to 0.5" in page and "Calibration, OKS 0.5" in page
    assert "mask" not in page.split("</style>")[1]
    assert page.count("IoU") == page.count("IoU of the boxes") + page.count("instead of the IoU")
    assert "is not shown" not in page


def test_skeletons_are_drawn_in_the_color_of_the_error(scene):
    entries, content, _ = read_detections(scene / "found.json", scene / "truth.json")
    run_ = RunDetections(
        name="found",
        content=content,
        entries=entries,
        image_ids=[1, 2],
        iou_types=iou_types_in(entries),
        max_detections=100,
    )
    analysis = analyze_run(run_)["keypoints"]
    shapes = Shapes(analysis.evaluation, content, entries, image_ids=[1, 2])
    drawn = draw_errors(
        blank_image((HEIGHT, WIDTH)),
        analysis.evaluation,
        analysis.point,
        kinds=analysis.kinds,
        image=0,
        shapes=shapes,
    )
    scale = drawn.shape[1] / WIDTH
    for (x, y), color in ((POINTS[0] + [4, 0], "found"), (FAR[1], "missed")):
        pixel = drawn[round((y + 0.5) * scale), round((x + 0.5) * scale)]
        np.testing.assert_allclose(pixel, COLORS[color], atol=25)


def test_keypoints_without_boxes_have_the_box_of_their_points():
    assert box_of(found(1, POINTS, 0.5)) == [20, 10, 10, 25]
    assert iou_types_in([found(1, POINTS, 0.5)]) == ("keypoints",)
    with_box = {**found(1, POINTS, 0.5), "bbox": [1, 2, 3, 4]}
    assert iou_types_in([with_box]) == ("bbox", "keypoints")
    assert box_of(with_box) == [1, 2, 3, 4]
    assert iou_types_in([]) == ("bbox",)
