import dataclasses

import pytest

from mask_rcnn import config_io, model_zoo
from mask_rcnn.config import Config


@pytest.mark.parametrize("name", model_zoo.names())
def test_every_recipe_survives_yaml(name):
    config = model_zoo.config(name)
    assert config_io.from_yaml(config_io.to_yaml(config)) == config


@pytest.mark.parametrize("name", model_zoo.names())
def test_every_recipe_says_what_it_is_for(name):
    summary, blank, *cost = model_zoo.describe(name).splitlines()
    assert summary.endswith(".") and blank == "" and cost


def test_an_unknown_recipe_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'shapes'"):
        model_zoo.config("shape")


def test_yaml_without_a_field_gives_its_default():
    config = config_io.from_yaml("train: {steps: 7}")
    assert config == dataclasses.replace(Config(), train=dataclasses.replace(Config().train, steps=7))


def test_empty_yaml_is_the_paper():
    assert config_io.from_yaml("") == Config()


def test_yaml_is_written_with_lists_on_one_line():
    assert "delta_weights: [10.0, 10.0, 5.0, 5.0]\n" in config_io.to_yaml(Config())


def test_yaml_is_read_from_a_file(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("num_classes: 3\n")
    assert config_io.from_yaml(path).num_classes == 3
    assert config_io.from_yaml(str(path)).num_classes == 3


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.yaml"):
        config_io.from_yaml(tmp_path / "absent.yaml")


def test_an_error_in_a_file_names_file_and_field(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("train: {steps: many}\n")
    with pytest.raises(ValueError, match=r"run\.yaml: `train\.steps` must be an int. Received: .*'many'"):
        config_io.from_yaml(path)


@pytest.mark.parametrize(
    "text, message",
    [
        ("train: [", "must be valid YAML"),
        ("- 1", "must be a mapping"),
        ("train: 3", "`train` must be a mapping"),
        ("trian: {steps: 3}", "Did you mean train"),
        ("rpn: {nms_ious: 0.5}", "Did you mean rpn.nms_iou"),
        ("rpn: {nms_iou: high}", "`rpn.nms_iou` must be a number"),
        ("rpn: {nms_iou: null}", "`rpn.nms_iou` must be a number"),
        ("num_classes: true", "`num_classes` must be an int"),
        ("num_classes: 2.5", "`num_classes` must be an int"),
        ("anchors: {rounded: 1}", "`anchors.rounded` must be true or false"),
        ("anchors: {ratios: [1, wide]}", "`anchors.ratios` must be a number"),
        ("data: {shapes_size: [1, 2, 3]}", "`data.shapes_size` must be a list of 2 int"),
        ("data: {train_images: 3}", "`data.train_images` must be text, or null"),
        ("backbone: {norm: batchnorm}", "must be one of"),
        ("1: 2", "no field of this name"),
    ],
)
def test_bad_yaml_is_an_error_that_names_the_field(text, message):
    with pytest.raises(ValueError, match=message):
        config_io.from_yaml(text)


@pytest.mark.parametrize(
    "path, text, expected",
    [
        ("num_classes", "3", 3),
        ("train.steps", "160_000", 160_000),
        ("train.weight_decay", "1e-4", 1e-4),
        ("rpn.nms_iou", "1", 1.0),
        ("train.clip_norm", "null", None),
        ("train.clip_norm", "None", None),
        ("train.clip_norm", "5", 5.0),
        ("train.strategy", "none", "none"),
        ("backbone.weights", "imagenet", "imagenet"),
        ("data.train_images", "123", "123"),
        ("anchors.rounded", "true", True),
        ("input.train_short_sides", "640,800", (640, 800)),
        ("input.train_short_sides", "[640, 800]", (640, 800)),
        ("input.train_short_sides", "(640,)", (640,)),
        ("train.milestones", "()", ()),
        ("mask_head", "null", None),
    ],
)
def test_override_reads_text_by_the_type_of_the_field(path, text, expected):
    value = config_io.override(Config(), path, text)
    for name in path.split("."):
        value = getattr(value, name)
    assert value == expected and type(value) is type(expected)


def test_override_takes_values_too():
    assert config_io.override(Config(), "input.train_short_sides", (640,)).input.train_short_sides == (640,)


def test_override_leaves_the_original_as_it_was():
    config = Config()
    config_io.override(config, "rpn.convs", "3")
    assert config.rpn.convs == 1


def test_override_turns_the_mask_head_off_and_on():
    without = config_io.override(Config(), "mask_head", "null")
    assert config_io.override_all(without, {"mask_head": "{}", "mask_head.convs": "2"}).mask_head.convs == 2
    with pytest.raises(ValueError, match="`mask_head`, which is null.*`mask_head={}`"):
        config_io.override(without, "mask_head.convs", "2")


def test_fields_that_depend_on_each_other_are_changed_together():
    changes = {"train.checkpoint_every": "300", "train.evaluate_every": "900"}
    train = config_io.override_all(Config(), changes).train
    assert (train.checkpoint_every, train.evaluate_every) == (300, 900)
    with pytest.raises(ValueError, match="multiple"):
        config_io.override(Config(), "train.checkpoint_every", "300")


@pytest.mark.parametrize(
    "path, nearest",
    [
        ("train.learning_rat", "train.learning_rate"),
        ("learning_rate", "train.learning_rate"),
        ("trian.steps", "train.steps"),
        ("pool_size", "box_head.pool_size or mask_head.pool_size"),
        ("num_class", "num_classes"),
        ("num_classes.x", "num_classes"),
    ],
)
def test_an_unknown_field_is_answered_with_the_nearest(path, nearest):
    with pytest.raises(ValueError, match=f"Received: '{path}'. Did you mean .*{nearest}"):
        config_io.override(Config(), path, "1")
