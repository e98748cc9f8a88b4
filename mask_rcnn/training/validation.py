"""Evaluation during a run: detections on the validation set, their scores, and the best weights."""

import contextlib
import dataclasses
import functools
import json

import numpy as np
import tensorflow as tf
from absl import logging
from PIL import Image

from mask_rcnn.data.rgb8 import to_rgb8
from mask_rcnn.data.unreadable import UnreadableImages
from mask_rcnn.errors import UnreadableImage, short_message
from mask_rcnn.evaluation.coco_evaluation import content_of_dataset
from mask_rcnn.evaluation.model_evaluation import ModelEvaluation, evaluate_model
from mask_rcnn.heads import iou_types_of
from mask_rcnn.system.files import disk_full_errors
from mask_rcnn.system.terminal import print_line
from mask_rcnn.training.callbacks import StepCallback, keep_lines, summary_writer
from mask_rcnn.training.distributed_evaluation import SharedLosses, evaluate_together
from mask_rcnn.training.optimizer import averaged_weights
from mask_rcnn.training.processes import run_context
from mask_rcnn.training.run_folder import BEST_WEIGHTS, METRICS, TENSORBOARD
from mask_rcnn.visualization.drawing import draw

# Minimum score of detections in pictures: those that are more likely correct than wrong.
PICTURE_SCORE = 0.5
NUM_PICTURES = 8
NUM_REHEARSED = 2  # images evaluated before the first step
LOSS_PREFIX = "val_"  # Keras's prefix for the losses on a validation set
LOGGED_SIDE = 640  # maximum long side of a picture in TensorBoard's files, in pixels


class Validator:
    """Evaluates a model on a data set with ground truth.

    With several processes, all of them must call `evaluate` and `losses`. Each process computes its share of
    the images.

    Args:
        predictor: `Predictor`. Each call uses its current weights.
        dataset: `Dataset`.
        annotations_path: Path of the COCO json of the data set, or None to use the annotations of `dataset`.

    Attributes:
        context: `RunContext` of the strategy that is active when the object is created.
        best_by: Name of the metric that selects the best weights, `train.best_metric`. Names that begin with
            "val_" are losses, where lower is better. For all others higher is better.
        found: Entries of a COCO results file from the last evaluation, in the chief. None before, and in the
            other processes.
        metrics: `Metrics` of the last evaluation. None before.
    """

    def __init__(self, predictor, dataset, annotations_path):
        self.predictor = predictor
        self.dataset = dataset
        self.context = run_context(tf.distribute.get_strategy())
        # Read once, because the file may change during a run.
        self.content = content_of_dataset(dataset, annotations_path)
        config = predictor.config
        self.best_by = config.train.best_metric or f"{iou_types_of(config)[-1]}/AP"
        self.unreadable = UnreadableImages(dataset, config.data.max_bad_images)
        self.found, self.metrics = None, None
        self._shared_losses = SharedLosses(dataset, self.context)

    def evaluate(self):
        """Detects in all images and sets `found` and `metrics`.

        Returns:
            The values of `metrics` as a flat dict such as `{"segm/AP50": 0.5}`. A value is None if it cannot
            be measured.
        """
        evaluation = ModelEvaluation(self.predictor, self.dataset, self.content, unreadable=self.unreadable)
        self.metrics, self.found = evaluate_together(evaluation, self.context)
        return _flat(self.metrics)

    def losses(self, model):
        """Returns the mean losses of a `MaskRCNN`, such as `{"val_loss": 0.5, ...}`.

        Without `train.validation_loss`, the dict is empty.
        """
        if not self.predictor.config.train.validation_loss:
            return {}
        return {f"{LOSS_PREFIX}{name}": value for name, value in self._shared_losses(model).items()}

    def rehearse(self):
        """Evaluates the first images, so that an evaluation that cannot work fails before the first step.

        Raises:
            ValueError: `train.best_metric` is not one of the metrics.
        """
        few = dataclasses.replace(self.dataset, images=self.dataset.images[:NUM_REHEARSED])
        metrics, _ = evaluate_model(self.predictor, few, self.content, unreadable=self.unreadable)
        is_loss = self.best_by.startswith(LOSS_PREFIX) and self.predictor.config.train.validation_loss
        if self.best_by not in _flat(metrics) and not is_loss:
            raise ValueError(
                f"`train.best_metric` must be one of {', '.join(_flat(metrics))}, or a loss such as val_loss "
                f"with `train.validation_loss`. Received: {self.best_by!r}. Correct it, or leave it out."
            )

    def pictures(self):
        """Yields pairs of a record and a picture of its detections, `[H, W, 3]` uint8, for a few images."""
        count = min(NUM_PICTURES, len(self.dataset))
        records = [self.dataset.images[i] for i in np.linspace(0, len(self.dataset) - 1, count).astype(int)]
        drawn = self.predictor.predict_many(
            [record for record in records if record.id not in self.unreadable.reasons],
            image_of=lambda record: record.path,
            finish=functools.partial(_drawn, predictor=self.predictor),
            keep_images=True,
            score_threshold=PICTURE_SCORE,
        )
        with contextlib.closing(drawn):
            for record, result in drawn:
                if isinstance(result, UnreadableImage):
                    self.unreadable.add(record, result)
                elif isinstance(result, Exception):
                    raise result
                else:
                    yield record, result


