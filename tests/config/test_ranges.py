"""Tests that every config field has a range, which YAML, `--set`, Python and weights files respect."""

import dataclasses
import math
import random
import typing

import pytest

from mask_rcnn import config_io
from mask_rcnn.config import CascadeConfig, Config, KeypointHeadConfig, TrainConfig
from mask_rcnn.config.checks import Items
from mask_rcnn.config.heads import HeadSections
from mask_rcnn.config.other_names import OTHER_NAMES
from mask_rcnn.config.ranges import RANGES, field_types

FULL = dataclasses.replace(
    Config(),
    cascade=CascadeConfig(),
    keypoint_head=KeypointHeadConfig(),
    box_head=dataclasses.replace(Config().box_head, class_agnostic=True),
)
SECTIONS = [Config, *(kind for kind, _ in field_types(Config).values() if dataclasses.is_dataclass(kind))]
NUMBERS = [
    "-1",
    "0",
    "1",
    "2.5",
    "1e30",
    "-1e30",
    ".nan",
    ".inf",
    "-.inf",
    "1000000000",
    "9" * 400,
    "true",
    "1e-320",
]
OTHERS = [
    "null",
    "[]",
    "[1]",
    "[1, 2]",
    "[[1]]",
    "{}",
    "x",
    "",
    "'\\0'",
    "\x1b[2J",
    "a" * 5000,
    "-",
    "&a [*a]",
    "!!set a",
]
HOSTILE = [*NUMBERS, *OTHERS, "[0, 0]", "[.nan, .nan, .nan]", "[1, 1, 1, 1, 1, 1]", "[true, true]", "(-5, 3)"]


def fields_of(config, prefix=""):
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from fields_of(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}"


def value_at(config, path):
    for name in path.split("."):
        config = getattr(config, name)
    return config


def test_every_field_has_a_range():
    """Each new field needs a line in `config/ranges.py`."""
    for section in SECTIONS:
        plain = {
            name
            for name, (kind, _) in field_types(section).items()
            if not dataclasses.is_dataclass(kind) and kind is not HeadSections
        }
        assert plain == RANGES[section.__name__].keys(), section.__name__
        for name in plain:
            is_tuple = typing.get_origin(field_types(section)[name][0]) is tuple
            assert is_tuple == isinstance(RANGES[section.__name__][name], Items), name


def assert_valid_or_refused(path, text):
    try:
        config = config_io.override(FULL, path, text)
    except ValueError as error:
        assert len(str(error)) < 700 and "Received" in str(error), (path, text, error)
        return
    value = value_at(config, path)
    for item in value if isinstance(value, tuple) else [value]:
        assert not isinstance(item, float) or math.isfinite(item), (path, text)
        assert not isinstance(item, float | int) or abs(item) <= 1e9 or "seed" in path, (path, text)
    assert config_io.from_text(config_io.to_yaml(config)) == config


@pytest.mark.parametrize("seed", range(120))
def test_a_random_setting_is_valid_or_one_error(seed):
    rng = random.Random(seed)
    assert_valid_or_refused(rng.choice(sorted(fields_of(FULL))), rng.choice(HOSTILE))


@pytest.mark.slow
def test_every_hostile_setting_of_every_field_is_valid_or_one_error():
    for path in fields_of(FULL):
        for text in HOSTILE:
            assert_valid_or_refused(path, text)


