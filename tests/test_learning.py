"""Tests that the complete system can overfit a few images, with the usual files, graph and evaluation."""

from mask_rcnn import config_io, model_zoo
from mask_rcnn.data.shapes import write_shapes
from mask_rcnn.training.train import train


def test_ten_images_are_learned_by_heart(tmp_path):
    annotations, images = write_shapes(tmp_path / "data", 10, (128, 128), seed=0)
    config = config_io.override_all(
        model_zoo.config("shapes"),
        {
            "data.train_annotations": str(annotations),
            "data.train_images": str(images),
            "data.val_annotations": str(annotations),
            "data.val_images": str(images),
            "input.horizontal_flip": 0.0,
            "train.steps": 500,
        },
    )
    metrics = train(config, tmp_path / "run")
    assert metrics["segm"]["AP"] >= 0.95