def _flat(metrics):
    """Returns the values of `Metrics` as a flat dict such as `{"segm/AP50": 0.5}`."""
    summary = metrics.summary
    return {f"{kind}/{name}": value for kind, values in summary.items() for name, value in values.items()}


def _drawn(record, detections, pixels, predictor):
    """Returns the picture of one image with its detections; called by `predict_many`."""
    return draw(to_rgb8(pixels(), predictor.config.input), detections, predictor.categories)


class Evaluation(StepCallback):
    """Callback that evaluates every `evaluate_every` steps, except after the last step.

    The caller of `fit` evaluates after the last step. If an evaluation fails, the error is logged,
    `metrics.jsonl` gets a line `{"step": ..., "error": text}`, and training goes on. The checkpoint of its
    step is already saved, and the evaluation would fail again after each resume. All processes evaluate, and
    only the chief writes.

    Args:
        run_dir: `Path` of the run folder.
        first_step, last_step: As in `StepCallback`.
        recipe: `TrainConfig` with `evaluate_every` and `patience`.
        validator: `Validator`.
        stop: `StopSignals` of the run.
    """

    def __init__(self, run_dir, first_step, last_step, recipe, validator, stop):
        super().__init__(first_step, last_step)
        self.run_dir, self.validator, self.stop = run_dir, validator, stop
        self.every, self.patience = recipe.evaluate_every, recipe.patience
        if validator.context.is_chief:
            keep_lines(run_dir / METRICS, lambda line: json.loads(line)["step"] <= first_step)

    def on_train_begin(self, logs=None):
        """Runs the evaluation of the checkpoint from which the run resumes, if it was due and is missing."""
        context, is_missing = self.validator.context, False
        if context.is_chief and self.first_step > 0:
            lines = _read_lines(self.run_dir / METRICS)
            is_missing = all(line["step"] != self.first_step for line in lines)
        if context.any(is_missing):
            self.on_step(self.first_step, None, None)

    def on_step(self, step, logs, seconds):
        if step == self.last_step or not self.is_due(step, self.every):
            return
        is_chief = self.validator.context.is_chief
        try:
            with self.stop.nothing_to_save(), averaged_weights(self.model):
                evaluate_step(self.model, self.validator, self.run_dir, step, self.last_step)
                if is_chief and is_out_of_patience(self.run_dir, self.validator, self.patience):
                    self.model.stop_training = True
        except tf.errors.UnavailableError:
            raise  # another process has ended, see `all_processes`
        except Exception as error:
            reason = f"{type(error).__name__}: {short_message(error)}"
            logging.error("The evaluation after step %d failed: %s. Training goes on.", step, reason)
            if is_chief:
                _append(self.run_dir / METRICS, {"step": step, "error": reason})


