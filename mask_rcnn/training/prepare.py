"""What a run needs before its first step, checked: data, config, model, initial weights, disk space."""

import shutil
from dataclasses import dataclass

import keras
import tensorflow as tf
from absl import logging

from mask_rcnn.config import Config
from mask_rcnn.data.dataset_arrays import arrays_of
from mask_rcnn.data.records import Dataset
from mask_rcnn.evaluation import iou_types_of
from mask_rcnn.model import dtype_policy
from mask_rcnn.training.distribution import make_strategy
from mask_rcnn.training.mask_rcnn import MaskRCNN
from mask_rcnn.training.sources import read_training_data, with_class_count
from mask_rcnn.training.validation import Validator

GIGABYTE = 1e9


@dataclass(frozen=True)
class Run:
    """A run that is ready for its first step, but for its weights.

    Attributes:
        config: `Config` with the number of classes of the data.
        train_set: `Dataset` to train on.
        model: Compiled `MaskRCNN` with random weights.
        validator: `Validator`, or None without a validation set.
    """

    config: Config
    train_set: Dataset
    model: MaskRCNN
    validator: Validator | None


def prepare(config, data_folder):
    """Reads and checks the data, and builds the model; returns a `Run`.

    Args:
        config: A `Config`.
        data_folder: `Path` for synthetic shapes, if the config names no annotations.
    """
    train_set, val_set, val_path = read_training_data(config, data_folder)
    config = with_class_count(config, train_set)
    check_objects(train_set, val_set, iou_types_of(config)[-1])

    strategy = make_strategy(config.train.strategy, config.train.batch_size)
    keras.utils.set_random_seed(config.train.seed)
    with dtype_policy(config.train.precision), strategy.scope():
        model = MaskRCNN(config, train_set.categories)
        model.compile()
        validator = val_set and Validator(model.predictor, val_set, val_path)
    return Run(config, train_set, model, validator)


def check_objects(train_set, val_set, iou_type):
    """Raises a ValueError without an object to train on; logs a warning without an object to validate on.

    Args:
        train_set: `Dataset`.
        val_set: `Dataset` or None.
        iou_type: Of the score that picks the best weights.
    """
    if not _has_objects(train_set):
        raise ValueError(
            "A training set must have objects that are no crowd regions. "
            f"Received: {train_set.name} with {len(train_set)} images and no object. "
            "Look at it with `mask-rcnn data inspect`."
        )
    if val_set and not _has_objects(val_set):
        logging.warning(
            "%s has no object to find, so %s/AP cannot be measured: the latest weights count as the best.",
            val_set.name,
            iou_type,
        )


def _has_objects(dataset):
    return not arrays_of(dataset).crowd.all()


def check_disk_space(trainer, recipe, run_dir):
    """Raises a ValueError if the disk cannot hold the checkpoints and weights of the whole run.

    Args:
        trainer: Compiled `Trainer` with a built optimizer.
        recipe: `TrainConfig`.
        run_dir: `Path`; need not exist.
    """
    weights = _num_bytes(trainer.variables)
    checkpoint = weights + _num_bytes(trainer.optimizer.variables)
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


def _num_bytes(variables):
    return sum(variable.shape.num_elements() * tf.as_dtype(variable.dtype).size for variable in variables)
