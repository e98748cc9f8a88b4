"""Tests that losses from a frame, fewer proposals or fewer detections are reported.

In these cases the export and the Keras model agree in the frame.
"""

import numpy as np
import pytest

from mask_rcnn.config import InputConfig
from mask_rcnn.export.checks import verify
from mask_rcnn.export.checks.compare import EXACT
from mask_rcnn.export.checks.training_scale import (
    TrainingScale,
    compare_scales,
    compare_with_training_scale,
    training_scale_warnings,
)

SETTINGS = InputConfig(short_side=128, train_short_sides=(128,), long_side=256)
BOXES = np.array([[0.1 * i, 0, 0.1 * i + 0.05, 1] for i in range(10)], "float32")


def outputs(count, score=0.9):
    """Returns outputs with the first `count` of ten objects."""
    return {
        "detection_boxes": BOXES[:count],
        "detection_scores": np.full(count, score, "float32"),
        "detection_classes": np.ones(count, "float32"),
        "num_detections": np.float32(count),
    }


def training_scale(frame=(128, 128), count=10):
    return TrainingScale(runner=lambda image: outputs(count), settings=SETTINGS, frame=frame)


def scales(frame, *sizes):
    return compare_scales(training_scale(frame), sizes)


def test_the_scale_is_that_of_the_frame_by_that_of_the_model():
    # 100 x 100 becomes 128 x 128 in the model and 64 x 64 in the frame; 100 x 200 becomes 128 x 256, 32 x 64.
    scale = scales((64, 64), (100, 100), (100, 100), (100, 200))
    assert scale["in_images"] == [0.25, 0.5, 0.5]
    assert scale["landscape"] == pytest.approx(64 / 640 / (128 / 480), rel=0.01)
    assert scale["trained"] == [1, 1] and not scale["is_expected"]


@pytest.mark.parametrize(
    ("frame", "expected"), [((128, 192), True), ((160, 192), True), ((96, 128), False), ((256, 384), False)]
)
def test_a_quarter_larger_is_expected_and_more_is_not(frame, expected):
    assert scales(frame, (90, 120))["is_expected"] == expected


def test_scales_of_training_are_expected():
    settings = InputConfig(short_side=128, train_short_sides=(64, 128), long_side=256)
    scale = compare_scales(TrainingScale(runner=None, settings=settings, frame=(64, 96)), [(90, 120)])
    assert scale["trained"] == [0.5, 1] and scale["is_expected"]


def compared(found, num_images=20, **options):
    images = {str(number): np.zeros([90, 120, 3], "uint8") for number in range(num_images)}
    return compare_with_training_scale(training_scale(**options), images, dict.fromkeys(images, found))


def test_lost_and_added_detections_are_counted_with_bounds():
    report = compared(outputs(7))
    assert (report["lost"]["count"], report["lost"]["total"]) == (60, 200)
    assert report["lost"]["lower"] < 0.3 < report["lost"]["upper"] < 0.4
    assert report["added"]["count"] == 0
    assert compared(outputs(10), count=5)["added"]["fraction"] == 0.5


def test_a_detection_that_became_unsure_is_not_lost():
    assert compared(outputs(10, score=0.35))["lost"]["count"] == 0
    assert compared(outputs(10, score=0.25))["lost"]["count"] == 200


def test_a_loss_is_a_warning_with_both_numbers():
    (warning,) = training_scale_warnings(compared(outputs(7), frame=(128, 192)))
    assert warning.startswith(
        "60 of 200 confident detections of the Keras model at its training scale are missing in the export: "
        "30% ("
    )
    assert not list(training_scale_warnings(compared(outputs(9), frame=(128, 192))))  # one of ten is lost
    scale, _ = training_scale_warnings(compared(outputs(7), frame=(64, 96)))
    assert scale.startswith(
        "In the frame, objects are 0.50 times as large as at the input size of the config (0.50 to 0.50 in"
    )


def test_a_report_with_a_loss_does_not_say_passed(tmp_path, monkeypatch):
    class IsolatedRunner:
        versions, load = {"toy": "1.0"}, 0.1
        __enter__ = lambda self: self  # noqa: E731
        __exit__ = lambda self, *exception: None  # noqa: E731
        run = lambda self, name: None  # noqa: E731

        def __init__(self, path, images):
            self.outputs = lambda: dict.fromkeys(images, outputs(7))

    monkeypatch.setattr(verify, "IsolatedRunner", IsolatedRunner)
    path = tmp_path / "model.onnx"
    path.touch()
    images = {str(number): np.zeros([90, 120, 3], "uint8") for number in range(9)}
    report = verify.verify(
        path,
        lambda image: outputs(7),
        images,
        tolerance=EXACT,
        training_scale=training_scale((64, 96)),
        calibration=("1", "x"),
    )
    assert report["outcome"] == "warned" and report["mismatches"]["count"] == 0
    assert report["training_scale"]["lost"]["fraction"] == pytest.approx(0.3)
    text = verify.format_verification(report)
    assert "lost:  27 of 90, 30.0%" in text
    assert text.splitlines()[-1].startswith("PASSED WITH WARNINGS")
    assert "2 calibration images; 1 of them are among the images that were compared" in text
    assert "note: On CPUs with bfloat16, OpenVINO computes in bfloat16" in text and len(report["notes"]) == 1
