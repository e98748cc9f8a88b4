"""Tests of a head that a user registers: the one in docs/extending/head.md, read from the page."""

import dataclasses
import re

import keras
import numpy as np
import pytest
from locations import ROOT
from training_run import TINY

from mask_rcnn import config_io
from mask_rcnn.config.heads import SECTIONS, add_head_config, head_sections
from mask_rcnn.data.augmentation.sample import OBJECT, Sample
from mask_rcnn.data.input_pipeline.ground_truth import make_ground_truths
from mask_rcnn.data.input_pipeline.loading import IGNORED, ExampleLoader
from mask_rcnn.data.input_pipeline.trainable import check_trainable
from mask_rcnn.data.readers.coco import read_coco
from mask_rcnn.data.records import Dataset
from mask_rcnn.data.shapes import write_shapes
from mask_rcnn.export.runners.lite_runner import Runner as LiteRunner
from mask_rcnn.export.writers import lite, saved_model
from mask_rcnn.heads import HEADS, heads_of, register_head
from mask_rcnn.model import build_parts, inference_model, training_model
from mask_rcnn.prediction.predict import Predictor
from mask_rcnn.structures import Category
from mask_rcnn.training.train import train
from mask_rcnn.weights import read_header, save_weights

PAGE = ROOT / "docs" / "extending" / "head.md"


@pytest.fixture(scope="module")
def fill_config_class():
    names = {"__name__": "page_head"}
    (first, *_) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    exec(compile(first, str(PAGE), "exec"), names)
    return names["FillConfig"]


@pytest.fixture(scope="module")
def config(tiny_config, fill_config_class):
    return dataclasses.replace(tiny_config, heads={"fill": fill_config_class(units=8)})


@pytest.fixture(scope="module")
def parts(tiny_parts, config):
    keras.utils.set_random_seed(3)
    head = build_parts(config).heads["fill_head"]
    return dataclasses.replace(tiny_parts, heads=tiny_parts.heads | {"fill_head": head})


def test_a_registered_head_is_configured_in_yaml_and_by_name(config):
    assert config_io.from_yaml(config_io.to_yaml(config)) == config
    changed = config_io.override(config, "heads.fill.units", "16")
    assert changed.heads["fill"].units == 16 and config.heads["fill"].units == 8
    without = dataclasses.replace(config, heads={})
    added = config_io.override_all(without, {"heads.fill": "{}", "heads.fill.pool_size": "5"})
    assert added.heads["fill"].pool_size == 5
    assert "fill" in HEADS.summaries()


@pytest.mark.parametrize("text", ["heads: {absent: {}}", "heads: {fill: {absent: 1}}", "heads: {fill: 1}"])
def test_an_unknown_head_or_field_is_an_error_that_shows_it(config, text):
    with pytest.raises(ValueError, match=r"Received: .*(absent|1)"):
        config_io.from_yaml(text)


def test_a_name_of_a_built_in_head_cannot_be_registered(fill_config_class):
    with pytest.raises(ValueError, match="Received: 'mask'"):
        register_head("mask", fill_config_class)


@dataclasses.dataclass(frozen=True)
class Usual:
    pool_size: int = 7


@dataclasses.dataclass
class NotFrozen:
    pool_size: int = 7


@dataclasses.dataclass(frozen=True)
class WithoutPoolSize:
    units: int = 64


@dataclasses.dataclass(frozen=True)
class WithoutDefault:
    units: int
    pool_size: int = 7


@dataclasses.dataclass(frozen=True)
class WithList:
    pool_size: int = 7
    sizes: list[int] = dataclasses.field(default_factory=list)


@pytest.mark.parametrize(
    "name, section_class, wrong",
    [
        ("two words", Usual, "the name or the dataclass"),
        ("keypoint", Usual, "the name or the dataclass"),
        ("new", NotFrozen, "the name or the dataclass"),
        ("new", WithoutPoolSize, "the name or the dataclass"),
        ("new", WithoutDefault, "units"),
        ("new", WithList, "sizes"),
        ("new", str, "the name or the dataclass"),
    ],
)
def test_a_config_that_yaml_cannot_hold_is_refused(name, section_class, wrong):
    with pytest.raises(ValueError, match=f"Received: '{name}'.*Change {wrong}"):
        add_head_config(name, section_class)
    assert name not in SECTIONS


