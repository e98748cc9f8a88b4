"""Runs a whole training: from data and a config to trained weights, scores and pictures."""

import contextlib
import functools
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras
import tensorflow as tf

from mask_rcnn.config import Config
from mask_rcnn.data.records import Dataset
from mask_rcnn.errors import PartialFailure, short_message
from mask_rcnn.evaluation.coco_results import write_json
from mask_rcnn.evaluation.metrics import Metrics
from mask_rcnn.system.paths import local_path
from mask_rcnn.system.terminal import print_line
from mask_rcnn.training.batches import batches_of
from mask_rcnn.training.budget import within_budget
from mask_rcnn.training.distribution import make_strategy
from mask_rcnn.training.evaluation_callback import evaluate_step
from mask_rcnn.training.evaluator import Evaluator
from mask_rcnn.training.loop import run_steps
from mask_rcnn.training.mask_rcnn import MaskRCNN
from mask_rcnn.training.plot import plot_losses
from mask_rcnn.training.preflight import preflight
from mask_rcnn.training.processes import RunContext, report_lost_process, run_context
from mask_rcnn.training.run_folder import (
    FINAL_WEIGHTS,
    LOG,
    check_run_folder,
    run_folder,
    run_id_of,
    write_config,
)


def train(
    config: Config,
    run_dir: str | Path,
    *,
    model: MaskRCNN | None = None,
    train_data: Dataset | tf.data.Dataset | None = None,
    val_data: Dataset | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    resume: bool = True,
) -> Metrics | None:
    """Trains a model and writes weights, logs, scores and pictures into a run folder.

    `preflight` runs all checks before the first step. With `train.budget`, some steps are timed first, and
    the run gets as many steps as fit into the budget, see `within_budget`.

    With several processes (`train.strategy` multiworker), all of them call this function with the same
    arguments. Each process reads a part of the images of every step and every evaluation. Only the chief,
    process 0, writes files. If a process ends, the others end with an error. Start all of them again to
    resume the run.

    The run folder contains:
        config.yaml: The resolved config.
        checkpoints/: Checkpoints, for resuming.
        log.csv, loss.png: One row per step, and a plot of the losses.
        metrics.jsonl: One line per evaluation.
        best.weights.h5, final.weights.h5: The best and the final weights.
        results.json, detections.json, pictures/: Scores, detections and pictures of the final weights on the
        validation set.

    After SIGTERM, SIGHUP or Ctrl-C, the current step is finished and saved. Then `SystemExit` or
    `KeyboardInterrupt` is raised.

    Args:
        config: `Config`.
        run_dir: Path of the run folder. It is created if it does not exist.
        model: `MaskRCNN` to train from its current weights. Its config must equal `config` except for the
            sections `train` and `data`. Defaults to a new model with the initial weights of `config`.
        train_data: `Dataset` from `read_coco`, or a `tf.data.Dataset` of batches, which is repeated. A batch
            is a dict of the inputs of `training_model`. A resumed run skips the batches of its earlier steps,
            so it is only exact if each process gets the same batches again. Defaults to
            `config.data.train_annotations`, or to synthetic shapes without them.
        val_data: `Dataset` for evaluation. Defaults to `config.data.val_annotations`, or to none if
            `train_data` is given.
        callbacks: Keras callbacks, for which all steps are one epoch. They run after the callbacks of this
            package, so the checkpoint of a step is saved first. Their state is not saved. With several
            processes, they run in each process. Defaults to none.
        resume: Whether to continue a run in the folder from its last checkpoint. Its training data, their
            order and its config must be unchanged (`fingerprint.RESUMABLE_FIELDS` lists the fields that may
            change). The final weights equal those of a run without interruption. False only allows a new run.
            Defaults to True.

    Returns:
        `Metrics` of the final weights, in each process. None without a validation set.

    Raises:
        PartialFailure: The weights are saved, but their evaluation failed.
        ValueError: Config, model, data and run folder do not fit together. Raised before the first step.
    """
    run_dir, start_time = local_path(run_dir), time.perf_counter()
    strategy = _strategy(config, model)
    context = run_context(strategy)
    with report_lost_process(context), _folders(run_dir, resume, context) as (run_id, data_folder):
        prepare_run = functools.partial(
            preflight,
            run_dir=run_dir,
            run_id=run_id,
            data_folder=data_folder,
            user_objects={"model": model, "train_data": train_data, "val_data": val_data},
            strategy=strategy,
        )
        if config.train.budget:
            config = within_budget(
                config, run_dir, prepare_run=prepare_run, context=context, start_time=start_time
            )
        run, state = prepare_run(config)
        if context.is_chief:
            write_config(run_dir, run.config)

        with batches_of(run.train_set, run.config, context) as (make_batches, images_of):
            run_steps(
                run.model,
                make_batches=make_batches,
                recipe=run.config.train,
                run_dir=run_dir,
                state=state,
                evaluator=run.evaluator,
                callbacks=callbacks,
                images_of=images_of,
            )
        _save_final_weights(run.model, run_dir, context)
        metrics = None
        if run.evaluator:
            metrics = evaluate_final_weights(run.model, run.evaluator, run_dir, step=state["step"])
        context.wait()
        return metrics


