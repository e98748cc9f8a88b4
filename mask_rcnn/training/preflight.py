"""Runs all checks of a run before its first step."""

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from absl import logging

from mask_rcnn import config_io
from mask_rcnn.config import Config, DataConfig, TrainConfig
from mask_rcnn.system.memory import GIGABYTE
from mask_rcnn.training.check_runner import Checks
from mask_rcnn.training.checkpoint import checkpoints
from mask_rcnn.training.data_sources import check_sources
from mask_rcnn.training.fingerprint import check_fingerprint, dataset_digest, fingerprint
from mask_rcnn.training.initial_weights import check_initial_weights
from mask_rcnn.training.loop import restore_or_initialize
from mask_rcnn.training.memory_estimate import describe_memory, free_memory, num_bytes
from mask_rcnn.training.prepare import Run, prepare
from mask_rcnn.training.processes import RunContext, run_context
from mask_rcnn.training.run_folder import CHECKPOINTS
from mask_rcnn.training.trainer import Trainer


def preflight(
    config: Config,
    run_dir: Path,
    *,
    run_id: str | None,
    data_folder: Path,
    user_objects: Mapping[str, Any] | None = None,
    strategy: tf.distribute.Strategy | None = None,
    report: Callable[[str, str], object] = lambda check, result: None,
) -> tuple[Run, dict[str, Any]]:
    """Runs all checks of a run and prepares it for its first step.

    Args:
        config: `Config`.
        run_dir: `Path` of the run folder. Nothing in it is changed.
        run_id: Id of the run. It may be None in a process that is not the chief.
        data_folder: `Path` for synthetic shapes, which are drawn if there are no other data.
        user_objects: Dict with the arguments `model`, `train_data` and `val_data` of `train`. Defaults to
            none of them.
        strategy: As in `prepare`.
        report: Function that is called after each check with its name and a text of its result. Defaults to
            no report.

    Returns:
        run: `Run` with the weights for its next step.
        state: Dict for its checkpoints with `step`, `run` and `fingerprint`.

    Raises:
        ValueError, OSError: At least one check failed. The message says how to fix each failure.
    """
    user_objects, checks = user_objects or {}, Checks(report)
    check_sources(config.data, user_objects.get("train_data"), user_objects.get("val_data"))
    is_new = not checkpoints(run_dir / CHECKPOINTS)
    if is_new and user_objects.get("model") is None:
        checks.run(
            "initial weights", lambda: check_initial_weights(config), lambda _: _initial_weights(config)
        )
    run = prepare(config, data_folder, **user_objects, checks=checks, strategy=strategy)
    report("model", f"{run.model.count_params():,} parameters, {run.model.precision}")
    state = _restore(run, run_dir, run_id)
    report("run folder", f"continues after step {state['step']}" if state["step"] else "new")
    if run_context(run.model.distribute_strategy).is_chief:
        checks.run("disk space", lambda: check_disk_space(run.model, run.config.train, run_dir))
        # Before the evaluation, because the process may keep memory that the evaluation frees.
        text, fits = describe_memory(run.model, run.train_set, free_memory())
        report("memory", text)
        if not fits:
            logging.warning("Memory: %s", text)
    if run.evaluator:
        checks.run("evaluation", run.evaluator.dry_run, lambda _: "works")
    checks.finish()
    return run, state


def _restore(run: Run, run_dir: Path, run_id: str | None) -> dict[str, Any]:
    """Loads the last checkpoint of a run, or its initial weights if it has none.

    Returns:
        Dict of the run: `step`, `run` and `fingerprint`.

    Raises:
        ValueError: The checkpoint is of other data or of another config.
    """
    current = fingerprint(run.config, run.train_set)
    validation = run.evaluator and dataset_digest(run.evaluator.dataset)
    check_same_run({**current, "validation": validation}, run_context(run.model.distribute_strategy))
    state = restore_or_initialize(
        run.model,
        run_dir,
        run_id,
        initialize=run.initialize,
        check=lambda state: check_fingerprint(state.get("fingerprint"), current),
    )
    return {**state, "fingerprint": current}


def check_same_run(current: dict[str, Any], context: RunContext) -> None:
    """Raises a ValueError in all processes if their configs or data differ.

    Config, images, objects and their order must be equal. The paths of the data may differ.

    Args:
        current: `fingerprint` of this process, with the `dataset_digest` of its validation set.
        context: `RunContext`.
    """
    fingerprints = [
        {**each, "config": dataclasses.replace(config_io.from_text(each["config"]), data=DataConfig())}
        for each in context.gather(current)
    ]
    different = [f"process {rank}" for rank, each in enumerate(fingerprints) if each != fingerprints[0]]
    if different:
        raise ValueError(
            "All processes of a run must have the same config and the same data. "
            f"Received: {', '.join(different)}, different from process 0. "
            "Start all with the same command and the same files."
        )


def _initial_weights(config: Config) -> str:
    if config.train.init_weights:
        return f"of the detector {config.train.init_weights}"
    return f"of the backbone: {config.backbone.weights}" if config.backbone.weights else "random"


def check_disk_space(trainer: Trainer, recipe: TrainConfig, run_dir: Path) -> str:
    """Returns a text with the disk space that the whole run needs, and with the free space.

    Args:
        trainer: Compiled `Trainer` with a built optimizer.
        recipe: `TrainConfig`.
        run_dir: `Path` of the run folder. It need not exist.

    Raises:
        ValueError: The disk has too little free space.
    """
    weights = num_bytes(trainer.variables)
    checkpoint = weights + num_bytes(trainer.optimizer.variables)
    # A new checkpoint is written before an old one is deleted: one more than `keep_checkpoints`. There are
    # three weights files: best, final, and one that is being written.
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
