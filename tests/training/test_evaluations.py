"""Tests that a failed evaluation loses no checkpoint or weights."""

import dataclasses
import importlib.util
import json
import logging
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from training_toy import RECIPE, ToyEvaluator, make_batches, make_trainer, run_toy

from mask_rcnn.training.checkpoint import checkpoints
from mask_rcnn.training.evaluation_callback import evaluate_step, is_out_of_patience


def failing_at(calls):
    """Returns a `ToyEvaluator` whose evaluations with these numbers, from 1, fail."""
    count = iter(range(1, 100))

    def evaluate():
        number = next(count)
        if number in calls:
            raise KeyError("area")
        return {"AP": number / 10}

    return ToyEvaluator(evaluate)


def lines_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_the_checkpoint_of_a_step_is_saved_before_its_evaluation(tmp_path):
    seen = []

    def evaluate():
        seen.append(checkpoints(tmp_path / "checkpoints")[-1].name)
        return {"AP": 0.5}

    run_toy(make_trainer(), make_batches, tmp_path, ToyEvaluator(evaluate))
    assert seen == ["step_00000004.h5", "step_00000008.h5", "step_00000010.h5"]


def test_training_goes_on_after_an_evaluation_that_failed_and_says_so(tmp_path, caplog):
    run_toy(make_trainer(), make_batches, tmp_path, failing_at({1}))
    assert lines_of(tmp_path) == [
        {"step": 4, "error": "KeyError: 'area'"},
        {"step": 8, "AP": 0.2},
        {"step": 10, "AP": 0.3},
    ]
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "evaluation after step 4 failed: KeyError: 'area'. Training goes on" in record.getMessage()


def test_resuming_does_not_fail_at_the_same_evaluation_again(tmp_path):
    with pytest.raises(KeyError):  # the last one
        run_toy(make_trainer(), make_batches, tmp_path, failing_at({1, 2, 3}))
    assert checkpoints(tmp_path / "checkpoints")[-1].name == "step_00000010.h5"
    run_toy(make_trainer(), make_batches, tmp_path, failing_at(()))
    assert lines_of(tmp_path)[-1] == {"step": 10, "AP": 0.1}


def scores(folder, values, best_by="AP"):
    """Evaluates at steps 1, 2, ... with these scores; returns the steps whose weights were saved."""
    saved = []
    for step, value in enumerate(values, start=1):
        model = types.SimpleNamespace(save_weights=lambda path, step=step: saved.append((step, path)))
        evaluator = ToyEvaluator(lambda value=value: {best_by: value}, best_by)
        evaluate_step(model, evaluator, folder, step=step, last_step=len(values))
    assert {path for _, path in saved} == {folder / "best.weights.h5"}
    return [step for step, _ in saved]


@pytest.mark.parametrize(
    "values, saved",
    [
        ([0.1, 0.3, 0.2], [1, 2]),
        ([0.0, 0.0], [1]),
        ([None, None, None], [1, 2, 3]),
        ([None, 0.0, None], [1, 2]),
    ],
)
def test_the_best_weights_are_those_of_the_best_score(tmp_path, values, saved):
    assert scores(tmp_path, values) == saved


def test_the_best_loss_is_the_smallest(tmp_path, capsys):
    assert scores(tmp_path, [0.5, 0.7, 0.4, 0.4], "val_loss") == [1, 3]
    assert "val_loss 0.7000 (best 0.5000)" in capsys.readouterr().out


