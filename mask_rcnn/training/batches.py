"""Converts the data that a user gives to `fit` and `evaluate` into batches, and checks the first batch."""

import collections.abc
import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from mask_rcnn.config import Config
from mask_rcnn.data.input_pipeline.bad_images import BadImages
from mask_rcnn.data.input_pipeline.pipeline import images_of_step, training_dataset
from mask_rcnn.data.records import Dataset
from mask_rcnn.ops.matching import IGNORED
from mask_rcnn.structures import Category
from mask_rcnn.training.processes import RunContext

BATCH_SIZE = 1  # for validation: no image is padded to the size of another image
SEEDS = "seeds"

Batch: TypeAlias = dict[str, tf.Tensor]
# Data that `keras.Model.fit` accepts, with batches that are dicts.
BatchSource: TypeAlias = (
    tf.data.Dataset
    | tf.distribute.DistributedDataset
    | keras.utils.PyDataset
    | Iterator[Batch]
    | dict[str, np.ndarray]
)


class Detector(Protocol):
    """The attributes of `MaskRCNN` that its batches depend on."""

    config: Config

    @property
    def categories(self) -> tuple[Category, ...]:
        """Class id i is `categories[i - 1]`."""
        ...

    @property
    def training_model(self) -> keras.Model:
        """Functional model from a batch to its losses."""
        ...


def as_batches(
    x: Dataset | BatchSource, model: Detector, *, batch_size: int | None = None, epochs: int | None = None
) -> dict[str, Any]:
    """Returns the arguments of `keras.Model.fit` or `evaluate` for the data that the user gave.

    Args:
        x: `Dataset`, or any data that Keras accepts, with batches that are dicts.
        model: `MaskRCNN`.
        batch_size: Number of images per batch, for a `Dataset` or for arrays. Defaults to `train.batch_size`
            of the config for training on a `Dataset`, and to 1 otherwise.
        epochs: Number of passes through a `Dataset` in training. Defaults to None: one pass without random
            changes, for evaluation.

    Returns:
        Dict with
        x: The batches.
        steps_per_epoch: Number of steps per epoch. Only for training on a `Dataset`.
        batch_size: Number of images per batch. Only for a dict of arrays.

    Raises:
        ValueError: The first batch does not fit the model, or the data set has other classes than the model.
    """
    if isinstance(x, Dataset):
        return _from_records(x, model, batch_size=batch_size, epochs=epochs)
    _check(_first_batch(x), model)
    return {"x": x, "batch_size": batch_size or BATCH_SIZE} if isinstance(x, dict) else {"x": x}


@contextlib.contextmanager
def batches_of(
    data: Dataset | tf.data.Dataset, config: Config, context: RunContext
) -> Iterator[tuple[Callable[[int], tf.data.Dataset], Callable[[int], list[str] | str]]]:
    """Yields two functions: one makes the batches from a given step on, the other names the images of a step.

    The first function takes the number of finished steps and returns a `tf.data.Dataset`. The second one
    takes a step, counted from 1, and returns the paths of its images, or "unknown" if `data` are batches.

    Args:
        data: `Dataset`, or a `tf.data.Dataset` of batches, which is repeated.
        config: `Config`.
        context: `RunContext`. With several processes, each process gets its part of every batch.
    """
    if not isinstance(data, Dataset):
        repeated = data.repeat()
        if context.num_processes > 1:
            repeated = repeated.with_options(_shard_each_batch())
        yield lambda first_step: repeated.skip(first_step), lambda step: "unknown"
        return
    with BadImages(data, config) as bad_images:
        yield (
            lambda first_step: _process_batches(
                context,
                lambda shard: training_dataset(data, config, first_step, bad_images=bad_images, shard=shard),
            ),
            lambda step: [
                str(image.path) for image in images_of_step(data, config, step - 1, bad_images=bad_images)
            ],
        )


def _shard_each_batch() -> tf.data.Options:
    options = tf.data.Options()  # by default, TensorFlow splits by input file if the data set reads files
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return options


