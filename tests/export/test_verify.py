"""Tests of the comparison of an export with the Keras model, and that a failed export replaces nothing."""

import dataclasses
import json
import math
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from mask_rcnn.config import Config
from mask_rcnn.export import formats
from mask_rcnn.export.checked_export import export_checked
from mask_rcnn.export.checks import verify
from mask_rcnn.export.checks.compare import DIFFERENCES, EXACT, HALF, compare, match_detections
from mask_rcnn.export.checks.confidence_bounds import Z, estimate_fraction, images_needed
from mask_rcnn.export.export_model import Options, export_model
from mask_rcnn.export.runners.outputs import to_detections
from mask_rcnn.export.writers.assets import read_assets, write_assets
from mask_rcnn.structures import Category
from mask_rcnn.weights import save_weights

IMAGE = np.zeros([100, 200, 3], "uint8")

# One object of class 2, and one padding row. The image is 100 x 200 pixels, and the box 10, 20, 50, 100.
OUTPUTS = {
    "detection_boxes": np.array([[0.1, 0.1, 0.5, 0.5], [0, 0, 0, 0]], "float32"),
    "detection_scores": np.array([0.9, 0], "float32"),
    "detection_classes": np.array([2, 0], "float32"),
    "detection_masks": np.stack([np.full([28, 28], 0.8, "float32"), np.zeros([28, 28], "float32")]),
    "num_detections": np.float32(1),
}


def changed(**outputs):
    return {**OUTPUTS, **{name: np.asarray(value, "float32") for name, value in outputs.items()}}


def test_equal_outputs_differ_by_nothing():
    compared = compare(OUTPUTS, OUTPUTS, image_size=(100, 200), tolerance=EXACT)
    assert (compared["expected"], compared["found"], compared["matched"]) == (1, 1, 1)
    for name in ("missing", "added", *DIFFERENCES):
        assert compared[name] == 0, name


def test_boxes_differ_by_pixels_of_the_image():
    # A shift by 0.01 of 200 pixels in x.
    found = changed(detection_boxes=[[0.1, 0.11, 0.5, 0.5], [0, 0, 0, 0]])
    assert compare(OUTPUTS, found, image_size=(100, 200), tolerance=EXACT)["boxes"] == pytest.approx(2)


def test_masks_differ_by_their_largest_probability_and_their_outlines():
    masks = OUTPUTS["detection_masks"].copy()
    masks[0, 0, :14] = 0.3  # 14 of 784 cells leave the mask
    compared = compare(OUTPUTS, changed(detection_masks=masks), image_size=(100, 200), tolerance=EXACT)
    assert compared["masks"] == pytest.approx(0.5)
    assert compared["outlines"] == pytest.approx(14 / 784)


def test_outputs_of_registered_heads_are_compared():
    expected, shift = changed(detection_fill=[0.5, 0]), changed(detection_fill=[0.7, 0])
    assert compare(expected, expected, image_size=(100, 200), tolerance=EXACT)["attributes"] == 0
    compared = compare(expected, shift, image_size=(100, 200), tolerance=EXACT)
    assert compared["attributes"] == pytest.approx(0.2) and compared["moved"] == 1
    large = (changed(detection_fill=[[1, 1000], [0, 0]]), changed(detection_fill=[[1, 1100], [0, 0]]))
    assert compare(*large, image_size=(100, 200), tolerance=HALF)["attributes"] == pytest.approx(0.1)
    assert compare(expected, OUTPUTS, image_size=(100, 200), tolerance=EXACT)["attributes"] == np.inf
    nothing = {**shift, "num_detections": np.float32(0)}
    assert compare(expected, nothing, image_size=(100, 200), tolerance=EXACT)["attributes"] == 0
    lost = changed(detection_fill=[np.nan, 0])
    assert compare(expected, lost, image_size=(100, 200), tolerance=EXACT)["moved"] == 1