@pytest.mark.parametrize(
    "path, text",
    [
        ("train.batch_size", "0"),
        ("train.reference_batch_size", "0"),
        ("train.checkpoint_every", "0"),
        ("train.keep_checkpoints", "0"),
        ("train.learning_rate", ".nan"),
        ("train.learning_rate", "-.inf"),
        ("train.steps", str(10**30)),
        ("train.milestones", "5, 5"),
        ("train.clip_norm", "0"),
        ("train.seed", "-1"),
        ("backbone.norm_epsilon", "-1"),
        ("fpn.channels", str(10**9)),
        ("anchors.strides", "0, 8, 16, 32, 64"),
        ("anchors.ratios", "[]"),
        ("input.std", "1, 0, 1"),
        ("input.mean", "1, 2"),
        ("input.pad_multiple", "0"),
        ("rpn.nms_iou", "1.5"),
        ("rpn.samples", "-3"),
        ("rpn.negative_iou", "0.9"),
        ("box_head.delta_weights", "10, 10, 0, 5"),
        ("roi_align.sampling_ratio", "-1"),
        ("data.shapes_size", "0, 0"),
        ("data.max_bad_images", "2"),
    ],
)
def test_a_value_out_of_range_names_the_field(path, text):
    with pytest.raises(ValueError, match=rf"`{path}` must.*Received: .*{path.rpartition('.')[2]}"):
        config_io.override(FULL, path, text)
    section, _, name = path.partition(".")
    with pytest.raises(ValueError, match=f"`{path}` must"):
        config_io.from_text(f"{section}: {{{name}: {f'[{text}]' if ',' in text else text}}}")


@pytest.mark.parametrize(
    "changes", [{"batch_size": True}, {"steps": 1.5}, {"milestones": [1]}, {"seed": None}]
)
def test_python_values_are_checked_like_those_of_yaml(changes):
    with pytest.raises(ValueError, match="`train.* must be"):
        TrainConfig(**changes)


@pytest.mark.parametrize(
    "text, message",
    [
        ("a: &a [1]\nb: *a", "aliases"),
        ("a: &a [x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: &d [*c, *c]", "aliases"),
        ("[" * 100_000, "levels|characters"),
        ("a:\n" + "".join(f"{' ' * depth}a:\n" for depth in range(1, 300)), "levels"),
        ("num_classes: 3\nnum_classes: 4", "'num_classes' occurs 2 times"),
        ("train: {steps: 3, steps: 4}", "'steps' occurs 2 times"),
        ("num_classes: !!python/object/apply:os.system [true]", "tags"),
        ("num_classes: !include /etc/passwd", "tags"),
        ("#" * 300_000, "at most 200000 characters"),
        ("? [1, 2]\n: 3", "name of a field"),
        ("num_classes: 3\n---\nnum_classes: 4", "single document"),
        ("num_classes: \x00", "special characters"),
        ("\t- a", "cannot start"),
    ],
)
def test_yaml_that_no_config_needs_is_refused(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        config_io.from_text(text)
    assert "\n" not in str(caught.value)


def test_a_huge_file_is_not_read_whole(tmp_path):
    path = tmp_path / "a.yaml"
    with open(path, "wb") as file:
        file.truncate(1 << 40)  # a sparse file
    with pytest.raises(ValueError, match=r"a\.yaml"):
        config_io.from_yaml(path)


def test_text_that_ends_like_a_file_name_is_no_file():
    with pytest.raises(ValueError, match="must be a mapping"):
        config_io.from_text("/etc/passwd.yaml")


def test_names_of_other_systems_point_to_fields_that_exist():
    assert OTHER_NAMES.keys() <= set(fields_of(FULL))


@pytest.mark.parametrize(
    "name, field",
    [
        ("lr", "train.learning_rate"),
        ("epochs", "train.steps"),
        ("train.num_epochs", "train.steps"),
        ("batch", "train.batch_size"),
        ("SOLVER.IMS_PER_BATCH", "train.batch_size"),
        ("nms", "rpn.nms_iou or box_head.nms_iou"),
        ("weight_decay_norm", "train.norm_weight_decay"),
        ("img_size", "input.short_side"),
        ("anchor_scales", "anchors.sizes"),
        ("RPN_ANCHOR_SCALES", "anchors.sizes"),
    ],
)
def test_a_name_of_another_system_is_answered_with_ours(name, field):
    with pytest.raises(ValueError, match=f"Did you mean {field}"):
        config_io.override(Config(), name, "1")
