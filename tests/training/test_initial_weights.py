"""Tests of the checks of initial weights before a run builds its model."""

from dataclasses import replace

import pytest

from mask_rcnn import model_zoo
from mask_rcnn.config import BackboneConfig, Config, DataConfig, FpnConfig, TrainConfig
from mask_rcnn.data.shapes import write_shapes
from mask_rcnn.model_zoo.backbones import IMAGENET
from mask_rcnn.model_zoo.registry import ENTRIES
from mask_rcnn.training import initial_weights, prepare
from mask_rcnn.training.initial_weights import check_initial_weights
from mask_rcnn.training.train import check, train

NAMES = model_zoo.names()
FROM_SCRATCH = (
    "mask_rcnn_resnet50_fpn_copy_paste",
    "mask_rcnn_resnet50_fpn_lsj",
    "mask_rcnn_resnet50_fpn_scratch",
)
DETECTORS = [name for name, entry in ENTRIES.items() if not entry.is_backbone]
RANDOM = BackboneConfig(norm="group_norm", frozen_stages=0, weights=None)


def config_of(name):
    if name == "Config":
        return Config()
    return model_zoo.config(name)


@pytest.fixture
def fetched(monkeypatch, tmp_path):
    """The list of the names of weights that would be downloaded. Their files exist after that."""
    names = []

    def checkpoint_file(name):
        names.append(name)
        path = tmp_path / "weights.pth"
        path.touch()
        return path

    monkeypatch.setattr(initial_weights, "checkpoint_file", checkpoint_file)
    return names


@pytest.fixture
def offline(monkeypatch, tmp_path):
    monkeypatch.setenv("MASK_RCNN_OFFLINE", "1")
    monkeypatch.setenv("MASK_RCNN_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.parametrize("name", [*NAMES, "Config"])
def test_every_recipe_starts_from_imagenet_weights_of_its_own_conventions(name, fetched, caplog):
    config = config_of(name)
    check_initial_weights(config)
    assert fetched == ([] if name in FROM_SCRATCH else [IMAGENET[config.backbone.name]])
    if fetched:
        initial_weights.warn_of_backbone(config)
    assert not caplog.text


@pytest.mark.parametrize("name", DETECTORS)
def test_every_published_config_starts_from_weights_of_its_conventions_or_says_that_it_cannot(
    name, fetched, caplog
):
    config = ENTRIES[name].config
    if config.backbone.weights:
        check_initial_weights(config)
        initial_weights.warn_of_backbone(config)
        assert not caplog.text
    elif config.backbone.frozen_stages:
        with pytest.raises(ValueError, match="must not be random"):
            check_initial_weights(config)
    else:
        check_initial_weights(config)
        assert not fetched


@pytest.mark.parametrize(
    ("fields", "received"),
    [
        ({"backbone": BackboneConfig(weights=None)}, "backbone.frozen_stages=2, backbone.norm='frozen_batch"),
        ({"backbone": BackboneConfig(weights=None, frozen_stages=0)}, "backbone.norm='frozen_batch_norm'"),
        (
            {"backbone": replace(RANDOM, frozen_stages=1)},
            "Received: backbone.frozen_stages=1, backbone.weights",
        ),
        ({"fpn": FpnConfig(norm="frozen_batch_norm")}, "Received: fpn.norm='frozen_batch_norm'"),
    ],
)
def test_what_is_frozen_and_random_is_an_error_with_advice(fields, received):
    with pytest.raises(ValueError) as error:
        check_initial_weights(Config(**fields))
    for part in (received, "backbone.weights=imagenet", "train.init_weights", "backbone.frozen_stages=0"):
        assert part in str(error.value)


def test_random_weights_without_anything_frozen_are_fine():
    check_initial_weights(Config(backbone=RANDOM))


def test_batch_statistics_cannot_become_group_norms():
    with pytest.raises(ValueError, match=r"batch normalization layers. Received: backbone.norm='group_norm'"):
        check_initial_weights(Config(backbone=replace(RANDOM, weights="imagenet")))


@pytest.mark.parametrize("run", [train, check])
def test_missing_weights_are_found_before_the_model_is_built(run, offline, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "MaskRCNN", lambda *args, **kwargs: pytest.fail("too late"))
    annotations, images = map(str, write_shapes(tmp_path / "data", 1, (64, 64), seed=0))
    data = DataConfig(train_annotations=annotations, train_images=images)
    config = Config(num_classes=3, data=data)
    with pytest.raises(OSError) as error:
        run(config, tmp_path / "run")
    entry = ENTRIES[IMAGENET["resnet50"]]
    for part in (entry.url, entry.hash_text, str(offline), entry.file_name):
        assert part in str(error.value)


def test_a_file_that_does_not_exist_is_named():
    with pytest.raises(FileNotFoundError, match=r"Received: 'none\.pth', which is none of them"):
        check_initial_weights(Config(backbone=BackboneConfig(weights="none.pth")))
    with pytest.raises(FileNotFoundError, match=r"Received: 'none\.weights\.h5'"):
        check_initial_weights(Config(train=TrainConfig(init_weights="none.weights.h5")))
