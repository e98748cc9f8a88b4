"""The training loop of a run: restores the last checkpoint and trains until the last step."""

import tensorflow as tf
from absl import logging

from mask_rcnn.errors import is_out_of_memory, short_message
from mask_rcnn.system.terminal import print_line
from mask_rcnn.training.callbacks import (
    Checkpointing,
    CsvLog,
    LossScaleReport,
    NanGuard,
    StepLogs,
    StopTogether,
    TensorBoardLog,
)
from mask_rcnn.training.checkpoint import OtherRunError, restore_latest
from mask_rcnn.training.diagnosis import first_bad_tensor
from mask_rcnn.training.processes import run_context
from mask_rcnn.training.progress import Progress
from mask_rcnn.training.run_folder import CHECKPOINTS, LOG, TENSORBOARD
from mask_rcnn.training.signals import StopSignals
from mask_rcnn.training.validation import Evaluation, is_out_of_patience


def restore_or_initialize(trainer, run_dir, run_id, initialize=lambda: None, check=lambda state: None):
    """Loads the newest checkpoint, or the initial weights if the run has no checkpoint.

    Only the chief process reads files, because the files of the run are on its machine. All other processes
    get its weights.

    Args:
        trainer: Compiled `Trainer`.
        run_dir: `Path` of the run folder.
        run_id: Id of the run.
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
    if context.is_chief and state is None:
        if (run_dir / LOG).exists():
            logging.warning("%s has no checkpoint: the run starts again from its first step.", run_dir)
        initialize()
        state = {"step": 0, "run": run_id}
    elif context.is_chief:
        print_line(f"Resumed after step {state['step']}.")
    context.copy_from_chief([*trainer.variables, *trainer.optimizer.variables])
    return context.gather(state)[0]


def run_steps(
    trainer,
    make_batches,
    recipe,
    run_dir,
    state,
    *,
    validator=None,
    callbacks=(),
    images_of=lambda step: "unknown",
):
    """Trains until the last step of the recipe, or until a callback stops the run.

    Only the chief process writes files.

    Args:
        trainer: Compiled `Trainer`.
        make_batches: Function from the number of finished steps to a `tf.data.Dataset` with the batches of
            all remaining steps.
        recipe: `TrainConfig`.
        run_dir: `Path` for `checkpoints/`, `log.csv`, `metrics.jsonl` and `tensorboard/`.
        state: Dict from `restore_or_initialize`. Its `step` is updated at each checkpoint.
        validator: `Validator`. The caller evaluates after the last step. Defaults to None: no evaluation.
        callbacks: Additional Keras callbacks. Defaults to none.
        images_of: Function from a step, counted from 1, to the names of its images, for error messages.
            Defaults to "unknown".

    Raises:
        ValueError: A step failed, a loss was not finite, or `make_batches` gave too few batches.
    """
    first, last = state["step"], recipe.scaled_steps
    context = run_context(trainer.distribute_strategy)
    judges = bool(validator) and context.is_chief
    if first >= last or context.any(judges and is_out_of_patience(run_dir, validator, recipe.patience)):
        return

    def bad_tensor_of(step):
        return first_bad_tensor(trainer, next(iter(make_batches(step - 1))))

    guard = NanGuard(first, last, images_of, bad_tensor_of)
    with StopSignals() as stop, Progress(first, last, recipe.batch_size) as progress:
        checkpointing = Checkpointing(run_dir / CHECKPOINTS, first, last, recipe, state, stop, context)
        own_callbacks = [StepLogs(), guard, checkpointing]
        if context.is_chief:
            own_callbacks = [
                StepLogs(),
                CsvLog(run_dir / LOG, first, last, recipe.batch_size),
                TensorBoardLog(run_dir / TENSORBOARD, first, last),
                guard,
                LossScaleReport(first, last),
                checkpointing,
                progress,  # after the checkpoint, because writing to a closed terminal may fail
            ]
        if validator:
            own_callbacks.append(Evaluation(run_dir, first, last, recipe, validator, stop))
        try:
            trainer.fit(
                make_batches(first),
                steps_per_epoch=last - first,
                shuffle=False,
                verbose=0,
                callbacks=[*own_callbacks, *callbacks, StopTogether(first, last, context)],
            )
        except tf.errors.UnavailableError:
            raise  # another process has ended, see `all_processes`
        except (tf.errors.OpError, MemoryError) as error:
            raise ValueError(_describe_failure(error, guard.step + 1, images_of)) from error
    if guard.step != last and not trainer.stop_training:
        raise ValueError(
            f"`make_batches` must give the batches of all steps. Received: {guard.step} of {last} steps. "
            "Repeat the data set."
        )


def _describe_failure(error, step, images_of):
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
