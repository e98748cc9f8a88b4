"""From records to training batches: dense, numeric, of few shapes, and the same in every run.

Everything random is a function of (seed, step, position in the batch), so that a resumed run gets the very
batches that the interrupted one would have had.
"""

import functools
import os

import numpy as np
import tensorflow as tf
from absl import logging

from mask_rcnn.data.bit_depth import check_bit_depth
from mask_rcnn.data.images import read_image
from mask_rcnn.data.instances import instance_limit_warning, num_regions, select_instances
from mask_rcnn.data.keypoints import check_keypoints, flip_keypoints, keypoint_array, mirrored_order
from mask_rcnn.data.masks import mask_in_box
from mask_rcnn.data.transforms import (
    Resize,
    flip_boxes,
    input_size,
    pad_image,
    padded_size,
    padding_origin,
    resize_image,
)

# Long side / short side at which another group of batches begins: between square and 4:3, and beyond 3:2.
ASPECT_BOUNDS = (1.2, 1.55)

IGNORED = -1  # class id of a region that is neither a positive nor a negative
PREFETCHED_BATCHES = 2  # one in use, one ready; a batch of 16 at 800 x 1344 is 200 MB


def shape_groups(sizes):
    """Number of the group of each image: batches hold images of one group, so they need little padding.

    Args:
        sizes: `[N, 2]`, (height, width) of each image.

    Returns:
        `[N]` int64: even for landscape, odd for portrait; 0 and 1 are nearly square.
    """
    height, width = np.moveaxis(np.asarray(sizes), -1, 0)
    aspect = np.maximum(height, width) / np.minimum(height, width)
    return 2 * np.digitize(aspect, ASPECT_BOUNDS) + (height > width)


def training_order(sizes, batch_size, steps, seed):
    """The complete order of a run: which image is where in which batch.

    Every epoch is a permutation, and every batch is of one of the `shape_groups`. Images that fill no
    batch wait for the next epoch; none is lost.

    Args:
        sizes: `[N, 2]`, (height, width) of each image.
        batch_size: images a batch.
        steps: batches in all.
        seed: of the permutations.

    Returns:
        `[steps, batch_size]` int64, indices of images.
    """
    groups = shape_groups(sizes)
    waiting = {group: np.empty(0, "int64") for group in np.unique(groups)}
    batches = [np.empty((0, batch_size), "int64")]
    num_batches = epoch = 0
    while num_batches < steps:
        random = np.random.default_rng([seed, epoch])
        shuffled = random.permutation(len(sizes))
        full = []
        for group, queue in waiting.items():
            queue = np.concatenate([queue, shuffled[groups[shuffled] == group]])
            end = len(queue) // batch_size * batch_size
            full.append(queue[:end].reshape(-1, batch_size))
            waiting[group] = queue[end:]
        batches.append(random.permutation(np.concatenate(full)))
        num_batches += len(batches[-1])
        epoch += 1
    return np.concatenate(batches)[:steps]


def padded_sizes(sizes, config):
    """The few shapes that batches have.

    Args:
        sizes: `[N, 2]`, (height, width) of each image of the data set.
        config: an `InputConfig`.

    Returns:
        {group: (height, width)}: what holds every image of the group at every training scale.
    """
    shapes = np.unique(sizes, axis=0)
    largest = {}
    for group, (height, width) in zip(shape_groups(shapes).tolist(), shapes.tolist(), strict=True):
        for short_side in config.train_short_sides:
            size = input_size((height, width), short_side, config)
            largest[group] = np.maximum(largest.get(group, 0), size)
    return {
        group: padded_size(size, config.pad_multiple, config.padded_size) for group, size in largest.items()
    }


def training_dataset(dataset, config, first_step=0):
    """Batches for training, from step `first_step` to the last of the schedule.

    Args:
        dataset: a `Dataset`.
        config: a `Config`; batch size, steps and seed are those of `config.train`.
        first_step: steps that a resumed run has behind it.

    Returns:
        A `tf.data.Dataset` of dicts with B = `train.batch_size`, G = `input.max_instances`,
        T = `num_regions`, M = `input.mask_crop_size` and one (H, W) for each group of shapes:
        images: `[B, H, W, 3]` float32, RGB, 0..255, zeros around the image (`input.centered`) or behind it.
        image_sizes: `[B, 2]` float32, (height, width) before padding.
        gt_boxes: `[B, T, 4]` float32, yxyx, pixels of the padded image.
        gt_class_ids: `[B, T]` int32; at most G objects, then ignored regions (-1), then padding (0).
        gt_masks: `[B, G, M, M]` uint8, 0 or 1, the mask in its box; only if there is a mask head.
        gt_keypoints: `[B, G, J, 3]` float32, (y, x, visibility), pixels of the resized image; only if there
        is a keypoint head.
        seeds: `[B, 2]` int32, of what the model draws; another one for each image of each step.
    """
    check_trainable(dataset, config)
    for warning in (
        instance_limit_warning(dataset, config.input.max_instances),
        check_bit_depth(dataset, config.input.bit_depth),
    ):
        if warning:
            logging.warning("%s: %s", dataset.name, warning)
    train = config.train
    order = training_order(dataset.sizes, train.batch_size, train.scaled_steps, train.seed)
    padded = padded_sizes(dataset.sizes, config.input)
    padded_of_image = [padded[group] for group in shape_groups(dataset.sizes)]
    signature = _signature(config, num_regions(dataset, config.input.max_instances))
    example = functools.partial(_example, dataset, config, signature, order.ravel(), padded_of_image)

    def read(path):
        return read_image(os.fsdecode(path), config.input.bit_depth)

    def load(position):
        values = tf.numpy_function(example, [position], [spec.dtype for spec in signature.values()])
        values = {
            name: tf.ensure_shape(value, spec.shape)
            for (name, spec), value in zip(signature.items(), values, strict=True)
        }
        image = tf.numpy_function(read, [values.pop("path")], tf.uint8)
        image = tf.ensure_shape(image, [None, None, 3])
        image = tf.cond(values.pop("flipped"), lambda: tf.reverse(image, [1]), lambda: image)
        image = resize_image(image, tf.cast(values["image_sizes"], "int32"), config.input.resize)
        images = pad_image(image, values.pop("padded_size"), values.pop("origin"))
        return {"images": images, **values}

    positions = tf.data.Dataset.range(first_step * train.batch_size, order.size)
    examples = positions.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return examples.batch(train.batch_size, drop_remainder=True).prefetch(PREFETCHED_BATCHES)