def _save_final_weights(model: MaskRCNN, run_dir: Path, context: RunContext) -> None:
    """Saves the final weights and plots the losses. Only the chief writes."""
    # If the optimizer keeps averages, they become the weights. Keras does this at the end of `fit`, but `fit`
    # is not called if no step is left.
    model.optimizer.finalize_variable_values(model.trainable_variables)
    if context.is_chief:
        model.save_weights(run_dir / FINAL_WEIGHTS)
        plot_losses(run_dir / LOG, run_dir / "loss.png")


def _strategy(config: Config, model: MaskRCNN | None = None) -> tf.distribute.Strategy:
    if model is not None:
        return model.distribute_strategy
    return make_strategy(config.train.strategy, config.train.batch_size)


@contextlib.contextmanager
def _folders(run_dir: Path, resume: bool, context: RunContext) -> Iterator[tuple[str | None, Path]]:
    """Yields the run id and the folder for synthetic shapes; only the chief opens the run folder."""
    if context.is_chief:
        with run_folder(run_dir, resume) as run_id:
            yield run_id, run_dir / "data"
    else:
        with tempfile.TemporaryDirectory() as data_folder:
            yield None, Path(data_folder)


def check(config: Config, run_dir: str | Path, *, resume: bool = True) -> None:
    """Runs all checks that `train` runs before its first step and prints a line for each. It changes nothing.

    Args:
        config, run_dir, resume: As in `train`.

    Raises:
        ValueError, OSError: At least one check failed.
    """
    run_dir = local_path(run_dir)
    strategy = _strategy(config)
    context = run_context(strategy)
    check_run_folder(run_dir, resume)

    def report(check: str, result: str) -> None:
        print_line(f"{check}: {result}")

    with tempfile.TemporaryDirectory() as data_folder:
        run, state = preflight(
            config,
            run_dir,
            run_id=run_id_of(run_dir),
            data_folder=Path(data_folder),
            strategy=strategy,
            report=report,
        )
        with batches_of(run.train_set, run.config, context) as (make_batches, _):
            batch = next(iter(make_batches(state["step"])), None)
        if batch is None:
            report("next batch", "none, all steps are done")
        else:
            report("next batch", str(strategy.experimental_local_results(batch["images"])[0].shape))
    print_line("All checks passed.")


def evaluate_final_weights(
    model: MaskRCNN, evaluator: Evaluator, run_dir: Path, *, step: int
) -> Metrics | None:
    """Evaluates the final weights, writes scores and detections, prints the table and returns `Metrics`.

    All processes of a run must call it. Only the chief writes.

    Args:
        model, evaluator, run_dir, step: As in `evaluate_step`.

    Raises:
        PartialFailure: The evaluation failed.
    """
    try:
        evaluate_step(model, evaluator, run_dir, step=step, last_step=step, pictures_dir=run_dir / "pictures")
        metrics = evaluator.metrics
        if metrics is None or not evaluator.context.is_chief:
            return metrics
        write_json(run_dir / "detections.json", evaluator.results)
        write_json(run_dir / "results.json", metrics.to_json())
    except tf.errors.UnavailableError:
        raise  # another process has ended, see `report_lost_process`
    except Exception as error:
        raise PartialFailure(
            f"The trained weights are saved as {run_dir / FINAL_WEIGHTS}, but they cannot be evaluated. "
            f"Received: {type(error).__name__}: {short_message(error)}. "
            "Correct this, then repeat the evaluation: `mask-rcnn train --resume`, or `mask-rcnn evaluate`."
        ) from error
    print_line(f"{metrics.table()}\n\nWeights, scores and pictures: {run_dir}")
    return metrics
