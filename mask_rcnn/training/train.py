"""A whole run: data and a config go in, trained weights with their score and their pictures come out."""

import contextlib
import functools
import tempfile
import time
from pathlib import Path

import tensorflow as tf

from mask_rcnn.coco_results import write_json
from mask_rcnn.errors import PartialFailure, short_message
from mask_rcnn.paths import local_path
from mask_rcnn.terminal import say
from mask_rcnn.training.batches import batches_of
from mask_rcnn.training.budget import within_budget
from mask_rcnn.training.distribution import make_strategy
from mask_rcnn.training.loop import run_steps
from mask_rcnn.training.plot import plot_losses
from mask_rcnn.training.preflight import preflight
from mask_rcnn.training.processes import all_processes, run_context
from mask_rcnn.training.run_folder import (
    FINAL_WEIGHTS,
    LOG,
    check_run_folder,
    run_folder,
    run_id_of,
    write_config,
)
from mask_rcnn.training.validation import evaluate_step


def train(config, run_dir, *, model=None, train_data=None, val_data=None, callbacks=(), resume=True):
    """Trains a model and writes all that comes of it into a folder.

    `preflight` checks everything that can be known before the first step. With `train.budget` some steps are
    timed first, and the run gets as many steps as it has time for, see `within_budget`.

    With several processes (`train.strategy` multiworker), all call this with the same arguments, and each
    reads its share of the images of every step and of every evaluation. Only the chief, process 0, writes. If
    a process ends, the others end with an error, and a new start resumes the run.

    The folder holds `config.yaml`; `checkpoints/` to resume from; `log.csv`, a row for each step, and
    `loss.png`; `metrics.jsonl`, a line for each evaluation; `best.weights.h5` and `final.weights.h5`;
    `results.json`, `detections.json` and `pictures/` of the final weights on the validation set.

    SIGTERM, SIGHUP and Ctrl-C save the state of the last finished step, and then raise `SystemExit` or
    `KeyboardInterrupt`.

    Args:
        config: A `Config`.
        run_dir: The folder; made if it does not exist.
        model: A `MaskRCNN` to train from the weights that it has. Its config must be `config`, but for the
            sections `train` and `data`. Defaults to a new model with the initial weights of `config`.
        train_data: A `Dataset` of `read_coco`; or a `tf.data.Dataset` of batches, dicts as `training_model`
            takes them, which is repeated. A resumed run passes over the batches of its earlier steps: it is
            exact if the same batches come in each process. Defaults to `config.data.train_annotations`, and
            without them to synthetic shapes.
        val_data: A `Dataset` to evaluate. Defaults to `config.data.val_annotations`; with `train_data` to
            none.
        callbacks: Keras callbacks, which count all steps as one epoch. They come after those of the run, so
            that the checkpoint of a step is saved before them. Their own state is not saved. With several
            processes, they run in each. Defaults to none.
        resume: Whether to continue a run in the folder from its last checkpoint. It must have the same
            training data, order and config (see `fingerprint.MAY_CHANGE` for the fields that may differ), and
            ends with the same weights as a run that was never interrupted. False allows only a new run.
            Defaults to True.

    Returns:
        `Metrics` of the final weights, in each process; None without a validation set.

    Raises:
        PartialFailure: The weights are written, but their evaluation failed.
        ValueError: Config, model, data or folder do not fit each other; said before the first step.
    """
    run_dir, started = local_path(run_dir), time.perf_counter()
    strategy = _strategy(config, model)
    context = run_context(strategy)
    with all_processes(context), _folders(run_dir, resume, context) as (run_id, data_folder):
        given = {"model": model, "train_data": train_data, "val_data": val_data}
        prepare_run = functools.partial(
            preflight, run_dir=run_dir, run_id=run_id, data_folder=data_folder, given=given, strategy=strategy
        )
        if config.train.budget:
            config = within_budget(config, run_dir, prepare_run, context, started)
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
                validator=run.validator,
                callbacks=callbacks,
                images_of=images_of,
            )
        # If the optimizer keeps averages, they become the weights, also where `fit` had no step left.
        run.model.optimizer.finalize_variable_values(run.model.trainable_variables)
        if context.is_chief:
            run.model.save_weights(run_dir / FINAL_WEIGHTS)
            plot_losses(run_dir / LOG, run_dir / "loss.png")
        metrics = run.validator and evaluate_final_weights(run.model, run.validator, run_dir, state["step"])
        context.wait()
        return metrics


def _strategy(config, model=None):
    if model is not None:
        return model.distribute_strategy
    return make_strategy(config.train.strategy, config.train.batch_size)


@contextlib.contextmanager
def _folders(run_dir, resume, context):
    """Yields the id of the run and the folder for synthetic shapes; of the run folder only for the chief."""
    if context.is_chief:
        with run_folder(run_dir, resume) as run_id:
            yield run_id, run_dir / "data"
    else:
        with tempfile.TemporaryDirectory() as data_folder:
            yield None, Path(data_folder)


def check(config, run_dir, *, resume=True):
    """Runs all checks that `train` makes before its first step, with a line for each, and changes nothing.

    Args:
        config, run_dir, resume: As in `train`.
    """
    run_dir = local_path(run_dir)
    strategy = _strategy(config)
    context = run_context(strategy)
    check_run_folder(run_dir, resume)

    def report(check, found):
        say(f"{check}: {found}")

    with tempfile.TemporaryDirectory() as data_folder:
        run, state = preflight(
            config, run_dir, run_id_of(run_dir), Path(data_folder), strategy=strategy, report=report
        )
        with batches_of(run.train_set, run.config, context) as (make_batches, _):
            batch = next(iter(make_batches(state["step"])), None)
        images = batch and strategy.experimental_local_results(batch["images"])[0]
        report("next batch", "none, all steps are done" if batch is None else str(images.shape))
    say("All checks passed.")


def evaluate_final_weights(model, validator, run_dir, step):
    """Evaluates the final weights, writes what they detect, shows the table and returns its `Metrics`.

    All processes of a run must call it; the chief writes.

    Args:
        model, validator, run_dir, step: As in `evaluate_step`.
    """
    try:
        evaluate_step(model, validator, run_dir, step, step, run_dir / "pictures")
        if not validator.context.is_chief:
            return validator.metrics
        write_json(run_dir / "detections.json", validator.found)
        write_json(run_dir / "results.json", validator.metrics.to_json())
    except tf.errors.UnavailableError:
        raise  # another process has ended, see `all_processes`
    except Exception as error:
        raise PartialFailure(
            f"The trained weights are saved as {run_dir / FINAL_WEIGHTS}, but they cannot be evaluated. "
            f"Received: {type(error).__name__}: {short_message(error)}. "
            "Correct this, then repeat the evaluation: `mask-rcnn train --resume`, or `mask-rcnn evaluate`."
        ) from error
    say(f"{validator.metrics.table()}\n\nWeights, scores and pictures: {run_dir}")
    return validator.metrics
