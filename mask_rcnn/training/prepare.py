"""Reads the data of a run and builds its model."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import tensorflow as tf

from mask_rcnn.config import Config
from mask_rcnn.data.records import Dataset
from mask_rcnn.heads import iou_types_of
from mask_rcnn.model import dtype_policy
from mask_rcnn.training.batches import as_batches, validation_batches, without_random_changes
from mask_rcnn.training.distribution import make_strategy, strategy_name
from mask_rcnn.training.mask_rcnn import MaskRCNN
from mask_rcnn.training.run_folder import config_changes
from mask_rcnn.training.training_data import check_objects, read_training_data, with_class_count
from mask_rcnn.training.validation import Validator


@dataclass(frozen=True)
class Run:
    """Data, model and validator of a run. Only the initial weights are still missing.

    Attributes:
        config: `Config` with the number of classes of the data.
        train_set: `Dataset` for training, or a `tf.data.Dataset` of batches.
        model: Compiled `MaskRCNN`.
        initialize: Function without arguments that loads the initial weights of a new run.
        validator: `Validator`, or None without a validation set.
    """

    config: Config
    train_set: Dataset | tf.data.Dataset
    model: MaskRCNN
    initialize: Callable
    validator: Validator | None


def prepare(config, data_folder, model=None, train_data=None, val_data=None, checks=None, strategy=None):
    """Reads and checks the data and builds the model; returns a `Run`.

    Args:
        config: `Config`.
        data_folder: `Path` for synthetic shapes, which are drawn if there are no other data.
        model, train_data, val_data: As in `train`.
        checks: `Checks`. Defaults to new ones.
        strategy: `tf.distribute.Strategy` for a new model. Defaults to the strategy of `config`.
    """
    train_set, val_set, val_path = read_training_data(config, data_folder, train_data, val_data, checks)
    named = next((each for each in (train_set, val_set) if isinstance(each, Dataset)), None)
    config = with_class_count(config, named)
    config = without_random_changes(config) if config.data.overfit else config
    check_objects(train_set, val_set, iou_types_of(config)[-1])
    if model is None and strategy is None:
        strategy = make_strategy(config.train.strategy, config.train.batch_size)
    trained = _model(config, model, named and named.categories, strategy)
    if not isinstance(train_set, Dataset):
        as_batches(train_set, trained)
    with dtype_policy(trained.precision), trained.distribute_strategy.scope():
        validator = val_set and Validator(trained.predictor, val_set, val_path)
    if val_set and config.train.validation_loss:
        validation_batches(val_set, trained)  # raises an error for wrong classes before the first step
    initialize = trained.load_initial_weights if model is None else lambda: None
    return Run(config, train_set, trained, initialize, validator)


def _model(config, given, categories, strategy):
    """Returns a compiled `MaskRCNN` for a run: a new one, or one that shares the networks of a given one."""
    if given is None:
        keras.utils.set_random_seed(config.train.seed)
        precision, parts = config.train.precision, None
    else:
        _check_model(given, config, categories)
        strategy, precision, parts = given.distribute_strategy, given.precision, given.parts
        categories = given.categories
    with strategy.scope():
        model = MaskRCNN(config, categories, precision=precision, parts=parts)
        model.compile()
    return model


def _check_model(model, config, categories):
    """Raises a ValueError unless a model that the user gave has the config and the classes of the run."""
    changes = config_changes(model.config, config)
    changes = [change for change in changes if not change.startswith(("train.", "data."))]
    ours, theirs = ([each.name for each in classes or ()] for classes in (model.categories, categories))
    if theirs and ours != theirs:
        changes.append(f"classes: {', '.join(ours)} -> {', '.join(theirs)}")
    if changes:
        listing = "\n  ".join(changes)
        raise ValueError(
            "A model must have the config and the classes of the run; `train` and `data` may differ. "
            f"Received, model -> run:\n  {listing}\n"
            "Take the config from the model: `dataclasses.replace(model.config, train=...)`."
        )
    if config.train.strategy not in ("auto", strategy_name(model.distribute_strategy)):
        raise ValueError(
            "A model must be made under the strategy of the run. "
            f"Received: train.strategy={config.train.strategy!r}, a model made under "
            f"{type(model.distribute_strategy).__name__}. Make it inside `with strategy.scope():`, or change "
            "`train.strategy`."
        )
