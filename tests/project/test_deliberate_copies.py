"""Compares algorithms that exist twice on purpose, and checks docs/deliberate_copies.md, which lists them.

Most pairs are compared in the tests of their modules. Here are those that no other file compares.
"""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from locations import ROOT, TESTS
from PIL import Image

from mask_rcnn import client
from mask_rcnn.data_check.anchor_fit import anchor_ious
from mask_rcnn.data_check.geometry import box_iou
from mask_rcnn.export.checks import compare
from mask_rcnn.export.image_graph import geometry
from mask_rcnn.export.image_graph import keypoints as graph_keypoints
from mask_rcnn.export.runners import lite_runner, outputs
from mask_rcnn.ops import anchors
from mask_rcnn.ops import boxes as box_ops
from mask_rcnn.postprocessing.paste import METHODS
from mask_rcnn.structures import smallest_crop

PAGE = ROOT / "docs/deliberate_copies.md"
NAME = re.compile(r"`mask_rcnn\.([\w.]+)`")
SCRIPT = re.compile(r"`export/(\w+/\w+\.\w+)`")
TEST = re.compile(r"`([\w/]+(?:\.test)?\.(?:py|js))`")


def random_boxes(rng, count):
    """Returns `[count, 4]` float32, yxyx; the last one is empty."""
    boxes = np.sort(rng.uniform(0, 60, [count, 2, 2]).astype("float32"), axis=1).reshape(count, 4)
    boxes[-1] = [5, 7, 5, 7]
    return boxes


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
def test_the_client_crops_a_mask_as_the_library_does(share):
    mask = np.zeros((9, 12), bool)
    mask[2:7, 3:11] = np.random.default_rng(0).uniform(size=(5, 8)) < share
    crop, origin = client._crop(mask)
    expected, expected_origin = smallest_crop(mask)
    assert origin == tuple(expected_origin)
    np.testing.assert_array_equal(crop, expected)