def test_a_run_ends_when_its_loss_no_longer_falls(tmp_path):
    lines = [{"step": step, "val_loss": loss} for step, loss in enumerate([0.9, 0.5, 0.6, 0.5], start=1)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    evaluator = ToyEvaluator(None, "val_loss")
    assert is_out_of_patience(tmp_path, evaluator, 2) and not is_out_of_patience(tmp_path, evaluator, 3)


def test_a_failed_evaluation_is_not_the_best(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 0, "error": "KeyError"}\n')
    assert scores(tmp_path, [0.1]) == [1]


def patient_run(folder, scores, patience, steps=10):
    """Trains the toy with an evaluation every two steps; returns the number of its last step."""
    scores = iter(scores)
    recipe = dataclasses.replace(
        RECIPE, checkpoint_every=2, evaluate_every=2, patience=patience, steps=steps, milestones=()
    )
    evaluator = ToyEvaluator(lambda: {"AP": next(scores)})
    return run_toy(make_trainer(), make_batches, folder, evaluator, recipe)["step"]


@pytest.mark.parametrize(
    "scores, patience, last_step",
    [
        ([0.3, 0.3, 0.2, 0.2], 2, 6),
        ([0.1, 0.3, 0.2, 0.4, 0.5], 2, 10),
        ([None, 0.3, 0.2, 0.2], 1, 6),
        ([0.5, 0.4, 0.3, 0.2, 0.1], 0, 10),
    ],
)
def test_a_run_ends_when_its_score_stays_the_same_for_too_long(tmp_path, scores, patience, last_step):
    assert patient_run(tmp_path, scores, patience) == last_step
    assert checkpoints(tmp_path / "checkpoints")[-1].name == f"step_{last_step:08d}.h5"
    assert lines_of(tmp_path)[-1]["step"] == last_step


def test_a_run_that_ended_early_stays_ended_unless_it_gets_more_patience(tmp_path):
    assert patient_run(tmp_path, [0.3, 0.2, 0.1, 0.1], patience=2) == 6
    assert patient_run(tmp_path, [0.1], patience=2) == 6
    assert patient_run(tmp_path, [0.1, 0.1], patience=4) == 10


def test_a_callback_of_the_user_ends_a_run_and_its_last_step_is_saved(tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 4

    state = run_toy(make_trainer(), make_batches, tmp_path, callbacks=[Stop()])
    assert state["step"] == 5
    assert [path.name for path in checkpoints(tmp_path / "checkpoints")] == [
        "step_00000004.h5",
        "step_00000005.h5",
    ]


def test_tensorboard_has_the_scores_and_the_pictures(tmp_path):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    record = types.SimpleNamespace(path=tmp_path / "cat.jpg")
    evaluator = ToyEvaluator(lambda: {"segm/AP": 0.25, "segm/APs": None}, best_by="segm/AP")
    evaluator.pictures = lambda: [(record, np.full([900, 30, 3], 7, "uint8"))]
    model = types.SimpleNamespace(save_weights=lambda path: None)
    evaluate_step(model, evaluator, tmp_path, step=3, last_step=3)
    events = event_accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert set(tags["tensors"]) == {"segm/AP", "cat"}
    (score,), (picture,) = events.Tensors("segm/AP"), events.Tensors("cat")
    assert score.step == 3 and tf.make_ndarray(score.tensor_proto) == 0.25
    width, height, encoded = tf.make_ndarray(picture.tensor_proto)
    assert (int(width), int(height)) == (21, 640)
    assert (tf.image.decode_png(encoded).numpy() == 7).all()


def test_without_tensorboard_an_evaluation_writes_its_pictures(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tensorboard" else find(name)
    )

    def missing(name, value):
        raise NotImplementedError("TensorBoard is not installed")  # as TensorFlow does

    monkeypatch.setattr(tf.summary, "scalar", missing)
    monkeypatch.setattr(tf.summary, "image", missing)
    record = types.SimpleNamespace(path=tmp_path / "cat.jpg")
    evaluator = ToyEvaluator(lambda: {"segm/AP": 0.25}, best_by="segm/AP")
    evaluator.pictures = lambda: [(record, np.full([9, 30, 3], 7, "uint8"))]
    model = types.SimpleNamespace(save_weights=lambda path: None)
    evaluate_step(model, evaluator, tmp_path, step=3, last_step=3, pictures_dir=tmp_path / "pictures")
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["cat.png"]
    assert not (tmp_path / "tensorboard").exists()


def test_an_operation_that_fails_names_the_step_and_its_images_only(tmp_path):
    def batches(first_step):
        def fail(index, batch):
            message = tf.strings.format("Invalid PNG data of {}", index)
            with tf.control_dependencies([tf.debugging.Assert(index < 5, [message])]):
                return {name: tf.identity(value) for name, value in batch.items()}

        return make_batches(first_step).enumerate().map(fail)

    with pytest.raises(ValueError) as error:
        run_toy(make_trainer(), batches, tmp_path, images_of=lambda step: [f"{step}.jpg"])
    message = str(error.value)
    assert "step=6" in message and "images=['6.jpg']" in message and "Invalid PNG data of 5" in message
    assert "\n" not in message and len(message) < 400
