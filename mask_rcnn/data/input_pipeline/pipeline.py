"""Makes training batches from records.

All random numbers are a function of (seed, step, position in the batch). So a resumed run gets exactly the
batches that the interrupted run would have got.
"""

import collections
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import tensorflow as tf
from absl import logging

from mask_rcnn.config import Config
from mask_rcnn.config.checks import check
from mask_rcnn.data.augmentation.augment import make_transforms
from mask_rcnn.data.augmentation.joining_transforms import Transform, num_others
from mask_rcnn.data.input_pipeline.bad_images import BadImages
from mask_rcnn.data.input_pipeline.batching import BatchPlan, batch_plan
from mask_rcnn.data.input_pipeline.ground_truth import make_ground_truths
from mask_rcnn.data.input_pipeline.instance_limits import num_regions
from mask_rcnn.data.input_pipeline.loading import ExampleLoader, UnusableImage
from mask_rcnn.data.input_pipeline.trainable import check_trainable, training_warnings
from mask_rcnn.data.input_pipeline.workers import worker_pool
from mask_rcnn.data.records import Dataset, ImageRecord
from mask_rcnn.data.transforms import padded_size
from mask_rcnn.system.parallel import default_threads

TENSOR_ALIGNMENT = 64  # bytes, the alignment that Eigen needs
PREFETCHED_BATCHES = 2  # one in use and one ready; a batch of 16 images of 800 x 1344 has 200 MB


