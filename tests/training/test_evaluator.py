"""Tests of the evaluation on a validation set, in which an image may be damaged."""

import dataclasses
import re

import pytest
from absl import logging
from ground_truth_predictor import GroundTruthPredictor, damage

from mask_rcnn.data.readers.coco import read_coco
from mask_rcnn.data.shapes import write_shapes
from mask_rcnn.evaluation.model_evaluation import evaluate_model
from mask_rcnn.training.evaluator import Evaluator


@pytest.fixture
def shapes(tmp_path):
    """The `Dataset` of eight images, and the path of its annotations."""
    annotations, images = write_shapes(tmp_path, 8, (64, 64), seed=3)
    return read_coco(annotations, images), annotations


def evaluator_of(shapes, max_bad_images=0.2):
    dataset, annotations = shapes
    return Evaluator(GroundTruthPredictor(dataset, max_bad_images), dataset, annotations)


def test_the_best_metric_is_one_of_those_that_are_measured(shapes):
    evaluator = evaluator_of(shapes)
    evaluator.dry_run()
    evaluator.best_by = "segm/APx"
    with pytest.raises(ValueError, match=r"train.best_metric.*bbox/AP.*segm/AP50.*'segm/APx'"):
        evaluator.dry_run()


def test_a_validation_json_that_disappears_during_the_run_changes_nothing(shapes):
    evaluator = evaluator_of(shapes)
    shapes[1].unlink()
    evaluator.dry_run()
    assert evaluator.metrics is None
    assert evaluator.evaluate()["segm/AP"] == pytest.approx(1.0)
    assert evaluator.metrics.num_images == 8


def test_a_damaged_image_is_not_scored_and_is_reported_once(shapes, caplog):
    evaluator = evaluator_of(shapes)
    damage(shapes[0].images[3])
    logging.use_absl_handler()
    for _ in range(2):
        assert evaluator.evaluate()["segm/AP"] == pytest.approx(1.0)  # its objects do not count as missed
        assert evaluator.metrics.num_images == 7
        (warning,) = [line for line in evaluator.metrics.warnings if "not scored" in line]
        assert warning.startswith("1 images cannot be read and are not scored: ")
        assert shapes[0].images[3].path.name in warning
    assert len(list(evaluator.pictures())) == 7
    assert len([record for record in caplog.records if "not scored" in record.getMessage()]) == 1


def test_more_damaged_images_than_allowed_are_an_error_that_lists_them(shapes):
    evaluator = evaluator_of(shapes)
    for index in (1, 5):
        damage(shapes[0].images[index])
    names = [shapes[0].images[index].path.name for index in (1, 5)]
    message = rf"(?s)at most 20.0%.*2 of 8.*{re.escape(names[0])}.*{re.escape(names[1])}.*data.max_bad_images"
    with pytest.raises(ValueError, match=message):
        evaluator.evaluate()


def test_an_image_of_another_size_than_annotated_is_not_scored(shapes):
    dataset, annotations = shapes
    predictor = GroundTruthPredictor(dataset, max_bad_images=0.2)
    first = dataclasses.replace(dataset.images[0], width=63)
    changed = dataclasses.replace(dataset, images=(first, *dataset.images[1:]))
    metrics, entries = evaluate_model(predictor, changed, annotations)
    assert metrics.num_images == 7 and first.id not in {entry["image_id"] for entry in entries}
    assert any("must not change" in warning for warning in metrics.warnings)


def test_an_error_of_the_model_is_not_one_of_the_image(shapes):
    evaluator = evaluator_of(shapes, max_bad_images=1.0)
    evaluator.predictor.records.clear()
    with pytest.raises(KeyError):
        evaluator.evaluate()
