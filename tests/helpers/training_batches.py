"""Batches of the training data of small images, and their comparison."""

import numpy as np

from mask_rcnn.config import Config, DataConfig, InputConfig, TrainConfig
from mask_rcnn.data.input_pipeline.pipeline import training_dataset


def config(workers, steps=6, **fields):
    """Returns a config for small images. `fields` are fields of its section `input`."""
    fields = {"short_side": 64, "train_short_sides": (64, 80), "long_side": 120, "max_instances": 6, **fields}
    return Config(
        input=InputConfig(**fields),
        data=DataConfig(workers=workers, max_bad_images=0.5),
        train=TrainConfig(batch_size=2, reference_batch_size=2, steps=steps, seed=5),
    )


def batches(dataset, config, **options):
    """Returns the batches of `training_dataset`, as `{name: array}` each."""
    return [
        {name: value.numpy() for name, value in batch.items()}
        for batch in training_dataset(dataset, config, **options)
    ]


def assert_equal(actual, expected):
    """Checks that two lists of batches are equal, bit by bit."""
    assert len(actual) == len(expected)
    for ours, theirs in zip(actual, expected, strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            np.testing.assert_array_equal(ours[name], value)