def test_what_only_one_side_has_is_counted_if_it_is_sure():
    nothing = {**OUTPUTS, "num_detections": np.float32(0)}
    assert compare(OUTPUTS, nothing, image_size=(100, 200), tolerance=EXACT)["missing"] == 1
    assert compare(nothing, OUTPUTS, image_size=(100, 200), tolerance=EXACT)["added"] == 1
    unsure = changed(detection_scores=[0.2, 0])
    assert compare(unsure, nothing, image_size=(100, 200), tolerance=EXACT)["missing"] == 0


def test_another_class_is_another_detection():
    compared = compare(OUTPUTS, changed(detection_classes=[1, 0]), image_size=(100, 200), tolerance=EXACT)
    assert (compared["matched"], compared["missing"], compared["added"]) == (0, 1, 1)


def test_unsure_detections_can_be_left_out_of_the_comparison():
    unsure = changed(detection_scores=[0.2, 0])
    assert (
        compare(unsure, changed(detection_scores=[0.25, 0]), image_size=(100, 200), tolerance=HALF)["matched"]
        == 0
    )


def test_what_differs_by_more_than_the_tolerance_has_moved():
    assert (
        compare(OUTPUTS, changed(detection_scores=[0.85, 0]), image_size=(100, 200), tolerance=HALF)["moved"]
        == 0
    )
    assert (
        compare(OUTPUTS, changed(detection_scores=[0.75, 0]), image_size=(100, 200), tolerance=HALF)["moved"]
        == 1
    )
    assert (
        compare(OUTPUTS, changed(detection_scores=[np.nan, 0]), image_size=(100, 200), tolerance=HALF)[
            "moved"
        ]
        == 1
    )


WORST = {
    "expected": 20,
    "matched": 20,
    "moved": 1,
    "missing": 0,
    "added": 0,
    **dict.fromkeys(DIFFERENCES, 0.0),
}


def judged(counts, tolerance, each=5):
    """Returns the problems and doubts for `counts` mismatches in images with `each` detections."""
    mismatches = estimate_fraction(counts, [each] * len(counts))
    worst = {**WORST, **dict.fromkeys(DIFFERENCES, 1e3)}
    doubts = list(verify._doubts(mismatches, tolerance, len(counts)))
    return list(verify._problems(worst, mismatches, tolerance)), doubts


def test_a_tenth_of_the_detections_may_stray_if_the_tolerance_says_so():
    assert judged([1, 0, 0, 0, 0] * 20, HALF) == ([], [])  # 4 %
    problems, doubts = judged([1] * 50, HALF)  # 20 %
    assert problems[0] == "50 of 250 detections do not match. At most 10% may not." and not doubts
    assert judged([1, 0, 0, 0, 0] * 20, EXACT)[0]
    assert judged([0], EXACT) == ([], [])


def test_few_detections_are_neither_passed_nor_failed():
    problems, (doubt,) = judged([1, 0, 0, 0], HALF)  # 1 of 20
    assert not problems
    assert doubt.startswith("20 detections in 4 images are too few to decide whether at most 10%")
    assert "Give about 21 images: --images, --check-images." in doubt
    assert "many more images" in judged([1, 1, 0, 0], HALF)[1][0]  # 10 %: at the tolerance


