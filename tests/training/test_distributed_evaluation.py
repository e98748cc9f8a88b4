"""Tests that processes that share an evaluation get the results and errors of one process."""

import copy
import dataclasses

import pytest
from ground_truth_predictor import GroundTruthPredictor, damage
from thread_processes import run_in_threads

from mask_rcnn.data.readers.coco import read_coco
from mask_rcnn.data.shapes import write_shapes
from mask_rcnn.evaluation.model_evaluation import ModelEvaluation, evaluate_model
from mask_rcnn.training.distributed_evaluation import evaluate_distributed


class Recorder(GroundTruthPredictor):
    """Records the batches of the model, as tuples of ids. Scores depend on the size of the batch."""

    def default_batch_size(self):
        return 3

    def fresh(self, failing=None):
        """Returns a copy without recorded batches, whose model fails at the image `failing`."""
        new = copy.copy(self)
        new.batches, new.failing = [], failing
        return new

    def detect_batch(self, inputs):
        records = super().detect_batch(inputs)
        self.batches.append(tuple(record.id for record in records))
        if self.failing in self.batches[-1]:
            raise KeyError("area")
        return [(record, len(records)) for record in records]

    def postprocess(self, outputs, resize, score_threshold=0.0):
        record, num_images = outputs
        found = super().postprocess(record, resize)
        return dataclasses.replace(found, scores=found.scores / (1 + num_images))


@pytest.fixture
def dataset(tmp_path):
    """Twelve images, mostly alternating: seven wide ones with even ids, and five tall ones with odd ids."""
    records = []
    for number, (count, size) in enumerate([(7, (48, 64)), (5, (64, 48))]):
        part = read_coco(*write_shapes(tmp_path / str(number), count, size, seed=number))
        for image in part.images:
            annotations = tuple(dataclasses.replace(one, id=2 * one.id + number) for one in image.annotations)
            records.append(dataclasses.replace(image, id=2 * image.id + number, annotations=annotations))
    return dataclasses.replace(part, images=tuple(sorted(records, key=lambda record: record.id)))


@pytest.fixture
def model(dataset):
    return Recorder(dataset, max_bad_images=0.2)


def evaluate_in(count, dataset, models):
    """Returns the result of `evaluate_together`, or its exception, in each of `count` processes."""
    return run_in_threads(
        count,
        lambda context: evaluate_distributed(
            ModelEvaluation(models[context.rank], dataset, None),
            context,
        ),
    )


@pytest.mark.parametrize("count", [2, 3, 7])
@pytest.mark.parametrize("damaged, sizes", [(None, [1, 2, 3, 3, 3]), (4, [1, 2, 2, 3, 3])])
def test_processes_find_in_the_same_batches_what_one_process_finds(dataset, model, count, damaged, sizes):
    if damaged is not None:
        damage(dataset.images[damaged])
    alone, *models = (model.fresh() for _ in range(1 + count))
    metrics, found = evaluate_model(alone, dataset, None)
    assert sorted(map(len, alone.batches)) == sizes
    assert [entry["image_id"] for entry in found] == sorted(entry["image_id"] for entry in found)

    results = evaluate_in(count, dataset, models)
    assert sorted(batch for each in models for batch in each.batches) == sorted(alone.batches)
    assert sum(bool(each.batches) for each in models) == min(count, len(sizes))
    assert results == [(metrics, found)] + [(metrics, None)] * (count - 1)


def test_too_many_unreadable_images_are_the_error_of_one_process_in_all(dataset, model):
    for index in (2, 9, 10):
        damage(dataset.images[index])
    with pytest.raises(ValueError, match="3 of 12") as expected:
        evaluate_model(model.fresh(), dataset, None)
    chief, other = evaluate_in(2, dataset, [model.fresh(), model.fresh()])
    assert str(chief) == str(expected.value)
    assert isinstance(other, ValueError) and str(expected.value) in str(other)


def test_an_error_of_the_model_in_one_process_is_raised_in_all(dataset, model):
    failing = dataset.images[-1].id
    errors = evaluate_in(2, dataset, [model.fresh(failing), model.fresh(failing)])
    assert sorted(type(error).__name__ for error in errors) == ["KeyError", "ValueError"]
    (text,) = [str(error) for error in errors if isinstance(error, ValueError)]
    assert "All 2 processes must succeed. Received: process " in text and "KeyError: 'area'." in text


def test_processes_with_other_images_are_an_error(dataset, model):
    def evaluate(context):
        other = dataclasses.replace(dataset, images=dataset.images[context.rank :])
        return evaluate_distributed(ModelEvaluation(model.fresh(), other, None), context)

    for error in run_in_threads(2, evaluate):
        assert "Give all processes of a run the same data set" in str(error)