@dataclasses.dataclass(frozen=True)
class OptionalPoolSize:
    pool_size: int | None = None


def test_a_pool_size_of_none_is_refused(monkeypatch):
    monkeypatch.setitem(SECTIONS, "new", OptionalPoolSize)
    with pytest.raises(ValueError, match=r"`heads\.new\.pool_size` must be of type int .*Received: None"):
        head_sections({"new": OptionalPoolSize()})


@pytest.mark.parametrize(
    "values, received",
    [
        ({"units": "many"}, r"`heads.fill.units` must be of type int. Received: 'many'"),
        ({"units": None}, "`heads.fill.units` must be of type int. Received: None"),
        ({"loss_weight": True}, "`heads.fill.loss_weight` must be of type float. Received: True"),
        ({"pool_size": -1}, "`heads.fill.pool_size` must be of type int .*Received: -1"),
    ],
)
def test_a_field_of_another_type_is_an_error_that_names_it(config, fill_config_class, values, received):
    with pytest.raises(ValueError, match=received):
        dataclasses.replace(config, heads={"fill": fill_config_class(**values)})


@pytest.mark.parametrize("heads", [[], {"fill": {"units": 8}}, {"fill": Usual()}])
def test_sections_must_be_those_of_their_heads(config, heads):
    with pytest.raises(ValueError, match="`heads.* must be a "):
        dataclasses.replace(config, heads=heads)


@pytest.mark.parametrize(
    "change",
    [
        lambda heads: heads.update(fill=None),
        lambda heads: heads.pop("fill"),
        lambda heads: heads.clear(),
        lambda heads: heads.setdefault("other", None),
        lambda heads: heads.__setitem__("fill", None),
        lambda heads: heads.__delitem__("fill"),
        lambda heads: heads.__ior__({"fill": None}),
    ],
)
def test_the_heads_of_a_config_cannot_be_changed(config, change):
    before = dict(config.heads)
    with pytest.raises(TypeError, match="dataclasses.replace"):
        change(config.heads)
    assert config.heads == before


def test_heads_are_built_in_the_order_of_the_config(config):
    assert [head.part for head in heads_of(config)] == ["mask_head", "fill_head"]


def test_ground_truth_comes_from_the_sample(config):
    # The triangle below the diagonal of its box fills half of it.
    triangle = Sample(
        image=np.zeros([40, 40, 3], "uint8"),
        boxes=np.array([[4.0, 4.0, 32.0, 32.0]]),
        class_ids=np.array([1]),
        kinds=np.array([OBJECT], "int8"),
        areas=np.array([392.0]),
        segmentations=([[4.0, 4.0, 4.0, 32.0, 32.0, 32.0]],),
        keypoints=np.zeros([1, 0, 3]),
        mirrored_keypoints=np.zeros([0], int),
        matrix=np.eye(3),
        size=(40, 40),
    )
    fill = make_ground_truths(config)[1](triangle)["gt_fill"]
    np.testing.assert_allclose(fill, [0.5], atol=0.03)


def test_objects_without_a_mask_are_ignored_by_a_head_that_learns_from_masks(config, tmp_path):
    config = dataclasses.replace(config, mask_head=None)
    image = read_coco(*write_shapes(tmp_path, 1, (64, 64), seed=3)).images[0]
    first, *others = image.annotations
    image = dataclasses.replace(image, annotations=(dataclasses.replace(first, segmentation=None), *others))
    example = ExampleLoader(config, (), make_ground_truths(config))(image, (0, 0))
    assert example["gt_class_ids"].tolist().count(IGNORED) == 1
    assert len(example["gt_fill"]) == len(others)
    dataset = Dataset("shapes", (Category(1, "circle"),) * 3, (image,))
    with pytest.raises(ValueError, match="1 objects without a mask"):
        check_trainable(dataset, config)
    check_trainable(dataset, dataclasses.replace(config, heads={}))