def _process_batches(
    context: RunContext, make_batches: Callable[[tuple[int, int]], tf.data.Dataset]
) -> tf.data.Dataset:
    """Returns the batches for the replicas of this process.

    Args:
        context: `RunContext`.
        make_batches: Function from a share (see `training_dataset`) to the batches of one process.
    """
    if context.num_processes == 1:
        return make_batches((0, 1))  # `fit` distributes them to the replicas
    batches = make_batches((context.rank, context.num_processes))
    num_replicas = context.strategy.num_replicas_in_sync // context.num_processes
    spec: Any = batches.element_spec
    num_images = spec["seeds"].shape[0] // num_replicas
    return context.strategy.distribute_datasets_from_function(lambda _: batches.rebatch(num_images))


def validation_batches(dataset: Dataset, model: Detector, share: tuple[int, int] = (0, 1)) -> tf.data.Dataset:
    """Returns the images of a data set in batches of one, without random changes, for validation losses.

    Args:
        dataset: `Dataset`.
        model: `MaskRCNN` with the classes of the data set.
        share: (index from 0, number of shares) of the share of one process. Joined in the order of their
            indices, the shares equal the batches of a single process. Defaults to (0, 1): all images.

    Returns:
        A `tf.data.Dataset` of batches as from `training_dataset`, with B = 1.
    """
    config = _evaluation_config(dataset, model, BATCH_SIZE)
    start, stop = (number * len(dataset) // share[1] for number in (share[0], share[0] + 1))
    return training_dataset(dataset, config, start).take(stop - start)


def _from_records(
    dataset: Dataset, model: Detector, *, batch_size: int | None, epochs: int | None
) -> dict[str, Any]:
    if epochs is None:
        return {"x": training_dataset(dataset, _evaluation_config(dataset, model, batch_size or BATCH_SIZE))}
    _check_classes(dataset, model)
    batch_size = batch_size or model.config.train.batch_size
    steps = max(len(dataset) // batch_size, 1)
    config = _with_steps(model.config, batch_size, steps * epochs)
    return {"x": training_dataset(dataset, config), "steps_per_epoch": steps}


def _evaluation_config(dataset: Dataset, model: Detector, batch_size: int) -> Config:
    """Returns a `Config` for one pass through a data set: each image once, without random changes."""
    _check_classes(dataset, model)
    config = without_random_changes(model.config)
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, repeat_threshold=0.0))
    return _with_steps(config, batch_size, len(dataset))


def _check_classes(dataset: Dataset, model: Detector) -> None:
    model_names = [category.name for category in model.categories]
    dataset_names = [category.name for category in dataset.categories]
    if model_names != dataset_names:
        raise ValueError(
            "A data set must have the classes of the model, in its order. "
            f"Received: {', '.join(dataset_names)} in {dataset.name}; "
            f"the model has {', '.join(model_names)}. "
            f"Make the model with `num_classes={len(dataset_names)}` or with the categories of the data set."
        )


def without_random_changes(config: Config) -> Config:
    """Returns a `Config` that resizes training images as in evaluation and applies no random transforms."""
    short_sides = (config.input.short_side,)
    settings = dataclasses.replace(
        config.input, horizontal_flip=0.0, transforms=(), train_short_sides=short_sides
    )
    return dataclasses.replace(config, input=settings)


def _with_steps(config: Config, batch_size: int, steps: int) -> Config:
    train = dataclasses.replace(
        config.train, batch_size=batch_size, reference_batch_size=batch_size, accumulate=1, steps=steps
    )
    return dataclasses.replace(config, train=train)


def add_seeds(batch: Batch, step: int | tf.Tensor) -> Batch:
    """Returns a batch that has `seeds`, `[B, 2]` int32: a different pair for each image and step.

    Seeds that the batch already has are kept.

    Args:
        batch: Dict of tensors.
        step: Number of the step.
    """
    if SEEDS in batch:
        return batch
    num_images = tf.shape(batch["images"])[0]
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    image_indices = tf.cast(replica, "int32") * num_images + tf.range(num_images)
    steps = tf.fill([num_images], tf.cast(tf.convert_to_tensor(step), "int32"))
    return {**batch, SEEDS: tf.stack([steps, image_indices], axis=1)}


