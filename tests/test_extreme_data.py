"""Tests that losses and gradients stay finite for any sizes and numbers of objects."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from mask_rcnn.config import CascadeConfig, KeypointHeadConfig, TrainConfig
from mask_rcnn.data.input_pipeline.pipeline import training_dataset
from mask_rcnn.data.records import Annotation, Dataset, ImageRecord
from mask_rcnn.model import build_parts, training_model
from mask_rcnn.structures import Category

NAMES = ("nose", "left_eye", "right_eye")
SIZES = ((64, 96), (1, 1000), (1000, 1), (7, 5), (33, 31), (1, 1), (200, 200))
SIDES = (1e-6, 1e-3, 0.5, 1.0, 2.0, 10.0, 1e4)  # pixels; the largest is limited to the image


def random_annotation(rng, size, id):
    """Returns an object or a crowd region of any size, from a millionth of a pixel to the complete image."""
    sides = np.minimum(rng.choice(SIDES, 2), size)
    y1, x1 = rng.uniform(0, np.subtract(size, sides))
    y2, x2 = y1 + sides[0], x1 + sides[1]
    polygon = [float(value) for value in (x1, y1, x2, y1, x2, y2, x1, y2)]
    points = [(x1, y1, 2), (x2 + 5, y2, 1), (0, 0, 0)] if rng.random() < 0.5 else None
    return Annotation(
        id=id,
        class_id=int(rng.integers(1, 4)),
        box=(float(y1), float(x1), float(y2), float(x2)),
        area=float(np.prod(sides)),
        crowd=bool(rng.random() < 0.2),
        segmentation=[polygon],
        keypoints=points,
    )


def random_dataset(folder, seed, num_images=8):
    """Returns images of extreme shapes with 0, 1, 5 or 300 annotations. One object fills the first image."""
    rng = np.random.default_rng(seed)
    records = []
    for id in range(num_images):
        size = SIZES[rng.integers(len(SIZES))]
        path = folder / f"{seed}_{id}.png"
        Image.fromarray(rng.integers(0, 256, (*size, 3)).astype("uint8")).save(path)
        count = (0, 1, 5, 300)[rng.integers(4)]
        annotations = [random_annotation(rng, size, number) for number in range(count)]
        records.append(ImageRecord(id, path, *size, tuple(annotations)))
    height, width = records[0].height, records[0].width
    whole = Annotation(
        0, 1, (0.0, 0.0, height, width), height * width, False, [[0, 0, width, 0, width, height]]
    )
    with_keypoints = dataclasses.replace(whole, keypoints=((0, 0, 2),) * 3)
    records[0] = dataclasses.replace(records[0], annotations=(with_keypoints,))
    return Dataset("extreme", (Category(1, "a"), Category(2, "b"), Category(3, "c")), tuple(records))


def all_heads(config):
    """Returns the config with a cascade, a keypoint head and the GIoU loss."""
    points = KeypointHeadConfig(names=NAMES, flip_pairs=("left_eye:right_eye",), convs=1, channels=8)
    return dataclasses.replace(
        config,
        rpn=dataclasses.replace(config.rpn, box_loss="giou"),
        box_head=dataclasses.replace(config.box_head, box_loss="giou", class_agnostic=True),
        cascade=CascadeConfig(),
        keypoint_head=points,
    )


def check_finite(config, folder, seeds, step_of):
    """Runs `step_of(model)`, a function of a batch that returns losses and other numbers, on all batches."""
    keras.utils.set_random_seed(0)
    config = dataclasses.replace(
        config, train=TrainConfig(batch_size=2, reference_batch_size=2, steps=4, seed=1)
    )
    step, positives = step_of(training_model(build_parts(config), config)), 0
    for seed in seeds:
        for batch in training_dataset(random_dataset(folder, seed), config):
            losses, others = step(batch)
            for name, value in losses.items():
                assert np.isfinite(value).all(), (seed, name)
            assert np.isfinite(others).all(), seed
            positives += float(tf.reduce_sum(losses["mask_loss"][:, 1]))
    assert positives > 5


def test_losses_of_extreme_data_are_finite(tiny_config, tmp_path):
    check_finite(tiny_config, tmp_path, range(2), lambda model: lambda batch: (model(batch), []))


@pytest.mark.slow
@pytest.mark.parametrize("heads", [lambda config: config, all_heads], ids=["mask head", "all heads"])
def test_gradients_of_extreme_data_are_finite(tiny_config, tmp_path, heads):
    def step_of(model):
        @tf.function(reduce_retracing=True)
        def step(batch):
            with tf.GradientTape() as tape:
                losses = model(batch)
                total = tf.add_n([tf.reduce_sum(value) for value in losses.values()])
            gradients = tape.gradient(total, model.trainable_variables)
            return losses, [tf.linalg.global_norm([gradient]) for gradient in gradients]

        return step

    check_finite(heads(tiny_config), tmp_path, range(3), step_of)