def test_the_images_that_are_asked_for_are_enough():
    few, tolerance = estimate_fraction([1, 0, 0, 0], [5] * 4), 0.1
    number = images_needed(few, tolerance, 4)
    many = estimate_fraction([1, 0, 0, 0] * (number // 4 + 1), [5] * (4 * (number // 4 + 1)))
    assert few["upper"] > tolerance > many["upper"]


def test_a_fraction_has_the_bounds_of_wilson():
    estimate = estimate_fraction([1] * 3 + [0] * 47, [1] * 50)
    assert estimate["effective"] == pytest.approx(49)  # independent: the variance of a sample, n / (n - 1)
    for bound in (estimate["lower"], estimate["upper"]):
        # Wilson's bounds: the estimate is Z standard deviations away from them.
        assert abs(bound - 0.06) == pytest.approx(Z * math.sqrt(bound * (1 - bound) / 49))
    assert estimate["lower"] < 0.06 < estimate["upper"]
    assert estimate_fraction([0, 0], [0, 0])["upper"] == 1


def test_strays_of_the_same_image_count_as_fewer():
    spread, together = (
        estimate_fraction([1] * 10 + [0] * 10, [10] * 20),
        estimate_fraction([10] + [0] * 19, [10] * 20),
    )
    assert spread["fraction"] == together["fraction"] == 0.05
    assert spread["upper"] < together["upper"]
    assert together["effective"] < spread["effective"] == 200


@pytest.mark.parametrize("rate", [0.03, 0.06, 0.2])
def test_the_outcome_is_that_of_the_model_not_of_the_images_that_come_first(rate):
    random = np.random.default_rng(0)
    totals = random.integers(1, 9, 400)
    # The fraction differs between images.
    counts = random.binomial(totals, random.beta(4 * rate, 4 * (1 - rate), 400))
    outcomes = []
    for _ in range(300):
        chosen = random.permutation(400)[:50]
        estimate = estimate_fraction(counts[chosen].tolist(), totals[chosen].tolist())
        shuffled = estimate_fraction(counts[chosen[::-1]].tolist(), totals[chosen[::-1]].tolist())
        assert estimate == pytest.approx(shuffled)
        outcomes.append(
            "failed" if estimate["lower"] > 0.1 else "passed" if estimate["upper"] <= 0.1 else "undecided"
        )
    wrong = "passed" if rate > 0.1 else "failed"
    assert outcomes.count(wrong) == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_no_detection_may_have_a_number_that_is_none(value):
    problems = list(verify._problems({**WORST, "scores": value}, estimate_fraction([1], [20]), HALF))
    assert problems == [f"The scores differ by {value}. All differences must be finite."]


def test_each_detection_is_matched_once_with_the_closest():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9]], "float32")
    one = {"detection_boxes": boxes, "detection_classes": np.ones(2)}
    other = {"detection_boxes": boxes[::-1], "detection_classes": np.ones(2)}
    expected, found = match_detections(one, other)
    assert dict(zip(expected.tolist(), found.tolist(), strict=True)) == {0: 1, 1: 0}


def test_outputs_become_detections_in_pixels():
    detections = to_detections(
        changed(detection_masks=np.ones([2, 28, 28])), (100, 200), paste="pixel_centers"
    )
    np.testing.assert_allclose(detections.boxes, [[10, 20, 50, 100]])
    assert detections.class_ids.tolist() == [2]
    assert detections.full_mask(0).sum() == 40 * 80


def test_keypoints_become_x_y_and_score():
    points = np.array([[[0.5, 0.25]], [[0, 0]]], "float32")  # y, x of one point
    found = changed(detection_keypoints=points, detection_keypoint_scores=[[0.7], [0]])
    np.testing.assert_allclose(
        to_detections(found, (100, 200), paste="pixel_centers").keypoints, [[[50, 50, 0.7]]]
    )


def test_assets_are_read_back():
    categories = (Category(7, "Äpfel"), Category(0, "person", ("nose", "left_eye"), ((1, 2),)))
    config = Config(num_classes=2)
    assets = write_assets(config, categories)
    assert assets["labels.txt"] == "Äpfel\nperson\n"
    assert read_assets(assets, "here") == (config, categories)


def test_a_model_of_others_has_no_assets():
    with pytest.raises(ValueError, match="Received: other.tflite, without categories.json, config.yaml"):
        read_assets({"labels.txt": ""}, "other.tflite")