def evaluate_step(model, validator, run_dir, step, last_step, pictures_dir=None):
    """Evaluates the current weights after `step` and saves them if they are the best so far.

    It adds a line to `metrics.jsonl`: `{"step": ..., name: number, ...}`. An earlier line of the same step is
    replaced. Only the chief writes.

    Args:
        model: `MaskRCNN`.
        validator: Its `Validator`.
        run_dir: `Path` of the run folder.
        step, last_step: Number of the current step, and of the last step of the run.
        pictures_dir: `Path` of a folder for PNG pictures. Defaults to None: TensorBoard only.
    """
    path, is_chief = run_dir / METRICS, validator.context.is_chief
    if is_chief:
        keep_lines(path, lambda line: json.loads(line)["step"] < step)
    metrics = {**validator.evaluate(), **validator.losses(model)}
    if not is_chief:
        return
    earlier = _gains(path, validator.best_by)
    score = metrics[validator.best_by]
    # As long as no evaluation has a score, the latest weights are kept as the best.
    is_best = not earlier or (score is not None and _sign(validator.best_by) * score > max(earlier))
    if is_best:
        model.save_weights(run_dir / BEST_WEIGHTS)
    _append(path, {"step": step, **metrics})
    _write_summary(run_dir / TENSORBOARD, step, metrics, validator, pictures_dir)
    if score is None:
        result = f"{validator.best_by} is not measurable"
    else:
        note = "the best so far" if is_best else f"best {abs(max(earlier)):.4f}"
        result = f"{validator.best_by} {score:.4f} ({note})"
    print_line(f"step {step}/{last_step}  {result}")


def is_out_of_patience(run_dir, validator, patience):
    """Returns whether none of the last `patience` evaluations was better than the best one before them.

    Args:
        run_dir: `Path` of the run folder.
        validator: `Validator`.
        patience: Number of evaluations, as `train.patience`. With 0 the result is always False.
    """
    gains = _gains(run_dir / METRICS, validator.best_by)
    if not patience or len(gains) <= patience or max(gains[-patience:]) > max(gains[:-patience]):
        return False
    print_line(
        f"The run ends: {validator.best_by} was not better in {patience} evaluations (`train.patience`)."
    )
    return True


def _gains(path, name):
    """Returns the values of a metric in `metrics.jsonl`. Losses are negated, so that higher is better."""
    values = (line.get(name) for line in _read_lines(path))
    return [_sign(name) * value for value in values if value is not None]


def _sign(name):
    return -1 if name.startswith(LOSS_PREFIX) else 1


def _write_summary(folder, step, metrics, validator, pictures_dir):
    """Writes scores and pictures for TensorBoard, if it is installed, and the pictures as PNG files.

    Args:
        folder: `Path` for TensorBoard's files.
        step, metrics, validator, pictures_dir: As in `evaluate_step`.
    """
    writer = summary_writer(folder)
    if writer is None and not pictures_dir:
        return
    if pictures_dir:
        pictures_dir.mkdir(parents=True, exist_ok=True)
    with writer.as_default(step=step) if writer else contextlib.nullcontext():
        if writer:
            _log_scores(metrics)
        for record, picture in validator.pictures():
            if pictures_dir:
                Image.fromarray(picture).save(pictures_dir / f"{record.path.stem}.png")
            if writer:
                _log_picture(record.path.stem, picture)
    if writer:
        writer.close()


def _log_scores(metrics):
    for name, value in metrics.items():
        if value is not None:
            tf.summary.scalar(name, value)


def _log_picture(name, picture):
    side = max(picture.shape[:2])
    size = np.maximum(np.multiply(picture.shape[:2], min(1, LOGGED_SIDE / side)).astype(int), 1)
    small = Image.fromarray(picture).resize(size[::-1].tolist())
    tf.summary.image(name, np.asarray(small)[None])


def _read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _append(path, line):
    with disk_full_errors(path), open(path, "a") as file:
        file.write(json.dumps(line) + "\n")
