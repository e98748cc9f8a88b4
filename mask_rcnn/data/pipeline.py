"""From records to training batches: dense, numeric, and the same in every run.

Everything random is a function of (seed, step, position in the batch), so that a resumed run gets the very
batches that the interrupted one would have had.
"""

import collections
import math
from dataclasses import replace

import numpy as np
import tensorflow as tf
from absl import logging

from mask_rcnn.config.checks import check
from mask_rcnn.data.augment import make_transforms
from mask_rcnn.data.bad_images import BadImages
from mask_rcnn.data.batching import batch_plan
from mask_rcnn.data.ground_truth import ground_truths
from mask_rcnn.data.instances import num_regions
from mask_rcnn.data.loading import ExampleLoader, UnusableImage
from mask_rcnn.data.others import num_others
from mask_rcnn.data.trainable import check_trainable, training_warnings
from mask_rcnn.data.transforms import padded_size
from mask_rcnn.data.workers import worker_pool
from mask_rcnn.parallel import default_threads

TENSOR_ALIGNMENT = 64  # bytes, of Eigen
PREFETCHED_BATCHES = 2  # one in use, one ready; a batch of 16 at 800 x 1344 is 200 MB


def training_dataset(dataset, config, first_step=0, bad_images=None, transforms=(), share=(0, 1)):
    """Returns the batches for training, from step `first_step` to the last of the schedule.

    An image that cannot be read is replaced by another one, see `BadImages` and `BatchPlan.candidates`.

    Args:
        dataset: a `Dataset`.
        config: a `Config`; batch size, steps and seed are those of `config.train`.
        first_step: steps that a resumed run has finished. Defaults to 0.
        bad_images: the `BadImages` of the run. Defaults to new ones.
        transforms: functions `(sample, rng) -> sample`, or those of `data.others.takes_others`, that are
            applied after those of `input.transforms`.
        share: (number from 0, count) of the equal part of each batch to return, for a process of several. It
            is padded to the size of the whole batch, so that all parts together are the batch of one
            process. Defaults to the whole batch.

    Returns:
        A `tf.data.Dataset` of dicts with B = `train.batch_size` / count, G = `input.max_instances`,
        T = `num_regions` (more in a batch where transforms add objects), M = `input.mask_crop_size`, and
        the smallest (H, W) that holds the images of the batch:
        images: `[B, H, W, C]` float32, RGB, 0..255 unless `input.channels` and `input.dtype` say otherwise,
        zeros around the image (`input.centered`) or after it.
        image_sizes: `[B, 2]` float32, (height, width) before padding.
        gt_boxes: `[B, T, 4]` float32, yxyx, pixels of the padded image.
        gt_class_ids: `[B, T]` int32; at most G objects, then ignored regions (-1), then padding (0).
        gt_masks: `[B, G, M, M]` uint8, 0 or 1, the mask in its box; only if there is a mask head.
        gt_keypoints: `[B, G, J, 3]` float32, (y, x, visibility), pixels of the padded image; only if there
        is a keypoint head.
        seeds: `[B, 2]` int32, of what the model draws; another one for each image of each step.
    """
    check(
        config.input.padded_size is not None or not config.input.centered,
        "Training on images in the middle of their padding needs one `input.padded_size`.",
        centered=config.input.centered,
        padded_size=config.input.padded_size,
    )
    check_trainable(dataset, config)
    for warning in training_warnings(dataset, config):
        logging.warning("%s: %s", dataset.name, warning)
    truths = ground_truths(config)
    loader = ExampleLoader(config, (*make_transforms(config.input), *transforms), truths)
    bad_images = bad_images or BadImages(dataset, config)
    plan = batch_plan(dataset, config)
    size = config.train.batch_size // share[1]
    places = range(share[0] * size, (share[0] + 1) * size)

    def batches():
        return _batches(dataset, loader, plan, range(first_step, len(plan.order)), places, bad_images)

    made = tf.data.Dataset.from_generator(batches, output_signature=_signature(config, truths, size))
    made = made.apply(tf.data.experimental.assert_cardinality(len(plan.order) - first_step))
    made = made.map(lambda batch: {**batch, "images": tf.cast(batch["images"], "float32")})
    return made.prefetch(PREFETCHED_BATCHES)


def images_of_step(dataset, config, step, bad_images=None):
    """Returns the records that the batch of a step is made of: for a message about that batch.

    First those of the places of the batch, in order, then those that transforms of the config join with them.

    Args:
        dataset: a `Dataset`.
        config: a `Config`.
        step: number of the step, from 0.
        bad_images: the `BadImages` of the run, whose images were replaced. Defaults to none.
    """
    plan = batch_plan(dataset, config, step + 1)
    count = num_others(make_transforms(config.input))
    bad = bad_images.reasons if bad_images else ()
    places = [_candidates(plan, step, place, count) for place in range(config.train.batch_size)]
    own, others = [each[0] for each in places], [other for each in places for other in each[1:]]
    return [
        next(dataset.images[index] for index in candidates if index not in bad) for candidates in own + others
    ]


