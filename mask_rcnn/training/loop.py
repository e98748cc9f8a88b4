"""The training loop of a run: restores the last checkpoint and trains until the last step."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from absl import logging

from mask_rcnn.config import TrainConfig
from mask_rcnn.errors import is_out_of_memory, short_message
from mask_rcnn.system.terminal import print_line
from mask_rcnn.training.callbacks import (
    Checkpointing,
    CsvLog,
    LossScaleReport,
    NanGuard,
    StopAllProcesses,
    TensorBoardLog,
)
from mask_rcnn.training.checkpoint import OtherRunError, restore_latest
from mask_rcnn.training.diagnosis import first_bad_tensor
from mask_rcnn.training.evaluation_callback import EvaluationCallback, is_out_of_patience
from mask_rcnn.training.evaluator import Evaluator
from mask_rcnn.training.processes import run_context
from mask_rcnn.training.progress import Progress
from mask_rcnn.training.run_folder import CHECKPOINTS, LOG, TENSORBOARD
from mask_rcnn.training.signals import StopSignals
from mask_rcnn.training.step_callback import StepLogs
from mask_rcnn.training.trainer import Trainer


def restore_or_initialize(
    trainer: Trainer,
    run_dir: Path,
    run_id: str | None,
    *,
    initialize: Callable[[], None] = lambda: None,
    check: Callable[[dict[str, Any]], None] = lambda state: None,
) -> dict[str, Any]:
    """Loads the newest checkpoint, or the initial weights if the run has no checkpoint.

    Only the chief process reads files, because the files of the run are on its machine. All other processes
    get its weights.

    Args:
        trainer: Compiled `Trainer`.
        run_dir: `Path` of the run folder.
        run_id: Id of the run. It may be None in a process that is not the chief.
        initialize: Function without arguments that loads the initial weights. Defaults to none.
        check: Function that gets the state of the checkpoint. It raises a ValueError if the run must not
            continue from it. Defaults to no check.

    Returns:
        Dict with the state of the run:
        step: Number of finished steps.
        run: Id of the run.
        Other keys are those that the checkpoint was saved with.

    Raises:
        OtherRunError: The checkpoint belongs to another run, or `check` failed.
        ValueError: All checkpoints are damaged.
    """

    def check_state(state):
        if state.get("run") != run_id:
            raise OtherRunError(
                f"The checkpoints of a run must be its own. Received: {run_dir / CHECKPOINTS} with "
                f"step {state['step']} of another run. Move the files of the other run away."
            )
        try:
            check(state)
        except ValueError as error:
            raise OtherRunError(str(error)) from error

    context, state = run_context(trainer.distribute_strategy), None
    with trainer.distribute_strategy.scope():
        trainer.optimizer.build(trainer.trainable_variables)
        if context.is_chief:
            state = restore_latest(run_dir / CHECKPOINTS, trainer, check_state)
    if context.is_chief and state is not None:
        print_line(f"Resumed after step {state['step']}.")
    elif context.is_chief:
        if (run_dir / LOG).exists():
            logging.warning("%s has no checkpoint: the run starts again from its first step.", run_dir)
        initialize()
        state = {"step": 0, "run": run_id}
    context.copy_from_chief([*trainer.variables, *trainer.optimizer.variables])
    return context.gather(state)[0]


def run_steps(
    trainer: Trainer,
    make_batches: Callable[[int], tf.data.Dataset],
    *,
    recipe: TrainConfig,
    run_dir: Path,
    state: dict[str, Any],
    evaluator: Evaluator | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    images_of: Callable[[int], object] = lambda step: "unknown",
) -> None:
    """Trains until the last step of the recipe, or until a callback stops the run.

    Only the chief process writes files.

    Args:
        trainer: Compiled `Trainer`.
        make_batches: Function from the number of finished steps to a `tf.data.Dataset` with the batches of
            all remaining steps.
        recipe: `TrainConfig`.
        run_dir: `Path` for `checkpoints/`, `log.csv`, `metrics.jsonl` and `tensorboard/`.
        state: Dict from `restore_or_initialize`. Its `step` is updated at each checkpoint.
        evaluator: `Evaluator`. The caller evaluates after the last step. Defaults to None: no evaluation.
        callbacks: Additional Keras callbacks. Defaults to none.
        images_of: Function from a step, counted from 1, to the names of its images, for error messages.
            Defaults to "unknown".

    Raises:
        ValueError: A step failed, a loss was not finite, or `make_batches` gave too few batches.
    """
    first, last = state["step"], recipe.scaled_steps
    context = run_context(trainer.distribute_strategy)
    if first >= last or context.any(_is_stopped_early(run_dir, evaluator, recipe.patience)):
        return

    def bad_tensor_of(step: int) -> str:
        return first_bad_tensor(trainer, next(iter(make_batches(step - 1))))

    guard = NanGuard(first, last, images_of=images_of, bad_tensor_of=bad_tensor_of)
    with StopSignals() as stop_signals, Progress(first, last, batch_size=recipe.batch_size) as progress:
        checkpointing = Checkpointing(
            run_dir / CHECKPOINTS,
            first,
            last,
            recipe=recipe,
            state=state,
            stop_signals=stop_signals,
            context=context,
        )
        own_callbacks = [StepLogs(), guard, checkpointing]
        if context.is_chief:
            own_callbacks = _chief_callbacks(
                run_dir, recipe, guard=guard, checkpointing=checkpointing, progress=progress
            )
        if evaluator:
            own_callbacks.append(
                EvaluationCallback(
                    run_dir, first, last, recipe=recipe, evaluator=evaluator, stop_signals=stop_signals
                )
            )
        callbacks = [*own_callbacks, *callbacks, StopAllProcesses(first, last, context)]
        _fit(trainer, make_batches(first), callbacks=callbacks, guard=guard)
    if guard.step != last and not trainer.stop_training:
        raise ValueError(
            f"`make_batches` must give the batches of all steps. Received: {guard.step} of {last} steps. "
            "Repeat the data set."
        )


def _is_stopped_early(run_dir: Path, evaluator: Evaluator | None, patience: int) -> bool:
    """Returns whether early stopping ended the run in an earlier call. Only the chief has its files."""
    if evaluator is None or not evaluator.context.is_chief:
        return False
    return is_out_of_patience(run_dir, evaluator, patience)


def _chief_callbacks(
    run_dir: Path,
    recipe: TrainConfig,
    *,
    guard: NanGuard,
    checkpointing: Checkpointing,
    progress: Progress,
) -> list[keras.callbacks.Callback]:
    first, last = guard.first_step, guard.last_step
    return [
        StepLogs(),
        CsvLog(run_dir / LOG, first, last, batch_size=recipe.batch_size),
        TensorBoardLog(run_dir / TENSORBOARD, first, last),
        guard,
        LossScaleReport(first, last),
        checkpointing,
        progress,  # after the checkpoint, because writing to a closed terminal may fail
    ]


def _fit(
    trainer: Trainer,
    batches: tf.data.Dataset,
    *,
    callbacks: Sequence[keras.callbacks.Callback],
    guard: NanGuard,
) -> None:
    """Calls `fit` and converts errors of TensorFlow's operations to a ValueError that names the images."""
    num_steps = guard.last_step - guard.first_step
    try:
        trainer.fit(
            batches,
            steps_per_epoch=num_steps,
            shuffle=False,
            verbose=0,  # pyright: ignore[reportArgumentType] (inferred from the default "auto")
            callbacks=callbacks,
        )
    except tf.errors.UnavailableError:
        raise  # another process has ended, see `report_lost_process`
    except (tf.errors.OpError, MemoryError) as error:
        raise ValueError(_describe_failure(error, guard.step + 1, guard.images_of)) from error


def _describe_failure(error: Exception, step: int, images_of: Callable[[int], object]) -> str:
    """Returns the error message for an operation that failed during a step."""
    if is_out_of_memory(error):
        reason = "there is not enough memory"
        advice = "Lower `train.batch_size`, `input.train_short_sides` or `input.max_instances`"
    else:
        reason = short_message(error)
        advice = "Check these images"
    return (
        "Every training step must finish. "
        f"Received: step={step}, {reason}, images={images_of(step)}. "
        f"{advice}, then continue from the last checkpoint with `--resume`."
    )
