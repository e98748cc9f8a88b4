"""From records to training batches: dense, numeric, of few shapes, and the same in every run.

Everything random is a function of (seed, step, position in the batch), so that a resumed run gets the very
batches that the interrupted one would have had.
"""

import numpy as np
import tensorflow as tf
from absl import logging

from mask_rcnn.data.bad_images import BadImages
from mask_rcnn.data.batching import batch_plan
from mask_rcnn.data.instances import num_regions, select_instances
from mask_rcnn.data.keypoints import flip_keypoints, keypoint_array, mirrored_order
from mask_rcnn.data.masks import mask_in_box
from mask_rcnn.data.trainable import check_trainable, training_warnings
from mask_rcnn.data.transforms import (
    Resize,
    flip_boxes,
    input_size,
    pad_image,
    padding_origin,
    resize_image,
)

IGNORED = -1  # class id of a region that is neither a positive nor a negative
PREFETCHED_BATCHES = 2  # one in use, one ready; a batch of 16 at 800 x 1344 is 200 MB


def training_dataset(dataset, config, first_step=0, bad_images=None):
    """Returns the batches for training, from step `first_step` to the last of the schedule.

    An image that cannot be read is replaced by another one, see `BadImages` and `BatchPlan.candidates`.

    Args:
        dataset: a `Dataset`.
        config: a `Config`; batch size, steps and seed are those of `config.train`.
        first_step: steps that a resumed run has finished. Defaults to 0.
        bad_images: the `BadImages` of the run. Defaults to new ones.

    Returns:
        A `tf.data.Dataset` of dicts with B = `train.batch_size`, G = `input.max_instances`,
        T = `num_regions`, M = `input.mask_crop_size` and few different (H, W):
        images: `[B, H, W, 3]` float32, RGB, 0..255, zeros around the image (`input.centered`) or after it.
        image_sizes: `[B, 2]` float32, (height, width) before padding.
        gt_boxes: `[B, T, 4]` float32, yxyx, pixels of the padded image.
        gt_class_ids: `[B, T]` int32; at most G objects, then ignored regions (-1), then padding (0).
        gt_masks: `[B, G, M, M]` uint8, 0 or 1, the mask in its box; only if there is a mask head.
        gt_keypoints: `[B, G, J, 3]` float32, (y, x, visibility), pixels of the resized image; only if there
        is a keypoint head.
        seeds: `[B, 2]` int32, of what the model draws; another one for each image of each step.
    """
    check_trainable(dataset, config)
    for warning in training_warnings(dataset, config):
        logging.warning("%s: %s", dataset.name, warning)
    bad_images = bad_images or BadImages(dataset, config)
    plan = batch_plan(dataset, config)
    signature = _signature(config, num_regions(dataset, config.input.max_instances))

    def example(position):
        step, place = divmod(int(position), config.train.batch_size)
        index, image = bad_images.first_readable(plan.candidates(step, place))
        seed = [config.train.seed, int(position)]
        values = {
            **_geometry(dataset.images[index], config, plan.size(step), np.random.default_rng(seed)),
            "image": image,
            "seeds": seed,
        }
        return [_padded(values[name], spec) for name, spec in signature.items()]

    def load(position):
        values = tf.numpy_function(example, [position], [spec.dtype for spec in signature.values()])
        values = {
            name: tf.ensure_shape(value, spec.shape)
            for (name, spec), value in zip(signature.items(), values, strict=True)
        }
        image, flipped = values.pop("image"), values.pop("flipped")
        image = tf.cond(flipped, lambda: tf.reverse(image, [1]), lambda: image)
        image = resize_image(image, tf.cast(values["image_sizes"], "int32"), config.input.resize)
        images = pad_image(image, values.pop("padded_size"), values.pop("origin"))
        return {"images": images, **values}

    positions = tf.data.Dataset.range(first_step * config.train.batch_size, plan.order.size)
    examples = positions.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return examples.batch(config.train.batch_size, drop_remainder=True).prefetch(PREFETCHED_BATCHES)


def images_of_step(dataset, config, step, bad_images=None):
    """Returns the records that the batch of a step is made of, in order: for a message about that batch.

    Args:
        dataset: a `Dataset`.
        config: a `Config`.
        step: number of the step, from 0.
        bad_images: the `BadImages` of the run, whose images were replaced. Defaults to none.
    """
    plan = batch_plan(dataset, config, step + 1)
    bad = bad_images.reasons if bad_images else ()
    return [
        next(dataset.images[index] for index in plan.candidates(step, place) if index not in bad)
        for place in range(config.train.batch_size)
    ]


def _signature(config, num_regions):
    """Returns the values of one example as they leave Python, `{name: tf.TensorSpec}`."""
    instances, side = config.input.max_instances, config.input.mask_crop_size
    signature = {
        "image": tf.TensorSpec((None, None, 3), "uint8"),
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


def _padded(value, spec):
    """Returns a value as an array of the dtype and, with zeros after it, the shape of a `TensorSpec`."""
    value = np.asarray(value, spec.dtype.as_numpy_dtype)
    if value.shape and spec.shape[0] is not None:
        value = np.pad(value, [(0, spec.shape[0] - len(value)), *[(0, 0)] * (value.ndim - 1)])
    return value


def _geometry(record, config, padded_size, random):
    """Returns all of one training example but its pixels: a dict with names of `_signature`, not padded."""
    original = (record.height, record.width)
    short_side = random.choice(config.input.train_short_sides)
    flipped = random.random() < config.input.horizontal_flip
    size = input_size(original, short_side, config.input)
    resize = Resize(original, size, padding_origin(size, padded_size, config.input.centered))

    objects, ignored = select_instances(
        record.annotations, config.input.max_instances, needs_mask=config.mask_head is not None
    )
    boxes = np.array([annotation.box for annotation in objects + ignored], "float32").reshape(-1, 4)
    values = {
        "flipped": flipped,
        "padded_size": padded_size,
        "origin": resize.origin,
        "image_sizes": resize.resized,
        "gt_boxes": resize.apply_boxes(flip_boxes(boxes, record.width) if flipped else boxes),
        "gt_class_ids": [annotation.class_id for annotation in objects] + [IGNORED] * len(ignored),
    }
    if config.mask_head is not None:
        values["gt_masks"] = _masks(objects, config.input.mask_crop_size, flipped)
    if config.keypoint_head is not None:
        keypoints = _keypoints(objects, config.keypoint_head, record.width if flipped else None)
        values["gt_keypoints"] = resize.apply_keypoints(keypoints)
    return values


def _masks(objects, side, flipped):
    """Returns the masks of objects in their boxes, `[N, M, M]` bool."""
    masks = np.zeros((len(objects), side, side), bool)
    for mask, annotation in zip(masks, objects, strict=True):
        mask[:] = mask_in_box(annotation.segmentation, annotation.box, side)
    return masks[:, :, ::-1] if flipped else masks


def _keypoints(objects, config, mirror_width):
    """`[N, J, 3]` of the objects, mirrored in an image of `mirror_width` pixels unless that is None."""
    keypoints = keypoint_array(objects, len(config.names), config.half_pixel)
    if mirror_width is None:
        return keypoints
    return flip_keypoints(keypoints, mirror_width, mirrored_order(config.names, config.flip_pairs))
