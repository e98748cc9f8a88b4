"""Tests of initial weights from another detector: those with the same meaning are used."""

import dataclasses

import keras
import numpy as np
import pytest
from absl import logging

from mask_rcnn.config import MaskHeadConfig
from mask_rcnn.model import build_parts
from mask_rcnn.structures import Category
from mask_rcnn.training.initial_weights import initialize, load_detector
from mask_rcnn.weights import save_weights, variables

FRUITS = (Category(7, "apple"), Category(9, "pear"), Category(80, "fig"))
NUTS = (Category(1, "almond"), Category(2, "walnut"))
CLASS_LAYERS = ("box_head/class_logits/", "box_head/deltas/", "mask_head/predictor/")


@pytest.fixture
def file(tmp_path, tiny_config, tiny_parts):
    """The weights file of a detector of three fruits."""
    save_weights(tmp_path / "fruits.weights.h5", tiny_parts, tiny_config, categories=FRUITS)
    return tmp_path / "fruits.weights.h5"


def built(config, **changes):
    """Returns a changed config and its networks, with other random weights than `tiny_parts`."""
    config = dataclasses.replace(config, **changes)
    keras.utils.set_random_seed(7)
    return build_parts(config), config


def arrays_of(parts):
    return {name: np.array(variable.numpy()) for name, variable in variables(parts).items()}


def differing(parts, others):
    theirs = arrays_of(others)
    ours = arrays_of(parts)
    return {
        name
        for name in ours
        if name not in theirs or ours[name].shape != theirs[name].shape or (ours[name] != theirs[name]).any()
    }


def test_the_same_classes_keep_all_weights(file, tiny_config, tiny_parts, capsys):
    parts, config = built(tiny_config)
    load_detector(parts, config, FRUITS, weights=file)
    assert not differing(parts, tiny_parts)
    assert f"Loaded {file}, 3 classes: all weights." in capsys.readouterr().out


def test_another_number_of_classes_keeps_all_but_the_layers_of_the_classes(
    file, tiny_config, tiny_parts, capsys
):
    parts, config = built(tiny_config, num_classes=2)
    before = arrays_of(parts)
    load_detector(parts, config, NUTS, weights=file)
    new = differing(parts, tiny_parts)
    assert new and all(name.startswith(CLASS_LAYERS) for name in new)
    for name, array in arrays_of(parts).items():
        if name.startswith(CLASS_LAYERS):
            np.testing.assert_array_equal(array, before[name])
    assert (
        "all weights but those of box_head/class_logits, box_head/deltas, mask_head/predictor. "
        "These are new, for 2 classes."
    ) in capsys.readouterr().out


def test_as_many_other_classes_begin_anew_too(file, tiny_config, tiny_parts):
    parts, config = built(tiny_config)
    load_detector(parts, config, (*NUTS, Category(3, "hazelnut")), weights=file)
    assert "box_head/class_logits/kernel" in differing(parts, tiny_parts)


def test_what_is_the_same_for_all_classes_is_kept(tmp_path, tiny_config):
    heads = {
        "box_head": dataclasses.replace(tiny_config.box_head, class_agnostic=True),
        "mask_head": MaskHeadConfig(convs=1, channels=16, class_agnostic=True),
    }
    fruits, config = built(tiny_config, **heads)
    save_weights(tmp_path / "a.weights.h5", fruits, config, categories=FRUITS)
    parts, config = built(tiny_config, num_classes=2, **heads)
    load_detector(parts, config, NUTS, weights=tmp_path / "a.weights.h5")
    assert {name.rpartition("/")[0] for name in differing(parts, fruits)} <= {"box_head/class_logits"}


def test_a_mask_head_of_its_own_is_new_and_one_too_many_is_left_out(
    file, tmp_path, tiny_config, tiny_parts, capsys
):
    boxes_only, config = built(tiny_config, mask_head=None)
    load_detector(boxes_only, config, FRUITS, weights=file)
    assert not differing(boxes_only, tiny_parts)
    save_weights(tmp_path / "boxes.weights.h5", boxes_only, config, categories=FRUITS)
    parts, config = built(tiny_config)
    load_detector(parts, config, FRUITS, weights=tmp_path / "boxes.weights.h5")
    assert "all weights but those of mask_head." in capsys.readouterr().out
    assert all(name.startswith("mask_head/") for name in differing(parts, tiny_parts))


def test_another_architecture_is_an_error_that_lists_both_sides(file, tiny_config):
    parts, config = built(tiny_config, box_head=dataclasses.replace(tiny_config.box_head, dense_units=(8,)))
    with pytest.raises(ValueError) as caught:
        load_detector(parts, config, FRUITS, weights=file)
    message = str(caught.value)
    assert "box_head/fc2/kernel" in message and "unknown to the model" in message
    assert "box_head/fc1/bias: (32,) in the file, (8,) in the model" in message


def test_other_conventions_are_said(file, tiny_config, monkeypatch):
    said = []
    monkeypatch.setattr(logging, "warning", lambda text, *values: said.append(text % values))
    recipe = dataclasses.replace(tiny_config.input, mean=(1.0, 2.0, 3.0))
    parts, config = built(tiny_config, input=recipe)
    load_detector(parts, config, FRUITS, weights=file)
    (line,) = said
    assert "other conventions: input.mean=(1.0, 2.0, 3.0), the weights had (123.675, 116.28, 103.53)" in line


def test_a_config_may_name_a_detector_a_backbone_or_nothing(file, tiny_config, tiny_parts):
    parts, config = built(
        tiny_config,
        train=dataclasses.replace(tiny_config.train, init_weights=str(file)),
        backbone=dataclasses.replace(tiny_config.backbone, weights="imagenet"),
    )
    initialize(parts, config, FRUITS)
    assert not differing(parts, tiny_parts)

    parts, config = built(
        tiny_config, backbone=dataclasses.replace(tiny_config.backbone, weights="efficientnet_lite0/imagenet")
    )
    initialize(parts, config, FRUITS)
    assert not any(name.startswith("backbone/") for name in differing(parts, tiny_parts))

    parts, config = built(tiny_config, backbone=dataclasses.replace(tiny_config.backbone, weights=None))
    before = arrays_of(parts)
    initialize(parts, config, FRUITS)
    assert all((array == before[name]).all() for name, array in arrays_of(parts).items())