def _candidates(plan, step, place, num_others):
    """Returns iterators of the candidates for a place of a batch, and for each image that joins it."""
    others = (plan.other_candidates(step, place, number) for number in range(num_others))
    return [plan.candidates(step, place), *others]


def _signature(config, truths, size):
    """Returns the arrays of `size` images as they leave Python, `{name: tf.TensorSpec}`."""
    signature = {
        "images": tf.TensorSpec((size, None, None, config.input.channels), _image_dtype(config)),
        "image_sizes": tf.TensorSpec((size, 2), "float32"),
        "gt_boxes": tf.TensorSpec((size, None, 4), "float32"),
        "gt_class_ids": tf.TensorSpec((size, None), "int32"),
        "seeds": tf.TensorSpec((size, 2), "int32"),
    }
    for truth in truths:
        for name, (shape, dtype) in truth.spec().items():
            signature[name] = tf.TensorSpec((size, *shape), dtype)
    return signature


def _image_dtype(config):
    """Only "bilinear" has fractions of gray levels."""
    return "float32" if config.input.resize == "bilinear" else config.input.dtype


def _batches(dataset, loader, plan, steps, places, bad_images):
    """Yields the images at `places` of the batches of `steps`, dicts of NumPy arrays."""
    config, size = loader.config, len(places)
    rows, count = num_regions(dataset, config.input.max_instances), num_others(loader.transforms)
    ahead = 2 * (config.data.workers or default_threads())
    num_slots = size + ahead + 1  # those of a batch, those ahead, and the one that is being replaced
    sample_bytes = np.dtype(_image_dtype(config)).itemsize
    slot_bytes = config.input.channels * sample_bytes * config.input.long_side**2
    with worker_pool(loader, config.data.workers, num_slots, slot_bytes) as submit:

        def start(number, step, place, indices):
            record, *others = _detached(dataset, indices)
            return submit(record, _seed(config, step, place), others, number % num_slots)

        def example(number, step, place, candidates, indices, future):
            found = future.result()
            while isinstance(found, UnusableImage):
                bad_images.add(indices[found.place], found.reason)
                indices[found.place] = bad_images.first_good(candidates[found.place])
                found = start(number, step, place, indices).result()
            return {**found, "seed": _seed(config, step, place)}

        pending, batch = collections.deque(), []
        for number in range(steps.start * size, steps.stop * size + ahead):
            step, place = number // size, places[number % size]
            if step < steps.stop:
                candidates = _candidates(plan, step, place, count)
                indices = [bad_images.first_good(each) for each in candidates]
                pending.append(
                    (number, step, place, candidates, indices, start(number, step, place, indices))
                )
            if number >= steps.start * size + ahead:
                batch.append(example(*pending.popleft()))
            if len(batch) == size:
                step = (number - ahead) // size
                sizes = _other_sizes(dataset, loader, plan, step, places)
                yield _batch(batch, sizes, config, loader.truths, rows)
                batch = []


def _detached(dataset, indices):
    """Returns records with annotations of their own instead of the arrays of the whole data set."""
    records = (dataset.images[index] for index in indices)
    return [replace(record, annotations=tuple(record.annotations)) for record in records]


def _seed(config, step, place):
    """Returns the seed of the image at a place of the batch of a step."""
    return config.train.seed, step * config.train.batch_size + place


def _other_sizes(dataset, loader, plan, step, places):
    """Returns the sizes of the images of a batch that are not at `places`: other processes load them.

    An image that cannot be read, and is replaced there, is not known here.
    """
    config, count, sizes = loader.config, num_others(loader.transforms), []
    for place in range(config.train.batch_size):
        if config.input.padded_size or place in places:
            continue
        indices = [next(each) for each in _candidates(plan, step, place, count)]
        record, *others = _detached(dataset, indices)
        sizes.append(loader.output_size(record, _seed(config, step, place), others))
    return sizes


def _batch(examples, other_sizes, config, truths, rows):
    """Joins examples of `ExampleLoader` to a batch, as small as its images allow.

    Args:
        examples: list of dicts.
        other_sizes: list of (height, width) that the padded size must hold, too.
        config: a `Config`.
        truths: the `GroundTruth`s of the heads.
        rows: least number of rows of `gt_boxes`.
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
    for truth in truths:
        specs |= truth.spec()
    return {
        "images": images,
        "image_sizes": sizes.astype("float32"),
        "seeds": np.array([example["seed"] for example in examples], "int32"),
        **{name: _stacked([each[name] for each in examples], *spec) for name, spec in specs.items()},
    }


def _aligned_empty(shape, dtype):
    """Returns an array whose memory TensorFlow takes over as a tensor; it copies others."""
    num_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(num_bytes + TENSOR_ALIGNMENT, "uint8")
    start = -memory.ctypes.data % TENSOR_ALIGNMENT
    return memory[start : start + num_bytes].view(dtype).reshape(shape)


def _stacked(values, shape, dtype):
    """Stacks arrays to `[B, *shape]`, with zeros after the rows of each."""
    stacked = np.zeros((len(values), *shape), dtype)
    for rows, value in zip(stacked, values, strict=True):
        rows[: len(value)] = value
    return stacked
