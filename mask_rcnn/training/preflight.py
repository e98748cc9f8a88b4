"""Every check of a run before its first step."""

import dataclasses
import shutil

from absl import logging

from mask_rcnn import config_io
from mask_rcnn.config import DataConfig
from mask_rcnn.training.checkpoint import checkpoints
from mask_rcnn.training.checks import Checks
from mask_rcnn.training.fingerprint import check_fingerprint, digest, fingerprint
from mask_rcnn.training.initial import check_initial_weights
from mask_rcnn.training.loop import restore_or_initialize
from mask_rcnn.training.memory_estimate import GIGABYTE, describe_memory, free_memory, num_bytes
from mask_rcnn.training.prepare import prepare
from mask_rcnn.training.processes import run_context
from mask_rcnn.training.run_folder import CHECKPOINTS
from mask_rcnn.training.sources import check_sources


def preflight(
    config, run_dir, run_id, data_folder, *, given=None, strategy=None, report=lambda check, found: None
):
    """Checks a run, and makes it ready for its first step.

    Args:
        config: A `Config`.
        run_dir: `Path` of the run, in which nothing is changed.
        run_id: Id of the run.
        data_folder: `Path` for synthetic shapes, if there are no other data.
        strategy: As in `prepare`.
        given: Dict of `model`, `train_data` and `val_data` of `train`. Defaults to none of them.
        report: Function of the name of a check and a text of what it found, called after each check.

    Returns:
        run: `Run` with the weights of its next step.
        state: Dict for its checkpoints: `step`, `run` and `fingerprint`.

    Raises:
        ValueError, OSError: Checks fail; the message says what to do about each.
    """
    given, checks = given or {}, Checks(report)
    check_sources(config.data, given.get("train_data"), given.get("val_data"))
    is_new = not checkpoints(run_dir / CHECKPOINTS)
    if is_new and given.get("model") is None:
        checks.run(
            "initial weights", lambda: check_initial_weights(config), lambda _: _initial_weights(config)
        )
    run = prepare(config, data_folder, **given, checks=checks, strategy=strategy)
    report("model", f"{run.model.count_params():,} parameters, {run.model.precision}")
    state = _restore(run, run_dir, run_id)
    report("run folder", f"continues after step {state['step']}" if state["step"] else "new")
    if run_context(run.model.distribute_strategy).is_chief:
        checks.run("disk space", lambda: check_disk_space(run.model, run.config.train, run_dir))
        # Before the evaluation, after which freed memory may stay with the process.
        text, fits = describe_memory(run.model, run.train_set, free_memory())
        report("memory", text)
        if not fits:
            logging.warning("Memory: %s", text)
    if run.validator:
        checks.run("evaluation", run.validator.rehearse, lambda _: "works")
    checks.finish()
    return run, state


def _restore(run, run_dir, run_id):
    """Loads the last checkpoint of a run, which must be of the same data and config, or its initial weights.

    Returns:
        Dict of the run: `step`, `run` and `fingerprint`.
    """
    mark = fingerprint(run.config, run.train_set)
    validation = run.validator and digest(run.validator.dataset)
    check_same_run({**mark, "validation": validation}, run_context(run.model.distribute_strategy))
    state = restore_or_initialize(
        run.model,
        run_dir,
        run_id,
        run.initialize,
        lambda state: check_fingerprint(state.get("fingerprint"), mark),
    )
    return {**state, "fingerprint": mark}


def check_same_run(mark, context):
    """Raises a ValueError in all processes unless they have the same config, images, objects and order.

    The paths of the data may differ.

    Args:
        mark: `fingerprint` of this process, with the `digest` of its validation set.
        context: `RunContext`.
    """
    marks = [
        {**each, "config": dataclasses.replace(config_io.from_text(each["config"]), data=DataConfig())}
        for each in context.gather(mark)
    ]
    others = [f"process {rank}" for rank, other in enumerate(marks) if other != marks[0]]
    if others:
        raise ValueError(
            "All processes of a run must have the same config and the same data. "
            f"Received: {', '.join(others)} with others than process 0. "
            "Start all with the same command and the same files."
        )


def _initial_weights(config):
    if config.train.init_weights:
        return f"of the detector {config.train.init_weights}"
    return f"of the backbone: {config.backbone.weights}" if config.backbone.weights else "random"


def check_disk_space(trainer, recipe, run_dir):
    """Returns a text of the space that the checkpoints and weights of the whole run need, and that there is.

    Args:
        trainer: Compiled `Trainer` with a built optimizer.
        recipe: `TrainConfig`.
        run_dir: `Path`; need not exist.

    Raises:
        ValueError: The disk is too small.
    """
    weights = num_bytes(trainer.variables)
    checkpoint = weights + num_bytes(trainer.optimizer.variables)
    # One checkpoint is written before an old one is deleted; best and final weights, and one being written.
    needed = (recipe.keep_checkpoints + 1) * checkpoint + 3 * weights
    present = sum(path.stat().st_size for path in run_dir.rglob("*.h5"))
    existing = next(path for path in (run_dir, *run_dir.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < needed - present:
        raise ValueError(
            f"The run needs {(needed - present) / GIGABYTE:.1f} GB for checkpoints and weights. "
            f"Received: {str(run_dir)!r} on a disk with {free / GIGABYTE:.1f} GB free. "
            "Free some space, lower `train.keep_checkpoints`, or choose a folder on another disk."
        )
    return f"{(needed - present) / GIGABYTE:.1f} GB needed, {free / GIGABYTE:.1f} GB free"