@pytest.mark.parametrize("score", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("paste", METHODS)
def test_the_client_reads_predictions_as_the_library_does(paste, score):
    rng, size = np.random.default_rng(0), (40, 50)
    found = {
        "detection_boxes": random_boxes(rng, 4) / 60,
        "detection_scores": np.array([0.9, 0.7, 0.5, 0], "float32"),
        "detection_classes": np.array([2, 1, 2, 0], "float32"),
        "detection_masks": rng.uniform(size=[4, 14, 14]).astype("float32"),
        "detection_keypoints": rng.uniform(size=[4, 3, 2]).astype("float32"),
        "detection_keypoint_scores": rng.uniform(size=[4, 3]).astype("float32"),
        "num_detections": np.float32(3),  # the last row is padding
    }
    row = {name: values.tolist() for name, values in found.items()}
    row["image_info"] = [list(size), [80, 100], [2, 2], [0, 0]]
    actual = client._from_prediction(row, score, paste)
    expected = outputs.to_detections(found, size, paste=paste, score_threshold=score)
    assert len(actual) == len(expected) == {0.0: 3, 0.5: 3, 1.0: 0}[score]
    assert actual.image_size == expected.image_size
    for name in ("boxes", "scores", "class_ids", "keypoints"):
        np.testing.assert_array_equal(getattr(actual, name), getattr(expected, name))
    for index in range(len(actual)):
        np.testing.assert_array_equal(actual.mask(index), expected.full_mask(index))


def test_the_client_reads_a_prediction_without_objects():
    row = {name: [] for name in ("boxes", "scores", "classes", "masks", "keypoints", "keypoint_scores")}
    row = {f"detection_{name}": values for name, values in row.items()}
    found = client._from_prediction(
        {**row, "num_detections": 0, "image_info": [[40, 50]]}, 0.0, "pixel_centers"
    )
    assert len(found) == 0 and found.crops == () and found.keypoints.shape == (0, 0, 3)


def test_the_client_writes_png_files_that_pillow_reads():
    image = np.random.default_rng(0).integers(0, 256, [5, 7, 3]).astype("uint8")
    np.testing.assert_array_equal(Image.open(io.BytesIO(client.encode_png(image))), image)


def test_ious_without_tensorflow_are_those_of_the_graph():
    rng = np.random.default_rng(0)
    boxes, others = random_boxes(rng, 20), random_boxes(rng, 30)
    expected = np.array(box_ops.iou(boxes, others))
    assert expected.any() and not expected[-1].any()
    np.testing.assert_allclose(compare._iou(boxes, others), expected, atol=1e-6)
    xyxy, other_xyxy = boxes[:, [1, 0, 3, 2]], others[:, [1, 0, 3, 2]]
    np.testing.assert_allclose(box_iou(xyxy[:, None], other_xyxy[None]), expected, atol=1e-6)


def test_ious_with_anchors_are_those_of_the_graph():
    boxes, ratios, stride = np.array([[7.0, 9, 30, 41], [20, 3, 28, 50]]), (0.5, 1.0), 8
    placed = anchors.grid_anchors((8, 8), (stride, stride), anchors.base_anchors(16, ratios))
    ious = np.array(box_ops.iou(boxes.astype("float32"), placed)).reshape(2, 8, 8, len(ratios))
    rows, columns = np.round((boxes[:, :2] + boxes[:, 2:]) / 2 / stride).astype(int).T
    found = anchor_ious(boxes, sizes=(16,), ratios=ratios, strides=(stride,))
    np.testing.assert_allclose(found[:, 0], ious[np.arange(2), rows, columns], atol=1e-6)


@pytest.mark.parametrize("half_pixel", [True, False])
def test_the_runner_moves_keypoints_to_the_image_as_a_saved_model_does(half_pixel):
    rng, image = np.random.default_rng(0), np.zeros([50, 100, 3], "uint8")
    boxes = np.array([[0.1, 0.2, 0.7, 0.9], [0.3, 0.3, 0.5, 0.5]], "float32")
    heatmaps = rng.normal(size=[2, 12, 12, 3]).astype("float32")
    found = {
        "detection_boxes": boxes[None],
        "num_detections": np.array([2], "float32"),
        "detection_keypoint_heatmaps": heatmaps[None],
    }
    runner = lite_runner.Runner.__new__(lite_runner.Runner)
    runner.metadata = {"size": [64, 96], "resize": "bilinear", "size_rounding": "round", "centered": False}
    runner.metadata |= {"inclusive_boxes": False, "half_pixel": half_pixel}
    runner._run = lambda inputs: dict(found)
    actual = runner(image)
    frame = geometry.Frame(*(np.array(size, "int32") for size in ((50, 100), (48, 96), (64, 96), (0, 0))))
    in_frame = graph_keypoints.decode_keypoints(heatmaps, boxes * np.float32([48, 96, 48, 96]))
    expected = geometry.invert_keypoints(in_frame, frame, half_pixel).numpy()
    np.testing.assert_allclose(actual["detection_keypoints"], expected[..., :2], atol=1e-5)
    np.testing.assert_allclose(actual["detection_keypoint_scores"], expected[..., 2], rtol=1e-4)


def rows():
    """Returns the cells of each row of the page's table: algorithm, versions, reason, test."""
    _, table = PAGE.read_text(encoding="utf-8").split("| --- | --- | --- | --- |\n")
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def is_defined(name):
    """Returns whether a dotted name below `mask_rcnn` is a module, or a function, class or method in one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        path = ROOT / "mask_rcnn" / "/".join(parts[:length])
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if file.is_file():
            text = file.read_text(encoding="utf-8")
            return all(
                re.search(rf"^ *(?:def|class) {part}\b", text, re.MULTILINE) for part in parts[length:]
            )
    return False


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_a_row_of_the_page_names_versions_and_tests_that_exist(row):
    _, versions, reason, tests = row
    names, scripts, test_names = NAME.findall(versions), SCRIPT.findall(versions), TEST.findall(tests)
    assert reason and test_names
    assert not [name for name in names if not is_defined(name)]
    assert not [name for name in scripts if not (ROOT / "export" / name).is_file()]
    assert len(names) + len(scripts) == versions.count("`") // 2
    assert not [name for name in test_names if not (TESTS / name).is_file()]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_the_tests_of_a_row_import_its_versions(row):
    text = "\n".join((TESTS / name).read_text(encoding="utf-8") for name in TEST.findall(row[3]))
    for name in NAME.findall(row[1]):
        module, _, function = name.rpartition(".")
        assert function in text or module.rpartition(".")[2] in text, name
    for script in SCRIPT.findall(row[1]):
        assert Path(script).name in text or Path(script).stem in text, script


def test_a_name_that_does_not_exist_is_found():
    assert is_defined("ops.boxes.iou") and is_defined("client.Client.predict") and is_defined("ops")
    assert not is_defined("ops.boxes.no_such_function") and not is_defined("no_such_module")