RUNNER = """
import numpy as np

class Runner:
    def __init__(self, path, threads):
        {start}
        self.assets, self.versions = {{}}, {{"toy": "1.0"}}
        self.score = float(open(path).read().split()[0])

    def __call__(self, image):
        return {{
            "detection_boxes": np.array([[0.1, 0.1, 0.5, 0.5], [0, 0, 0, 0]], "float32"),
            "detection_scores": np.array([self.score, 0], "float32"),
            "detection_classes": np.array([2, 0], "float32"),
            "detection_masks": np.array([np.full([28, 28], 0.8), np.zeros([28, 28])], "float32"),
            "num_detections": np.float32(1),
        }}
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A function that registers the format .toy and returns the path of a model in it.

    The content of a .toy file is the score of its only detection.
    """

    def make(start="pass"):
        runner = tmp_path / "toy_runner.py"
        runner.write_text(textwrap.dedent(RUNNER).format(start=start))
        toy = formats.Format(name="toy", suffix=".toy", writer="", runner=str(runner.with_suffix("")))
        monkeypatch.setitem(formats.FORMATS, "toy", toy)
        return tmp_path / "model.toy"

    return make


def check(path, least_bytes=0, tolerance=EXACT):
    images = {"a/picture\n1": IMAGE}
    return verify.verify(path, lambda image: OUTPUTS, images, tolerance=tolerance, least_bytes=least_bytes)


def test_an_equal_model_passes(toy):
    path = toy()
    path.write_text("0.9")
    report = check(path)
    assert report["outcome"] == "passed" and report["problems"] == []
    assert report["bytes"] == 3
    assert report["versions"] == {"toy": "1.0"}
    assert report["images"]["a/picture\n1"]["matched"] == 1
    assert verify.format_verification(report).endswith("passed")


@pytest.mark.parametrize(
    ("content", "least_bytes", "problem"),
    [
        ("0.8", 0, "The scores differ by 0.1, more than 1e-05"),
        ("nan", 0, "The scores differ by nan"),
        ("0.9", 1000, "Expected at least 1000 bytes, the size of the weights. Received: 3 bytes."),
    ],
)
def test_a_model_that_says_something_else_fails(toy, content, least_bytes, problem):
    path = toy()
    path.write_text(content)
    report = check(path, least_bytes)
    assert report["outcome"] == "failed"
    assert problem in " ".join(report["problems"])
    assert problem in verify.format_verification(report)


def test_images_on_which_nothing_is_found_prove_nothing(toy):
    path = toy()
    path.write_text("0.9")
    nothing = {**OUTPUTS, "num_detections": np.float32(0)}
    report = verify.verify(path, lambda image: nothing, {"a picture": IMAGE}, tolerance=EXACT)
    assert "No detections could be compared: the Keras model found 0 objects" in report["problems"][0]


def test_a_runner_that_fails_is_quoted(toy):
    path = toy("raise RuntimeError('unknown op Foo')")
    path.write_text("0.9")
    with pytest.raises(ValueError, match="to run in a separate Python process.*RuntimeError: unknown op Foo"):
        check(path)


def test_a_runner_that_needs_mask_rcnn_is_refused(toy):
    path = toy("import mask_rcnn")
    path.write_text("0.9")
    with pytest.raises(ValueError, match="must not import mask_rcnn"):
        check(path)


def test_a_good_export_replaces_the_old_one(toy):
    path = toy()
    path.write_text("0.5 old")
    report = export_checked(path, lambda aside: aside.write_text("0.9 new"), check)
    assert path.read_text() == "0.9 new"
    assert json.loads(path.with_name("model.toy.report.json").read_text()) == report
    assert {file.name for file in path.parent.glob("*model*")} == {"model.toy", "model.toy.report.json"}


def test_a_bad_export_leaves_the_old_one(toy):
    path = toy()
    path.write_text("0.9 old")
    with pytest.raises(ValueError, match="(?s)The scores differ by 0.8.*was not written"):
        export_checked(path, lambda aside: aside.write_text("0.1 new"), check)
    assert path.read_text() == "0.9 old"
    assert json.loads(path.with_name("model.toy.failed.json").read_text())["outcome"] == "failed"
    assert not [file for file in path.parent.iterdir() if file.name.startswith(".")]


