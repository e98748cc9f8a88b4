"""The steps of a run, from the last checkpoint to the end."""

from pathlib import Path

from mask_rcnn.training.callbacks import (
    Checkpointing,
    CsvLog,
    Evaluation,
    NanGuard,
    TensorBoardLog,
)
from mask_rcnn.training.checkpoint import restore_latest
from mask_rcnn.training.progress import Progress


def run_steps(trainer, make_batches, recipe, run_dir, validation=None, images_of=lambda step: "unknown"):
    """Trains up to the last step of the recipe; goes on from a checkpoint where there is one.

    Args:
        trainer: compiled `Trainer`.
        make_batches: function from the number of finished steps to a `tf.data.Dataset` of the batches
            of all steps that are left.
        recipe: `TrainConfig`.
        run_dir: folder for `checkpoints/`, `log.csv`, `metrics.jsonl` and `tensorboard/`.
        validation: `Validation`; None does not evaluate.
        images_of: function from a step, counted from 1, to the names of its images, for errors.

    Returns:
        dict with `step`, finished steps; `metrics`, of the last evaluation; `best`, the best score or None.
    """
    run_dir = Path(run_dir)
    with trainer.distribute_strategy.scope():
        trainer.optimizer.build(trainer.trainable_variables)
        state = restore_latest(run_dir / "checkpoints", trainer) or {"step": 0, "metrics": {}, "best": None}
    first, last = state["step"], recipe.scaled_steps
    if first:
        print(f"Resumed after step {first} of {last}.", flush=True)
    if first >= last:
        return state

    callbacks = [
        CsvLog(run_dir / "log.csv", first, last, recipe.batch_size),
        TensorBoardLog(run_dir / "tensorboard", first, last),
        NanGuard(first, last, images_of),
    ]
    if validation:
        path = run_dir / "metrics.jsonl"
        callbacks += [Evaluation(path, first, last, recipe.evaluate_every, validation, state)]
    folder = run_dir / "checkpoints"
    callbacks += [Checkpointing(folder, first, last, recipe.checkpoint_every, recipe.keep_checkpoints, state)]
    with Progress(first, last, recipe.batch_size) as progress:
        trainer.fit(
            make_batches(first),
            steps_per_epoch=last - first,
            shuffle=False,
            verbose=0,
            callbacks=[progress, *callbacks],
        )
    if state["step"] != last:
        raise ValueError(
            f"`make_batches` must give the batches of all steps. Received: {state['step']} of {last} steps. "
            "Repeat the data set."
        )
    return state
