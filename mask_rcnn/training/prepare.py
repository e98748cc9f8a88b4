"""Reads the data of a run and builds its model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf

from mask_rcnn.config import Config
from mask_rcnn.data.records import Dataset
from mask_rcnn.heads import iou_types_of
from mask_rcnn.model import dtype_policy
from mask_rcnn.structures import Category
from mask_rcnn.training.batches import as_batches, validation_batches, without_random_changes
from mask_rcnn.training.check_runner import Checks
from mask_rcnn.training.distribution import make_strategy, strategy_name
from mask_rcnn.training.evaluator import Evaluator
from mask_rcnn.training.mask_rcnn import MaskRCNN
from mask_rcnn.training.run_folder import config_changes
from mask_rcnn.training.training_data import check_objects, read_training_data, with_class_count


@dataclass(frozen=True, kw_only=True)
class Run:
    """Data, model and evaluator of a run. Only the initial weights are still missing.

    Attributes:
        config: `Config` with the number of classes of the data.
        train_set: `Dataset` for training, or a `tf.data.Dataset` of batches.
        model: Compiled `MaskRCNN`.
        initialize: Function without arguments that loads the initial weights of a new run.
        evaluator: `Evaluator`, or None without a validation set.
    """

    config: Config
    train_set: Dataset | tf.data.Dataset
    model: MaskRCNN
    initialize: Callable[[], None]
    evaluator: Evaluator | None


def prepare(
    config: Config,
    data_folder: Path,
    *,
    model: MaskRCNN | None = None,
    train_data: Dataset | tf.data.Dataset | None = None,
    val_data: Dataset | None = None,
    checks: Checks | None = None,
    strategy: tf.distribute.Strategy | None = None,
) -> Run:
    """Reads and checks the data and builds the model; returns a `Run`.

    Args:
        config: `Config`.
        data_folder: `Path` for synthetic shapes, which are drawn if there are no other data.
        model, train_data, val_data: As in `train`.
        checks: `Checks`. Defaults to new ones.
        strategy: `tf.distribute.Strategy` for a new model. Defaults to the strategy of `config`.
    """
    train_set, val_set, val_path = read_training_data(
        config, data_folder, train_data=train_data, val_data=val_data, checks=checks
    )
    dataset = next((each for each in (train_set, val_set) if isinstance(each, Dataset)), None)
    config = with_class_count(config, dataset)
    config = without_random_changes(config) if config.data.overfit else config
    check_objects(train_set, val_set, iou_types_of(config)[-1])
    categories = None if dataset is None else dataset.categories
    if model is None:
        strategy = strategy or make_strategy(config.train.strategy, config.train.batch_size)
        trained = _new_model(config, categories, strategy)
    else:
        trained = _model_of_user(config, categories, model)
    if not isinstance(train_set, Dataset):
        as_batches(train_set, trained)
    with dtype_policy(trained.precision), trained.distribute_strategy.scope():
        evaluator = Evaluator(trained.predictor, val_set, val_path) if val_set else None
    if val_set and config.train.validation_loss:
        validation_batches(val_set, trained)  # raises an error for wrong classes before the first step
    return Run(
        config=config,
        train_set=train_set,
        model=trained,
        initialize=trained.load_initial_weights if model is None else lambda: None,
        evaluator=evaluator,
    )


def _new_model(
    config: Config, categories: Sequence[Category] | None, strategy: tf.distribute.Strategy
) -> MaskRCNN:
    """Returns a new compiled `MaskRCNN` with random weights."""
    keras.utils.set_random_seed(config.train.seed)
    with strategy.scope():
        model = MaskRCNN(config, categories, precision=config.train.precision)
        model.compile()
    return model


def _model_of_user(config: Config, categories: Sequence[Category] | None, model: MaskRCNN) -> MaskRCNN:
    """Returns a compiled `MaskRCNN` with the config of the run that shares the networks of `model`."""
    _check_model(model, config, categories)
    with model.distribute_strategy.scope():
        trained = MaskRCNN(config, model.categories, precision=model.precision, parts=model.parts)
        trained.compile()
    return trained


def _check_model(model: MaskRCNN, config: Config, categories: Sequence[Category] | None) -> None:
    """Raises a ValueError unless a model that the user gave has the config and the classes of the run."""
    changes = config_changes(model.config, config)
    changes = [change for change in changes if not change.startswith(("train.", "data."))]
    model_names = [category.name for category in model.categories]
    names = [category.name for category in categories or ()]
    if names and model_names != names:
        changes.append(f"classes: {', '.join(model_names)} -> {', '.join(names)}")
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