def test_a_writer_that_fails_leaves_nothing(toy):
    path = toy()

    def write(aside):
        aside.write_text("half of it")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        export_checked(path, write, check)
    assert not path.exists() and not [file for file in path.parent.iterdir() if file.name.startswith(".")]


KILLED = """
import os, pathlib, signal, sys
from mask_rcnn.export.checked_export import export_checked
write = lambda path: (path.mkdir(), (path / "saved_model.pb").write_text("new"))
export_checked(pathlib.Path(sys.argv[1]), write, lambda path: os.kill(os.getpid(), signal.SIGKILL))
"""


@pytest.mark.slow
def test_a_killed_export_leaves_the_old_one_and_nothing_after_the_next_start(tmp_path):
    path = tmp_path / "model"
    path.mkdir()
    (path / "saved_model.pb").write_text("old")
    subprocess.run([sys.executable, "-c", KILLED, str(path)], capture_output=True)
    assert (path / "saved_model.pb").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2  # the temporary file of the killed export
    with pytest.raises(FileNotFoundError):
        export_checked(path, lambda new: (new / "absent").read_text(), None)
    assert [file.name for file in tmp_path.iterdir()] == ["model"]
    assert (path / "saved_model.pb").read_text() == "old"


def test_a_folder_that_is_no_export_is_not_replaced(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(
        ValueError, match="must not exist or must be an earlier export. Received: .*photos, which is neither"
    ):
        export_checked(tmp_path / "photos", None, None)


def test_a_folder_replaces_a_folder(tmp_path):
    def write(folder, content):
        folder.mkdir()
        (folder / "saved_model.pb").write_text(content)

    write(tmp_path / "model", "old")
    export_checked(tmp_path / "model", lambda aside: write(aside, "new"), lambda aside: {"outcome": "passed"})
    assert (tmp_path / "model/saved_model.pb").read_text() == "new"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model", "model.report.json"]


def test_formats_are_told_by_what_is_there(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/saved_model.pb").touch()
    (tmp_path / "a.tflite").touch()
    (tmp_path / "a.weights.h5").touch()
    (tmp_path / "a.txt").touch()
    names = [formats.format_of(tmp_path / name).name for name in ("model", "a.tflite", "a.weights.h5")]
    assert names == ["saved_model", "tflite", "keras"]
    with pytest.raises(
        ValueError, match="a SavedModel folder, a .tflite or .onnx file, or .* Received: .*a.txt"
    ):
        formats.format_of(tmp_path / "a.txt")
    with pytest.raises(FileNotFoundError, match="absent"):
        formats.format_of(tmp_path / "absent")


def test_options_of_another_format_are_refused(tmp_path, tiny_parts, tiny_config):
    path = tmp_path / "a.weights.h5"
    save_weights(path, tiny_parts, tiny_config, categories=tuple(Category(i, str(i)) for i in (1, 2, 3)))
    with pytest.raises(ValueError, match="saved_model takes --precision and --max-pixels. Received: --size"):
        export_model(path, tmp_path / "out", format="saved_model", images={}, options=Options(size=(64, 96)))
    with pytest.raises(ValueError, match="ends in '.tflite'. Received: .*out'"):
        export_model(path, tmp_path / "out", format="tflite", images={})


@pytest.mark.slow
def test_weights_become_a_checked_saved_model(tmp_path, tiny_parts, tiny_config):
    path = tmp_path / "a.weights.h5"
    save_weights(path, tiny_parts, tiny_config, categories=tuple(Category(i, str(i)) for i in (1, 2, 3)))
    image = np.random.default_rng(0).integers(0, 256, [50, 70, 3]).astype("uint8")
    report = export_model(path, tmp_path / "model", format="saved_model", images={"noise": image})
    assert report["outcome"] == "passed" and report["worst"]["matched"] > 0
    assert report["bytes"] > sum(weight.value.numpy().nbytes for weight in tiny_parts.box_head.weights)
    assert dataclasses.asdict(EXACT) == report["tolerance"]
    assert "tensorflow" in report["versions"]
