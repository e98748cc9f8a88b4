"""Tests of the registry of published weights: the facts of each entry, and how names are found."""

import dataclasses
import re

import pytest

from mask_rcnn.config import Config
from mask_rcnn.model_zoo import cache
from mask_rcnn.model_zoo.registry import ENTRIES, did_you_mean, find

DETECTORS = [name for name, entry in ENTRIES.items() if not entry.is_backbone]
BACKBONES = [name for name, entry in ENTRIES.items() if entry.is_backbone]


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_says_what_it_is_and_what_is_not_known(name):
    entry = find(name)
    assert entry.url.startswith("https://")
    assert entry.description and entry.license and entry.source
    assert entry.file_format in ("pth", "pkl", "h5")
    assert bool(entry.algorithm) != any(text.startswith("hash:") for text in entry.unconfirmed)
    has_figure = entry.top1 if entry.is_backbone else entry.box_ap
    assert bool(has_figure) != any(text.startswith("accuracy:") for text in entry.unconfirmed)
    assert bool(has_figure) == bool(entry.published)


@pytest.mark.parametrize("name", ENTRIES)
def test_digits_in_the_name_of_a_file_are_those_of_its_hash(name):
    entry = find(name)
    in_name = re.search(r"[-_]([0-9a-f]{6}|[0-9a-f]{8})\.(pkl|pth)$", entry.url)
    assert not in_name or in_name[1] == entry.digits


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_has_a_config_and_a_name_for_each_class(name):
    entry = find(name)
    assert isinstance(entry.config, Config)
    assert len(entry.class_names) == entry.config.num_classes
    assert entry.class_names[0] == "person"
    scores = {"mask_ap": entry.config.mask_head, "keypoint_ap": entry.config.keypoint_head}
    for score, head in scores.items():
        assert (getattr(entry, score) is None) == (head is None)


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_has_the_conventions_it_was_trained_with(name):
    own_name = name.rpartition("/")[2].removesuffix("_v2")
    expected = {"R-50": "resnet50", "R-101": "resnet101", "imagenet": "efficientnet_lite0"}
    assert find(name).config.backbone.name == expected.get(own_name, own_name)


def test_the_published_numbers_of_some():
    facts = {name: (find(name).box_ap, find(name).mask_ap, find(name).keypoint_ap) for name in DETECTORS}
    assert facts["torchvision/maskrcnn_resnet50_fpn_v2"] == (47.4, 41.8, None)
    assert facts["detectron2/mask_rcnn_R_101_FPN_400ep_LSJ"] == (48.9, 43.7, None)
    assert facts["detectron2/keypoint_rcnn_R_50_FPN_1x"] == (53.6, None, 64.0)
    assert facts["matterport/mask_rcnn_coco"] == (34.7, 29.6, None)


def test_urls_are_as_the_sources_write_them():
    assert find("torchvision/maskrcnn_resnet50_fpn").url == (
        "https://download.pytorch.org/models/maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth"
    )
    assert find("detectron2/mask_rcnn_R_50_C4_3x").url == (
        "https://dl.fbaipublicfiles.com/detectron2/COCO-InstanceSegmentation/mask_rcnn_R_50_C4_3x/"
        "137849525/model_final_4ce675.pkl"
    )


def test_a_hash_in_words_says_how_much_of_it_is_published():
    entry = find("detectron2/mask_rcnn_R_50_FPN_3x")
    assert entry.hash_text == "md5 f10217... (no more is published)"
    assert find("matterport/mask_rcnn_coco").hash_text == "none published"
    assert find("keras/resnet50").is_hash_complete


def test_a_hash_must_be_hexadecimal():
    with pytest.raises(ValueError, match="`sha256` must be hexadecimal.*Received: 'xyz'"):
        dataclasses.replace(find("keras/resnet50"), sha256="xyz")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("torchvison/maskrcnn_resnet50_fpn", "torchvision/maskrcnn_resnet50_fpn"),
        ("mask_rcnn_R_50_C4_3x", "detectron2/mask_rcnn_R_50_C4_3x"),
        ("detectron/R-50", "detectron2/MSRA/R-50"),
    ],
)
def test_a_name_that_is_nearly_right_is_corrected(typed, meant):
    with pytest.raises(ValueError, match=f"Received: '{typed}'. Did you mean .*'{meant}'"):
        find(typed)


def test_a_name_like_no_other_is_not_corrected():
    assert did_you_mean("/data/best.weights.h5") == ""


def test_the_weights_of_a_pip_package_have_their_hash_without_a_download():
    entry = find("efficientnet_lite0/imagenet")
    assert cache.verify(entry, cache.fetch(entry)) == entry.sha256