def images_of_step(dataset, config, step):
    """The records that the batch of a step is made of, in order: for a message about that batch."""
    train = config.train
    order = training_order(dataset.sizes, train.batch_size, step + 1, train.seed)
    return [dataset.images[index] for index in order[step]]


def _signature(config, num_regions):
    """What `_example` returns, by name; `[B, ...]` of a batch without the B."""
    instances, side = config.input.max_instances, config.input.mask_crop_size
    signature = {
        "path": tf.TensorSpec((), "string"),
        "flipped": tf.TensorSpec((), "bool"),
        "padded_size": tf.TensorSpec((2,), "int32"),
        "origin": tf.TensorSpec((2,), "int32"),
        "image_sizes": tf.TensorSpec((2,), "float32"),
        "gt_boxes": tf.TensorSpec((num_regions, 4), "float32"),
        "gt_class_ids": tf.TensorSpec((num_regions,), "int32"),
        "seeds": tf.TensorSpec((2,), "int32"),
    }
    if config.mask_head is not None:
        signature["gt_masks"] = tf.TensorSpec((instances, side, side), "uint8")
    if config.keypoint_head is not None:
        signature["gt_keypoints"] = tf.TensorSpec((instances, len(config.keypoint_head.names), 3), "float32")
    return signature


def _example(dataset, config, signature, order, padded_of_image, position):
    """Everything of one training example but its pixels; the values of `_signature`."""
    index = order[position]
    record = dataset.images[index]
    original = (record.height, record.width)
    random = np.random.default_rng([config.train.seed, position])
    short_side = random.choice(config.input.train_short_sides)
    flipped = random.random() < config.input.horizontal_flip
    size = input_size(original, short_side, config.input)
    resize = Resize(original, size, padding_origin(size, padded_of_image[index], config.input.centered))

    objects, ignored = select_instances(record.annotations, config.input.max_instances)
    boxes = np.array([annotation.box for annotation in objects + ignored], "float32").reshape(-1, 4)
    class_ids = np.array([annotation.class_id for annotation in objects] + [IGNORED] * len(ignored), "int32")
    boxes = resize.apply_boxes(flip_boxes(boxes, record.width) if flipped else boxes)
    filling = signature["gt_boxes"].shape[0] - len(boxes)
    values = [
        np.array(os.fsencode(record.path)),
        np.bool_(flipped),
        np.array(padded_of_image[index], "int32"),
        np.array(resize.origin, "int32"),
        np.array(resize.resized, "float32"),
        np.pad(boxes, ((0, filling), (0, 0))),
        np.pad(class_ids, (0, filling)),
        np.array([config.train.seed, position], "int32"),
    ]
    if config.mask_head is not None:
        values.append(_masks(objects, config.input, flipped))
    if config.keypoint_head is not None:
        keypoints = _keypoints(objects, config.keypoint_head, record.width if flipped else None)
        keypoints = resize.apply_keypoints(keypoints)
        values.append(np.pad(keypoints, ((0, config.input.max_instances - len(objects)), (0, 0), (0, 0))))
    return values


def _masks(objects, config, flipped):
    """`[G, M, M]` uint8, the masks of the objects in their boxes; ignored regions need none."""
    side = config.mask_crop_size
    masks = np.zeros((config.max_instances, side, side), "uint8")
    for mask, annotation in zip(masks, objects, strict=False):
        mask[:] = mask_in_box(annotation.segmentation, annotation.box, side)
    return masks[:, :, ::-1].copy() if flipped else masks


def _keypoints(objects, config, mirror_width):
    """`[N, J, 3]` of the objects, mirrored in an image of `mirror_width` pixels unless that is None."""
    keypoints = keypoint_array(objects, len(config.names), config.half_pixel)
    if mirror_width is None:
        return keypoints
    return flip_keypoints(keypoints, mirror_width, mirrored_order(config.names, config.flip_pairs))


def check_trainable(dataset, config):
    """Raises a ValueError unless all objects have what the heads of a model are trained and evaluated on.

    Args:
        dataset: a `Dataset`.
        config: a `Config`.
    """
    if config.keypoint_head is not None:
        check_keypoints(dataset, config.keypoint_head.names)
    if config.mask_head is None:
        return
    without = [
        f"annotation {annotation.id} of image {image.id}"
        for image in dataset.images
        for annotation in image.annotations
        if annotation.segmentation is None and not annotation.crowd
    ]
    if without:
        raise ValueError(
            "The mask head needs a segmentation for every object. "
            f"Received: {dataset.name} with {len(without)} objects without one, as {', '.join(without[:5])}. "
            "Annotate them, or train boxes only with `mask_head: null`."
        )