def training_dataset(
    dataset: Dataset,
    config: Config,
    first_step: int = 0,
    *,
    bad_images: BadImages | None = None,
    transforms: Sequence[Transform] = (),
    shard: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """Returns the training batches from step `first_step` to the last step of the schedule.

    An image that cannot be read is replaced by another one, see `BadImages` and `BatchPlan.candidates`.

    Args:
        dataset: `Dataset`.
        config: `Config`. Batch size, steps and seed are those of `config.train`.
        first_step: Number of steps that are already finished. Defaults to 0.
        bad_images: `BadImages` of the run. Defaults to a new one.
        transforms: Functions `(sample, rng) -> sample`, or functions marked with `takes_others`.
            They run after those of `input.transforms`. Defaults to none.
        shard: (index from 0, count) of the equal part of each batch to return, for distributed training. Its
            images are padded to the size of the whole batch, so that all parts together equal the batch of a
            single process. Defaults to (0, 1): the whole batch.

    Returns:
        A `tf.data.Dataset` of dicts with B = `train.batch_size` / count, G = `input.max_instances`, T =
        `num_regions` (larger if transforms add objects), M = `input.mask_crop_size`, and the smallest padded
        (H, W) for the images of the batch:
        images: `[B, H, W, C]` float32, RGB in 0..255 unless `input.channels` and `input.dtype` say otherwise.
            The padding is 0. It surrounds the image with `input.centered`, else it is at the bottom and
            right.
        image_sizes: `[B, 2]` float32, (height, width) before padding.
        gt_boxes: `[B, T, 4]` float32, yxyx, pixels of the padded image.
        gt_class_ids: `[B, T]` int32. First up to G objects (1..K), then ignored regions (-1), then padding
            (0).
        gt_masks: `[B, G, M, M]` uint8, 0 or 1, the masks inside their boxes. Only with a mask head.
        gt_keypoints: `[B, G, J, 3]` float32, (y, x, visibility), pixels of the padded image. Only with a
            keypoint head.
        seeds: `[B, 2]` int32, the seeds for random sampling in the model, different for each image of each
            step.

    Raises:
        ValueError: Config and data set do not fit together.
    """
    check(
        config.input.padded_size is not None or not config.input.centered,
        "Training with `input.centered` needs a fixed `input.padded_size`.",
        centered=config.input.centered,
        padded_size=config.input.padded_size,
    )
    check_trainable(dataset, config)
    for warning in training_warnings(dataset, config):
        logging.warning("%s: %s", dataset.name, warning)
    ground_truths = make_ground_truths(config)
    loader = ExampleLoader(config, (*make_transforms(config.input), *transforms), ground_truths)
    bad_images = bad_images or BadImages(dataset, config)
    plan = batch_plan(dataset, config)
    size = config.train.batch_size // shard[1]
    positions = range(shard[0] * size, (shard[0] + 1) * size)

    def batches():
        steps = range(first_step, len(plan.order))
        return _batches(dataset, loader, plan, steps=steps, positions=positions, bad_images=bad_images)

    batched = tf.data.Dataset.from_generator(
        batches, output_signature=_signature(config, ground_truths, size)
    )
    batched = batched.apply(tf.data.experimental.assert_cardinality(len(plan.order) - first_step))
    batched = batched.map(lambda batch: {**batch, "images": tf.cast(batch["images"], "float32")})
    return batched.prefetch(PREFETCHED_BATCHES)


def images_of_step(
    dataset: Dataset, config: Config, step: int, *, bad_images: BadImages | None = None
) -> list[ImageRecord]:
    """Returns the records of the images in the batch of a step, for error messages.

    First come the images of the batch, in order. Then come the images that transforms join with them.

    Args:
        dataset: `Dataset`.
        config: `Config`.
        step: Index of the step, from 0.
        bad_images: `BadImages` of the run, whose images were replaced. Defaults to None.
    """
    plan = batch_plan(dataset, config, step + 1)
    count = num_others(make_transforms(config.input))
    bad = bad_images.reasons if bad_images else ()
    candidates = [
        _candidates(plan, step=step, position=position, num_others=count)
        for position in range(config.train.batch_size)
    ]
    own_indices = [first for first, *_ in candidates]
    other_indices = [indices for _, *others in candidates for indices in others]
    return [
        next(dataset.images[index] for index in indices if index not in bad)
        for indices in own_indices + other_indices
    ]


def _candidates(plan: BatchPlan, *, step: int, position: int, num_others: int):
    """Returns an iterator of candidates for a position of a batch, and one for each image to join with it."""
    others = (plan.other_candidates(step, position, number) for number in range(num_others))
    return [plan.candidates(step, position), *others]


def _signature(config, ground_truths, size):
    """Returns the output signature `{name: tf.TensorSpec}` of a batch of `size` images."""
    signature = {
        "images": tf.TensorSpec((size, None, None, config.input.channels), _image_dtype(config)),
        "image_sizes": tf.TensorSpec((size, 2), "float32"),
        "gt_boxes": tf.TensorSpec((size, None, 4), "float32"),
        "gt_class_ids": tf.TensorSpec((size, None), "int32"),
        "seeds": tf.TensorSpec((size, 2), "int32"),
    }
    for ground_truth in ground_truths:
        for name, (shape, dtype) in ground_truth.spec().items():
            signature[name] = tf.TensorSpec((size, *shape), dtype)
    return signature


def _image_dtype(config):
    """Returns the dtype of resized images: float32 for "bilinear", else `input.dtype`."""
    return "float32" if config.input.resize == "bilinear" else config.input.dtype


def _batches(dataset, loader, plan, *, steps, positions, bad_images):
    """Yields the images at `positions` of the batches of `steps` as dicts of NumPy arrays."""
    config, size = loader.config, len(positions)
    rows, count = num_regions(dataset, config.input.max_instances), num_others(loader.transforms)
    ahead = 2 * (config.data.workers or default_threads())
    num_slots = size + ahead + 1  # images of a batch, images loaded ahead, and one replacement
    sample_bytes = np.dtype(_image_dtype(config)).itemsize
    slot_bytes = config.input.channels * sample_bytes * config.input.long_side**2
    with worker_pool(loader, config.data.workers, slots=num_slots, slot_bytes=slot_bytes) as submit:

        def start(number, indices):
            seed = _seed(config, number // size, positions[number % size])
            record, *others = _detached(dataset, indices)
            return submit(record, seed, others, slot=number % num_slots)

        def example(request):
            number, candidates, indices, future = request
            result = future.result()
            while isinstance(result, UnusableImage):
                bad_images.add(indices[result.position], result.reason)
                indices[result.position] = bad_images.first_good(candidates[result.position])
                result = start(number, indices).result()
            return {**result, "seed": _seed(config, number // size, positions[number % size])}

        pending, batch = collections.deque(), []
        for number in range(steps.start * size, steps.stop * size + ahead):
            step, position = number // size, positions[number % size]
            if step < steps.stop:
                candidates = _candidates(plan, step=step, position=position, num_others=count)
                indices = [bad_images.first_good(each) for each in candidates]
                pending.append((number, candidates, indices, start(number, indices)))
            if number >= steps.start * size + ahead:
                batch.append(example(pending.popleft()))
            if len(batch) == size:
                step = (number - ahead) // size
                sizes = _other_sizes(dataset, loader, plan, step=step, positions=positions)
                yield _batch(batch, sizes, config=config, ground_truths=loader.ground_truths, rows=rows)
                batch = []


def _detached(dataset, indices):
    """Returns the records at `indices` with their own annotations, without the arrays of the whole data set.

    This makes them small enough to send to worker processes.
    """
    records = (dataset.images[index] for index in indices)
    return [replace(record, annotations=tuple(record.annotations)) for record in records]


def _seed(config, step, position):
    """Returns the seed of the image at a position of the batch of a step."""
    return config.train.seed, step * config.train.batch_size + position


def _other_sizes(dataset, loader, plan, *, step, positions):
    """Returns the sizes of the images of a batch that other processes load.

    If another process replaces an unreadable image, the size of the replacement is not known here.
    """
    config, count, sizes = loader.config, num_others(loader.transforms), []
    for position in range(config.train.batch_size):
        if config.input.padded_size or position in positions:
            continue
        indices = [next(each) for each in _candidates(plan, step=step, position=position, num_others=count)]
        record, *others = _detached(dataset, indices)
        sizes.append(loader.output_size(record, _seed(config, step, position), others))
    return sizes


def _batch(examples, other_sizes, *, config, ground_truths, rows):
    """Joins examples of `ExampleLoader` to a batch with the smallest possible padding.

    Args:
        examples: List of dicts.
        other_sizes: List of (height, width) of images that other processes load for the same batch.
        config: `Config`.
        ground_truths: Tuple of the `GroundTruth`s of the heads.
        rows: Minimum number of rows of `gt_boxes`.
    """
    settings = config.input
    sizes = np.array([example["image"].shape[:2] for example in examples])
    padded = padded_size(np.max([*sizes, *other_sizes], axis=0), settings.pad_multiple, settings.padded_size)
    images = _aligned_empty((len(examples), *padded, settings.channels), _image_dtype(config))
    for image, example in zip(images, examples, strict=True):
        (top, left), (height, width) = example["origin"], example["image"].shape[:2]
        bottom, right = top + height, left + width
        image[:top] = image[bottom:] = image[top:bottom, :left] = image[top:bottom, right:] = 0
        image[top:bottom, left:right] = example["image"]
    rows = max([rows, *(len(example["gt_class_ids"]) for example in examples)])
    specs = {"gt_boxes": ((rows, 4), "float32"), "gt_class_ids": ((rows,), "int32")}
    for ground_truth in ground_truths:
        specs |= ground_truth.spec()
    return {
        "images": images,
        "image_sizes": sizes.astype("float32"),
        "seeds": np.array([example["seed"] for example in examples], "int32"),
        **{name: _stacked([each[name] for each in examples], *spec) for name, spec in specs.items()},
    }


def _aligned_empty(shape, dtype):
    """Returns an uninitialized array that is aligned so that TensorFlow uses its memory without a copy."""
    num_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(num_bytes + TENSOR_ALIGNMENT, "uint8")
    start = -memory.ctypes.data % TENSOR_ALIGNMENT
    return memory[start : start + num_bytes].view(dtype).reshape(shape)


def _stacked(values: Sequence[np.ndarray], shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Returns arrays stacked to `[B, *shape]`, with padding rows of zeros after the rows of each array."""
    stacked = np.zeros((len(values), *shape), dtype)
    for index, value in enumerate(values):
        stacked[index, : len(value)] = value
    return stacked
