"""A whole run: data and a config go in, trained weights with their score and their pictures come out."""

import contextlib
import functools
from pathlib import Path

import keras
import tensorflow as tf
from absl import logging

from mask_rcnn import config_io
from mask_rcnn.coco_results import write_json
from mask_rcnn.data.images import read_image
from mask_rcnn.data.pipeline import images_of_step, training_dataset
from mask_rcnn.model import build_parts, dtype_policy, training_model
from mask_rcnn.predict import Predictor
from mask_rcnn.training.callbacks import Validation
from mask_rcnn.training.distribution import exact_gradients, make_strategy
from mask_rcnn.training.initial import initialise
from mask_rcnn.training.loop import run_steps
from mask_rcnn.training.optimizer import build_optimizer
from mask_rcnn.training.plot import plot_losses
from mask_rcnn.training.sources import read_training_data, with_class_count
from mask_rcnn.training.trainer import Trainer
from mask_rcnn.training.validation import Validator
from mask_rcnn.weights import save_weights


def train(config, run_dir, resume=False):
    """Trains a model and writes all that comes of it into a folder.

    The folder holds `config.yaml`; `checkpoints/` to resume from; `log.csv`, a row for each step, and
    `loss.png`; `metrics.jsonl`, a line for each evaluation; `best.weights.h5` and `final.weights.h5`;
    `results.json`, `detections.json` and `pictures/` of the final weights on the validation set.

    Args:
        config: a `Config`.
        run_dir: the folder; made if it is not there.
        resume: go on from the last checkpoint in it. The same config ends with the same weights as a run
            that was never interrupted.

    Returns:
        `Metrics` of the final weights; None without a validation set.
    """
    run_dir = Path(run_dir)
    check_run_dir(run_dir, resume)
    train_set, val_set, val_path = read_training_data(config, run_dir / "data")
    config = with_class_count(config, train_set)
    write_config(run_dir / "config.yaml", config)

    exact_gradients()
    strategy = make_strategy(config.train.strategy, config.train.batch_size)
    keras.utils.set_random_seed(config.train.seed)
    with dtype_policy(config.train.precision), strategy.scope():
        parts = build_parts(config)
        initialise(parts, config, train_set.categories)
        model = training_model(parts, config)
        trainer = Trainer(model.input, model.output)
        trainer.compile(optimizer=build_optimizer(config.train), jit_compile=False)
        validator = val_set and Validator(Predictor(parts, config, val_set.categories), val_set, val_path)

    save = functools.partial(save_weights, parts=parts, config=config, categories=train_set.categories)
    with named_images(train_set):
        run_steps(
            trainer,
            make_batches=lambda first_step: training_dataset(train_set, config, first_step),
            recipe=config.train,
            run_dir=run_dir,
            validation=validator
            and Validation(validator.evaluate, validator.best_by, lambda: save(run_dir / "best.weights.h5")),
            images_of=lambda step: [str(image.path) for image in images_of_step(train_set, config, step - 1)],
        )
    save(run_dir / "final.weights.h5")
    plot_losses(run_dir / "log.csv", run_dir / "loss.png")
    return validator and write_results(validator, run_dir)


def check_run_dir(run_dir, resume):
    """Makes the folder; one that holds a run already is only touched to resume it."""
    if (run_dir / "log.csv").exists() and not resume:
        raise ValueError(
            f"A new run needs a folder of its own. Received: run_dir={str(run_dir)!r}, which holds a run. "
            "Resume it (`resume=True`, `--resume`), or name another folder."
        )
    run_dir.mkdir(parents=True, exist_ok=True)


def write_config(path, config):
    """Writes the resolved config; says which lines differ from those the run began with."""
    text = config_io.to_yaml(config)
    if path.exists():
        before = path.read_text().splitlines()
        changed = [line.strip() for line in text.splitlines() if line not in before]
        if changed:
            logging.warning("The resumed run goes on with another config: %s.", "; ".join(changed))
    path.write_text(text)


@contextlib.contextmanager
def named_images(dataset):
    """Turns TensorFlow's error about an image that is damaged inside into one that names the file."""
    try:
        yield
    except tf.errors.InvalidArgumentError:
        for image in dataset.images:
            read_image(image.path)
        raise  # no image is to blame


def write_results(validator, run_dir):
    """Writes what the last evaluation found, shows its table and returns its `Metrics`."""
    if validator.metrics is None:  # the run had ended before it was resumed
        validator.evaluate()
    write_json(run_dir / "detections.json", validator.found)
    write_json(run_dir / "results.json", validator.metrics.to_json())
    validator.draw(run_dir / "pictures")
    print(f"{validator.metrics.table()}\n\nWeights, scores and pictures: {run_dir}")
    return validator.metrics
