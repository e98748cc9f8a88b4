"""Compares the batches of the default pipeline with recorded ones from before transforms could be chosen."""

import numpy as np
import pytest
from locations import GOLDEN
from small_coco import FLIP_PAIRS, NAMES, read_small_coco

from mask_rcnn.config import Config, InputConfig, KeypointHeadConfig, TrainConfig
from mask_rcnn.data.input_pipeline.pipeline import training_dataset

RECORDED = GOLDEN / "pipeline.npz"
MATTERPORT = {
    "resize": "uint8",
    "padded_size": (128, 128),
    "centered": True,
    "long_side": 128,
    "upscale_only": True,
    "size_rounding": "half_even",
}
CASES = {
    "default": {},
    "pillow": {"resize": "antialiased_uint8", "train_short_sides": (64,)},
    "matterport": MATTERPORT,
}


def config(**fields):
    fields = {
        "short_side": 64,
        "train_short_sides": (56, 64, 80),
        "long_side": 120,
        "max_instances": 3,
        **fields,
    }
    return Config(
        num_classes=1,
        input=InputConfig(**fields),
        keypoint_head=KeypointHeadConfig(names=NAMES, flip_pairs=FLIP_PAIRS),
        train=TrainConfig(batch_size=2, reference_batch_size=2, steps=4, seed=5),
    )


@pytest.mark.parametrize("name", CASES)
def test_batches_have_the_recorded_numbers(tmp_path, name):
    recorded = np.load(RECORDED)
    dataset = read_small_coco(tmp_path)
    for step, batch in enumerate(training_dataset(dataset, config(**CASES[name]))):
        batch = {key: value.numpy() for key, value in batch.items()}
        expected = {key: recorded[f"{name}/{step}/{key}"] for key in batch}
        for key in ("image_sizes", "gt_class_ids", "seeds"):
            np.testing.assert_array_equal(batch[key], expected[key])
        np.testing.assert_array_equal(np.packbits(batch["gt_masks"]), expected["gt_masks"])
        for key in ("gt_boxes", "gt_keypoints"):
            np.testing.assert_allclose(batch[key], expected[key], rtol=1e-6, atol=1e-5)
        for image, size, columns in zip(
            batch["images"], batch["image_sizes"].astype(int), expected["images"], strict=True
        ):
            if name != "matterport":
                image = image[: size[0], : size[1]]
            np.testing.assert_allclose(image.mean(axis=0), columns[: image.shape[1]], atol=1e-3)
    assert step == 3