def test_the_loss_is_the_squared_error_of_the_positive_rois(config, parts, tiny_batch):
    head = parts.heads["fill_head"].get_layer("predictor")
    before = head.get_weights()
    head.set_weights([np.zeros_like(weights) for weights in before])  # predicts 0.5 everywhere
    batch = {**tiny_batch, "gt_fill": np.full([2, 4], 0.9, "float32")}
    total, count = training_model(parts, config)(batch)["fill_loss"].numpy().T
    head.set_weights(before)
    assert count.sum() > 0
    np.testing.assert_allclose(total, count * 0.4**2, rtol=1e-5)


def test_the_other_outputs_do_not_depend_on_the_head(config, parts, tiny_parts, tiny_config, tiny_batch):
    images = {name: tiny_batch[name] for name in ("images", "image_sizes")}
    with_head = inference_model(parts, config)(images)
    without = inference_model(tiny_parts, tiny_config)(images)
    assert set(with_head) - set(without) == {"fill"}
    for name, value in without.items():
        np.testing.assert_allclose(with_head[name], value, atol=1e-5, err_msg=name)


@pytest.mark.slow  # a minute: a SavedModel and a TFLite file
def test_exports_return_what_the_predictor_returns(config, parts, tiny_categories, tmp_path):
    image = np.random.default_rng(0).integers(0, 255, [64, 96, 3], "uint8")
    expected = Predictor(parts, config, tiny_categories).predict(image)
    assert len(expected) > 0 and expected.attributes["fill"].shape == (len(expected),)
    np.testing.assert_array_equal(expected.select([0]).attributes["fill"], expected.attributes["fill"][:1])

    weights = tmp_path / "fill.weights.h5"
    save_weights(weights, parts, config, categories=tiny_categories)
    assert read_header(weights)[0] == config
    portable = Predictor.load(weights, implementation="portable")
    saved_model.write(tmp_path / "served", portable)
    found = saved_model_outputs(tmp_path / "served", image)
    np.testing.assert_allclose(np.sort(found), np.sort(expected.attributes["fill"]), atol=1e-3)

    metadata = lite.runner_metadata(config, (64, 96))
    frame = lite.FramedPredictor(portable.parts, config, tiny_categories, metadata=metadata)
    lite.write_file(tmp_path / "model.tflite", frame)
    outputs = LiteRunner(tmp_path / "model.tflite")(image)
    found = outputs["detection_fill"][: int(outputs["num_detections"])]
    np.testing.assert_allclose(np.sort(found), np.sort(expected.attributes["fill"]), atol=1e-3)


def saved_model_outputs(path, image):
    from mask_rcnn.export.runners.saved_model_runner import Runner

    outputs = Runner(str(path))(image)
    return outputs["detection_fill"][: int(outputs["num_detections"])]


def test_two_steps_train_the_head_and_its_weights_load_again(fill_config_class, tmp_path):
    config = dataclasses.replace(
        TINY,
        heads={"fill": fill_config_class(units=8)},
        data=dataclasses.replace(TINY.data, shapes_val=1),
        train=dataclasses.replace(TINY.train, steps=2, milestones=(), warmup_steps=0, evaluate_every=0),
    )
    train(config, tmp_path / "run")
    assert "fill_loss" in (tmp_path / "run" / "log.csv").read_text().splitlines()[0]
    predictor = Predictor.load(tmp_path / "run" / "final.weights.h5")
    assert predictor.config.heads == config.heads
    assert np.isfinite(predictor.parts.heads["fill_head"].get_layer("predictor").kernel.numpy()).all()
    assert (predictor.parts.heads["fill_head"].get_layer("predictor").bias.numpy() != 0).all()  # began at 0