def _first_batch(x: Any) -> Any:
    """Returns the first batch, or its `tf.TypeSpec`s if reading the batch would consume it."""
    if isinstance(x, dict):
        return x
    if isinstance(x, tf.distribute.DistributedDataset):
        return {}
    if isinstance(x, tf.data.Dataset):
        return next(iter(x.take(1)), None)
    if isinstance(x, collections.abc.Sequence) or hasattr(x, "__getitem__"):  # a PyDataset
        return x[0]
    return getattr(x, "element_spec", {})


def _check(batch: Any, model: Detector) -> None:
    """Raises a ValueError unless a batch has the names, shapes and values that the model needs."""
    if batch is None:
        raise ValueError("Expected at least one batch. Received: data without a batch. Check its source.")
    batch = batch[0] if isinstance(batch, tuple | list) else batch
    inputs: Any = model.training_model.input
    expected = {name: tensor for name, tensor in inputs.items() if name != SEEDS}
    if not isinstance(batch, dict):
        raise ValueError(
            f"A batch must be a dict with {', '.join(expected)}. Received: {type(batch).__name__}. "
            "Map your data to such dicts, or give a `Dataset` of `mask_rcnn.read_coco`."
        )
    missing = [name for name in expected if name not in batch]
    if missing and batch:
        raise ValueError(
            f"A batch must have {', '.join(expected)}. Received: {', '.join(batch)}. "
            f"Add {', '.join(missing)}" + _advice(missing) + "."
        )
    for name in expected.keys() & batch.keys():
        _check_shape(name, batch[name], expected[name])
    if batch and not isinstance(batch["gt_boxes"], tf.TypeSpec):
        _check_values(batch, model.config.num_classes)


def _advice(missing: list[str]) -> str:
    heads = {"gt_masks": "mask_head", "gt_keypoints": "keypoint_head"}
    unused = [heads[name] for name in missing if name in heads]
    return f", or build the model without its head: `{unused[0]}: null`" if unused else ""


def _check_shape(name: str, value: Any, expected: Any) -> None:
    shape = tf.TensorShape(value.shape)
    if not shape.is_compatible_with(expected.shape):
        raise ValueError(
            f"`{name}` of a batch must have the shape {_shape_text(expected.shape)}. "
            f"Received: {_shape_text(shape)}. Pad or resize it; `input.max_instances` and "
            "`input.mask_crop_size` of the config are the number of objects and the side of their masks."
        )


def _shape_text(shape: Any) -> str:
    return f"[{', '.join('?' if side is None else str(side) for side in tuple(shape))}]"


def _check_values(batch: dict[str, Any], num_classes: int) -> None:
    boxes, class_ids = np.asarray(batch["gt_boxes"]), np.asarray(batch["gt_class_ids"])
    sizes = np.asarray(batch["image_sizes"])
    if class_ids.min(initial=0) < IGNORED or class_ids.max(initial=0) > num_classes:
        raise ValueError(
            f"`gt_class_ids` must be 1 to {num_classes}, 0 for padding or -1 for ignored regions. "
            f"Received: {class_ids.min()} to {class_ids.max()} in the first batch. "
            "Count classes from 1, or make the model with more classes."
        )
    objects = boxes[class_ids != 0]
    empty = int((objects[:, 2:] <= objects[:, :2]).any(axis=1).sum())
    if empty or not np.isfinite(objects).all():
        raise ValueError(
            "`gt_boxes` must be (y1, x1, y2, x2) in pixels, with y1 < y2 and x1 < x2. "
            f"Received: {empty} of {len(objects)} boxes in the first batch that are not, such as "
            f"{objects[(objects[:, 2:] <= objects[:, :2]).any(axis=1)][:1].tolist()}. "
            "Give padding the class id 0."
        )
    limits = np.repeat(sizes[:, None], boxes.shape[1], axis=1)[class_ids != 0]
    outside = int((objects[:, 2:] > limits + 1).any(axis=1).sum())
    if outside or (len(objects) and objects.max() <= 1):
        raise ValueError(
            "`gt_boxes` must be (y1, x1, y2, x2) in pixels of the resized image. "
            f"Received: {outside} of {len(objects)} boxes in the first batch beyond their image, with values "
            f"up to {objects.max():g}. Is x first, or are these fractions of the size?"
        )
