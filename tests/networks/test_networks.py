"""Tests of backbones, pyramid and heads: sizes, numbers of weights, and trainable weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mask_rcnn.layers.conv import ConvNorm
from mask_rcnn.layers.keypoints import KeypointDeconv
from mask_rcnn.layers.masks import MaskDeconv
from mask_rcnn.model import build_parts
from mask_rcnn.model_zoo import torchvision
from mask_rcnn.networks.efficientnet_lite import efficientnet_lite0
from mask_rcnn.networks.fpn import fpn
from mask_rcnn.networks.heads import box_head, hidden_convs, mask_head, rpn_head
from mask_rcnn.networks.resnet import BLOCKS, resnet, roi_stage

pytestmark = pytest.mark.kernels

# Weights of torchvision's maskrcnn_resnet50_fpn, 91 outputs, by part.
RESNET50_CONVS = 23_454_912
RESNET50_NORM_CHANNELS = 26_560
WEIGHTS = {
    "backbone": RESNET50_CONVS + 4 * RESNET50_NORM_CHANNELS,  # gamma, beta, mean and variance
    "fpn": (256 + 512 + 1024 + 2048) * 256 + 4 * (9 * 256 * 256) + 8 * 256,
    "rpn_head": 9 * 256 * 256 + 256 + (256 + 1) * (3 + 12),
    "box_head": (7 * 7 * 256 + 1) * 1024 + (1024 + 1) * 1024 + (1024 + 1) * (91 + 4 * 91),
    "mask_head": 4 * (9 * 256 * 256 + 256) + 4 * 256 * 256 + 256 + (256 + 1) * 91,
}
# torchvision's counts for ImageNet, in the metadata of its weights (torchvision 0.29.2, models/resnet.py).
IMAGENET_PARAMETERS = {
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnext50_32x4d": 25_028_904,
    "resnext101_32x8d": 88_791_336,
    "resnext101_64x4d": 83_455_272,
}
CLASSIFIER = (2048 + 1) * 1000
# The counts of its detectors (models/detection/mask_rcnn.py, faster_rcnn.py).
V2_PARAMETERS = {"maskrcnn_resnet50_fpn_v2": 46_359_409, "fasterrcnn_resnet50_fpn_v2": 43_712_278}
# torchvision's own number of parameters, without its frozen normalizations, which are buffers.
TORCHVISION_PARAMETERS = 44_401_393


@pytest.fixture
def one_block_resnet(monkeypatch):
    monkeypatch.setitem(BLOCKS, "resnet50", (1, 1, 1, 1))


def shapes(outputs):
    return [tuple(x.shape) for x in outputs]


def image(height=64, width=96):
    return np.random.default_rng(0).normal(size=[1, height, width, 3]).astype("float32")


def test_the_parts_have_as_many_weights_as_those_of_torchvision(resnet50_parts):
    counts = {name: part.count_params() for name, part in resnet50_parts.named().items()}
    assert counts == WEIGHTS
    assert sum(counts.values()) - 4 * RESNET50_NORM_CHANNELS == TORCHVISION_PARAMETERS


def parameters(part):
    """Returns the number of weights as torch counts them, without statistics."""
    return sum(v.numpy().size for v in part.weights if "moving" not in v.path)


@pytest.mark.parametrize(
    "name",
    ["resnet50", "resnext50_32x4d"]
    + [pytest.param(name, marks=pytest.mark.slow) for name in IMAGENET_PARAMETERS if "50" not in name],
)
def test_backbones_have_as_many_weights_as_those_of_torchvision(name):
    assert parameters(resnet(name)) + CLASSIFIER == IMAGENET_PARAMETERS[name]


@pytest.mark.parametrize("name", V2_PARAMETERS)
def test_the_second_versions_have_as_many_weights_as_those_of_torchvision(name):
    parts = build_parts(getattr(torchvision, name)())
    assert sum(parameters(part) for part in parts.named().values()) == V2_PARAMETERS[name]


def test_what_is_frozen_does_not_train(resnet50_parts):
    names = {v.path.split("/")[0] for v in resnet50_parts.backbone.trainable_variables}
    assert not [name for name in names if name.startswith(("stem", "stage2"))]
    assert len(names) == 13 + 19 + 10  # convolutions of C3, C4, C5: 3 per block, and a shortcut
    kinds = {v.path.split("/")[-1] for v in resnet50_parts.backbone.trainable_variables}
    assert kinds == {"kernel"}
    for part in ("fpn", "rpn_head", "box_head", "mask_head"):
        assert not resnet50_parts.named()[part].non_trainable_variables


@pytest.mark.parametrize(
    ("frozen_stages", "first"), [(0, "stem"), (1, "stage2"), (2, "stage3"), (4, "stage5"), (5, None)]
)
def test_stages_train_from_the_first_that_is_not_frozen(one_block_resnet, frozen_stages, first):
    backbone = resnet("resnet50", frozen_stages=frozen_stages)
    names = [v.path for v in backbone.trainable_variables]
    assert names[0].startswith(first) if first else not names


def test_stages_of_efficientnet_freeze_as_those_of_a_resnet():
    backbone = efficientnet_lite0(frozen_stages=2)  # stem and C2: blocks 0 to 2
    layers = {v.path.split("/")[0] for v in backbone.trainable_variables}
    assert not layers & {"stem", "block0_depthwise", "block1_expand", "block2_project"}
    assert "block3_expand" in layers


@pytest.mark.parametrize("norm", ["frozen_batch_norm", "batch_norm"])
def test_a_step_changes_nothing_that_is_frozen(one_block_resnet, norm):
    backbone = resnet("resnet50", norm=norm, frozen_stages=2)
    before = {v.path: np.asarray(v) for v in backbone.weights}
    model = keras.Model(backbone.input, backbone.outputs[-1])
    model.compile(keras.optimizers.SGD(1e-4), "mse", run_eagerly=True)
    model.train_on_batch(image(), np.ones([1, 2, 3, 2048], "float32"))
    changed = {v.path for v in backbone.weights if not np.array_equal(np.asarray(v), before[v.path])}
    assert {v.path for v in backbone.trainable_variables} <= changed
    assert not [path for path in changed if path.startswith(("stem", "stage2"))]


def test_an_untrained_efficientnet_passes_signals_on():
    deviations = [np.std(stage) for stage in efficientnet_lite0()(image())]
    assert min(deviations) > 0.1 and max(deviations) < 100


def test_the_stages_of_a_resnet_have_strides_4_to_32(one_block_resnet):
    outputs = resnet("resnet50")(image())
    assert shapes(outputs) == [(1, 16, 24, 256), (1, 8, 12, 512), (1, 4, 6, 1024), (1, 2, 3, 2048)]


def test_the_stages_of_efficientnet_have_strides_4_to_32():
    outputs = efficientnet_lite0()(image())
    assert shapes(outputs) == [(1, 16, 24, 24), (1, 8, 12, 40), (1, 4, 6, 112), (1, 2, 3, 320)]


def test_a_resnet_of_the_msra_strides_in_the_first_convolution(one_block_resnet):
    def strides(backbone):
        return [backbone.get_layer(f"stage3_block0_conv{i}").strides for i in (1, 2, 3)]

    assert strides(resnet("resnet50")) == [1, 2, 1]
    assert strides(resnet("resnet50", stride_in_1x1=True)) == [2, 1, 1]
    assert shapes(resnet("resnet50", stride_in_1x1=True)(image()))[-1] == (1, 2, 3, 2048)


def test_the_fifth_stage_may_stand_alone(one_block_resnet):
    whole, c4, stage = resnet("resnet50"), resnet("resnet50", last_stage=4), roi_stage("resnet50")
    names = [v.path for v in c4.weights] + [v.path for v in stage.weights]
    assert names == [v.path for v in whole.weights]
    for part in (c4, stage):
        for variable in part.weights:
            variable.assign(next(v for v in whole.weights if v.path == variable.path))
    np.testing.assert_allclose(stage(c4(image())[-1]), whole(image())[-1], rtol=1e-4, atol=1e-4)
    assert stage(np.zeros([3, 14, 14, 1024], "float32")).shape == (3, 7, 7, 2048)
    assert not roi_stage("resnet50", frozen_stages=5).trainable_variables


def test_a_dilated_c5_sees_with_the_same_weights_at_twice_the_resolution(one_block_resnet):
    plain, dilated = (resnet("resnet50", dilated_c5=dilated, stride_in_1x1=True) for dilated in (False, True))
    for mine, theirs in zip(dilated.weights, plain.weights, strict=True):
        mine.assign(theirs)
    coarse, fine = plain(image())[-1], dilated(image())[-1]
    assert fine.shape == (1, 4, 6, 2048)
    # With the stride in the 1x1 convolution, the coarse map has every second pixel of the fine one.
    np.testing.assert_allclose(fine[:, ::2, ::2], coarse, rtol=1e-3, atol=1e-4 * np.max(coarse))


@pytest.mark.parametrize(("padding", "first"), [("symmetric", 3), ("same", 4)])
def test_the_pool_of_the_stem_pads_on_all_sides_or_at_the_end(padding, first, one_block_resnet):
    backbone = resnet("resnet50", stem_pool_padding=padding)
    pool = keras.Model(
        backbone.get_layer("stem").output, backbone.get_layer("stage2_block0_conv1").input, name="pool"
    )
    ramp = np.broadcast_to(np.arange(8.0)[:, None, None], [8, 8, 64])[None].astype("float32")
    np.testing.assert_array_equal(pool(ramp)[0, 1, :, 0], [first] * 4)


@pytest.mark.parametrize(
    ("name", "shape"), [("resnext50_32x4d", (3, 3, 4, 128)), ("resnext101_64x4d", (3, 3, 4, 256))]
)
def test_a_resnext_has_grouped_convolutions(name, shape, monkeypatch):
    monkeypatch.setitem(BLOCKS, name, (1, 1, 1, 1))
    backbone = resnet(name)
    assert backbone.get_layer("stage2_block0_conv2").kernel.shape == shape
    assert shapes(backbone(image())) == [(1, 16, 24, 256), (1, 8, 12, 512), (1, 4, 6, 1024), (1, 2, 3, 2048)]


def test_the_norm_reaches_every_convolution(one_block_resnet):
    backbone = resnet("resnet50", norm="group_norm", norm_epsilon=1e-4)
    convs = [layer for layer in backbone.layers if isinstance(layer, ConvNorm)]
    assert len(convs) == 1 + 4 * 4
    assert all(isinstance(conv.norm, keras.layers.GroupNormalization) for conv in convs)
    assert all(conv.norm.epsilon == 1e-4 for conv in convs)


def test_the_pyramid_has_a_level_more_than_the_backbone():
    stages = [np.ones([2, 16 // 2**i, 24 // 2**i, 8 * 2**i], "float32") for i in range(4)]
    outputs = fpn([8, 16, 32, 64], channels=5)(stages)
    assert shapes(outputs) == [(2, 16, 24, 5), (2, 8, 12, 5), (2, 4, 6, 5), (2, 2, 3, 5), (2, 1, 2, 5)]
    np.testing.assert_array_equal(outputs[4], outputs[3][:, ::2, ::2])


def test_coarse_levels_reach_all_finer_ones():
    rng = np.random.default_rng(0)
    pyramid = fpn([8, 16, 32, 64], channels=5)
    stages = [rng.normal(size=[1, 16 // 2**i, 16 // 2**i, 8 * 2**i]).astype("float32") for i in range(4)]
    before = pyramid(stages)
    stages[2] = stages[2] + 1  # C4
    changed = [not np.allclose(x, y) for x, y in zip(before, pyramid(stages), strict=True)]
    assert changed == [True, True, True, False, False]


def test_the_rpn_says_one_logit_and_four_deltas_for_each_anchor():
    head = rpn_head(8, channels=8, num_anchors=3, convs=2)
    for height, width in ((5, 7), (1, 1)):  # every level with the same head
        logits, deltas = head(np.ones([2, height, width, 8], "float32"))
        assert logits.shape == (2, height, width, 3)
        assert deltas.shape == (2, height, width, 12)
    assert {v.path.split("/")[0] for v in head.weights} == {"conv0", "conv1", "objectness", "deltas"}


@pytest.mark.parametrize("num_rois", [0, 1, 6])
def test_the_heads_take_any_number_of_rois(num_rois):
    logits, deltas = box_head((3, 3, 8), (), dense_units=(16,), num_outputs=4)(
        np.ones([num_rois, 3, 3, 8], "float32")
    )
    assert logits.shape == (num_rois, 4)
    assert deltas.shape == (num_rois, 16)
    pooled, class_ids = np.ones([num_rois, 6, 6, 8], "float32"), np.ones(num_rois, "int32")
    assert mask_head((6, 6, 8), hidden_convs(1, 8), channels=8, num_outputs=4)([pooled, class_ids]).shape == (
        num_rois,
        12,
        12,
    )


EMPTY_BATCH_LAYERS = {
    "plain": lambda: ConvNorm(4, 3, activation="relu"),
    "strided, frozen": lambda: ConvNorm(4, 3, 2, norm="frozen_batch_norm", activation="relu"),
    "batch norm": lambda: ConvNorm(4, 3, 2, norm="batch_norm", activation="relu"),
    "groups": lambda: ConvNorm(4, 3, groups=2, activation="relu"),
    "dilated": lambda: ConvNorm(4, 3, dilation=2, activation="relu"),
    "depthwise": lambda: ConvNorm(None, 3, 2, activation="relu"),
    "mask deconvolution": lambda: MaskDeconv(4),
    "keypoint deconvolution": lambda: KeypointDeconv(4, 4, 2, padding="same", activation="relu"),
}


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("make_layer", EMPTY_BATCH_LAYERS.values(), ids=EMPTY_BATCH_LAYERS.keys())
def test_an_empty_batch_has_the_channels_of_the_output_and_no_gradient(make_layer, compiled):
    layer, channels = make_layer(), 8

    def values_and_gradients(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
            total = tf.reduce_sum(y)
        return y, tape.gradient(total, [x, *layer.trainable_variables])

    run = values_and_gradients
    if compiled:
        run = tf.function(run, input_signature=[tf.TensorSpec([None, 6, 6, channels])])
    layer.build((None, 6, 6, channels))
    full, _ = run(tf.ones([2, 6, 6, channels]))
    y, gradients = run(tf.zeros([0, 6, 6, channels]))
    assert y.shape == (0, *full.shape[1:])
    assert [gradient.shape for gradient in gradients] == [
        (0, 6, 6, channels),
        *(variable.shape for variable in layer.trainable_variables),
    ]
    assert all(not np.any(gradient) for gradient in gradients)


def test_a_head_may_begin_with_normalized_convolutions():
    head = box_head(
        (3, 3, 8), hidden_convs(2, 32, norm="group_norm", norm_epsilon=1e-3), dense_units=(16,), num_outputs=4
    )
    assert [layer.name for layer in head.layers[1:]] == [
        *("conv1", "conv2", "flatten", "fc1", "class_logits", "deltas")
    ]
    assert head.get_layer("conv2").norm.epsilon == 1e-3
    assert head.get_layer("conv1").bias is None
    assert head.get_layer("fc1").kernel.shape == (3 * 3 * 32, 16)


def test_a_head_may_average_and_have_one_box_for_all_classes():
    head = box_head((3, 3, 8), (), dense_units=(), num_outputs=4, average_pool=True, class_agnostic=True)
    features = np.random.default_rng(0).normal(size=[5, 3, 3, 8]).astype("float32")
    logits, deltas = head(features)
    assert deltas.shape == (5, 4)
    kernel = head.get_layer("class_logits").kernel
    np.testing.assert_allclose(logits, features.mean(axis=(1, 2)) @ kernel, rtol=1e-4, atol=1e-6)


def test_untrained_heads_are_undecided():
    logits, deltas = box_head((3, 3, 8), (), dense_units=(16,), num_outputs=4)(
        np.ones([2, 3, 3, 8], "float32")
    )
    assert np.abs(logits).max() < 0.5
    assert np.abs(deltas).max() < 0.1


def test_parts_are_built_in_the_compute_dtype_of_the_policy():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        head = rpn_head(8, channels=8)
    finally:
        keras.config.set_dtype_policy("float32")
    logits, _ = head(np.ones([1, 2, 2, 8], "float32"))
    assert logits.dtype == "bfloat16"
    assert {v.dtype for v in head.weights} == {"float32"}
