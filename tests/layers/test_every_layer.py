"""Tests of every layer: saved and loaded, symbolic and eager, in half precision, and with numbers by hand."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

from mask_rcnn.layers.cascade import CascadeTargets, MeanScores, RefineBoxes, ScaleGradient
from mask_rcnn.layers.conv import ConvNorm, FrozenBatchNorm
from mask_rcnn.layers.float32 import Float32Layer
from mask_rcnn.layers.images import ImageWindows, NormalizeImages
from mask_rcnn.layers.inclusive import MoveFarEdges
from mask_rcnn.layers.mask_variants import (
    AllClassMaskPredictor,
    ClassLogOdds,
    SelectClassMask,
    SoftmaxMaskLoss,
    SoftmaxMasks,
)
from mask_rcnn.layers.masks import (
    FlattenRois,
    MaskDeconv,
    MaskLoss,
    MaskPredictor,
    MaskProbabilities,
    PositiveRois,
)
from mask_rcnn.layers.roi import BoxHeadLosses, DetectionLayer, RoiTargets
from mask_rcnn.layers.roi_poolers import CropAndResize, RoiAlign, RoiPool, RoiWarp
from mask_rcnn.layers.rpn import Anchors, ProposalLayer, RpnLosses
from mask_rcnn.layers.stem_pool import StemPool
from mask_rcnn.networks.fpn import UpsampleAdd

pytestmark = pytest.mark.kernels

RNG = np.random.default_rng(0)
WEIGHTS = (10.0, 10.0, 5.0, 5.0)


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


def random_boxes(*shape):
    return np.sort(RNG.uniform(0, 60, [*shape, 2, 2]), axis=-2).reshape(*shape, 4).astype("float32")


# Two images of 64 x 64 pixels, two levels of strides 4 and 8 with one anchor per cell, three classes.
PYRAMID = [normal(2, 16, 16, 5), normal(2, 8, 8, 5)]
LOGITS = [normal(2, 16, 16, 1), normal(2, 8, 8, 1)]
DELTAS = [normal(2, 16, 16, 4), normal(2, 8, 8, 4)]
ANCHORS = [random_boxes(256), random_boxes(64)]
IMAGES = RNG.uniform(0, 255, [2, 64, 64, 3]).astype("float32")
SIZES = np.array([[64, 64], [50, 40]], "float32")
WINDOWS = np.array([[0, 0, 64, 64], [7, 12, 57, 52]], "float32")
PROPOSALS = {"boxes": random_boxes(2, 6), "valid": np.array([[True] * 6, [True] * 4 + [False] * 2])}
BATCH = {
    "gt_boxes": random_boxes(2, 3),
    "gt_class_ids": np.array([[1, 2, 0], [3, 0, 0]], "int32"),
    "gt_masks": RNG.integers(0, 2, [2, 3, 8, 8]).astype("uint8"),
    "seeds": np.array([[0, 1], [2, 3]], "int32"),
}
SAMPLED = {
    "rois": random_boxes(2, 4),
    "class_ids": np.array([[1, 2, 0, 0], [3, 0, 0, 0]], "int32"),
    "deltas": normal(2, 4, 4),
    "matched": np.array([[0, 1, 0, 0], [0, 0, 0, 0]], "int32"),
    "positive": np.array([[True, True, False, False], [True, False, False, False]]),
    "valid": np.array([[True] * 4, [True] * 3 + [False]]),
}
FEATURES = normal(3, 4, 4, 64)
QUARTERS = normal(3, 4, 4, 4, 5)

BOX_LAYERS = {
    "anchors": (Anchors((8, 16), (4, 8), (1.0,)), (PYRAMID, IMAGES)),
    "anchors of torchvision": (
        Anchors((8, 16), (4, 8), (1.0,), rounded=True, stride_from_padded_size=True),
        (PYRAMID, np.zeros([2, 80, 64, 3])),
    ),
    "proposals": (
        ProposalLayer(20, 10, nms_iou=0.5, min_size=1.0, joint_levels=True, clamp_deltas=False),
        (LOGITS, DELTAS, ANCHORS, WINDOWS),
    ),
    "rpn losses, giou": (
        RpnLosses(
            samples=16, positive_fraction=0.5, positive_iou=0.7, negative_iou=0.3, beta=0.1, box_loss="giou"
        ),
        (LOGITS, DELTAS, ANCHORS, BATCH),
    ),
    "rpn losses": (
        RpnLosses(samples=16, positive_fraction=0.5, positive_iou=0.7, negative_iou=0.3, beta=0.1),
        (LOGITS, DELTAS, ANCHORS, BATCH),
    ),
    "pooled": (
        RoiAlign((4, 8), 3, {"epsilon": 0.0, "offset": 1e-6}, sampling_ratio=0, aligned=False),
        (PYRAMID, PROPOSALS["boxes"]),
    ),
    "pooled from corner to corner": (
        CropAndResize((4, 8), 3, {"rounding": "nearest"}),
        (PYRAMID, PROPOSALS["boxes"]),
    ),
    "maximum of samples": (
        RoiAlign((4, 8), 3, pooling="max", sample_points=(0.2, 0.3, 0.9, 0.5)),
        (PYRAMID, PROPOSALS["boxes"]),
    ),
    "warped": (RoiWarp((4, 8), 3, sampling_ratio=1), (PYRAMID, PROPOSALS["boxes"])),
    "pooled by whole pixels": (RoiPool((4, 8), 3), (PYRAMID, PROPOSALS["boxes"])),
    "windows": (ImageWindows(), (SIZES,)),
    "windows in the middle": (ImageWindows(True, True), (SIZES, IMAGES)),
    "far edges": (MoveFarEdges(-1), (BATCH["gt_boxes"], BATCH["gt_class_ids"])),
    "detections": (
        DetectionLayer(
            WEIGHTS,
            score_threshold=0.1,
            nms_iou=0.6,
            max_detections=5,
            min_size=0.5,
            clamp_deltas=False,
            best_class_only=True,
        ),
        (normal(12, 4), normal(12, 16), PROPOSALS, WINDOWS),
    ),
    "roi targets": (
        RoiTargets(samples=8, positive_fraction=0.25, positive_iou=0.5, delta_weights=WEIGHTS),
        (PROPOSALS, BATCH),
    ),
    "detections of all classes alike": (
        DetectionLayer(WEIGHTS, score_threshold=0.1, nms_iou=0.6, max_detections=5),
        (normal(12, 4), normal(12, 4), PROPOSALS, WINDOWS),
    ),
    "refined boxes": (RefineBoxes(WEIGHTS, False), (normal(12, 4), PROPOSALS, WINDOWS)),
    "refined targets": (CascadeTargets(0.4, WEIGHTS), (PROPOSALS, BATCH)),
    "mean scores": (MeanScores(), ([normal(6, 4), normal(6, 4)],)),
    "box head losses, giou": (BoxHeadLosses(0.0, "giou", WEIGHTS), (normal(8, 4), normal(8, 4), SAMPLED)),
    "box head losses": (BoxHeadLosses(0.2), (normal(8, 4), normal(8, 16), SAMPLED)),
    "first rois": (PositiveRois(2), (SAMPLED,)),
    "merged rois": (FlattenRois(), (PROPOSALS["boxes"],)),
    "merged class ids": (FlattenRois(), (SAMPLED["class_ids"],)),
    "mask loss": (MaskLoss(), (normal(8, 6, 6), SAMPLED, BATCH)),
    "competing mask loss": (SoftmaxMaskLoss(), (normal(8, 6, 6, 2), SAMPLED, BATCH)),
    "competing masks": (SoftmaxMasks(), (normal(3, 6, 6, 4), np.array([0, 3, 1], "int32"))),
    "chosen masks": (SelectClassMask(), (normal(3, 6, 6, 4), np.array([0, 3, 1], "int32"))),
    "first mask": (ClassLogOdds(), (normal(3, 6, 6, 2),)),
    "mask probabilities": (MaskProbabilities(), (normal(12, 6, 6), PROPOSALS["boxes"])),
}
FEATURE_LAYERS = {
    "normalized": (NormalizeImages((100.0, 110.0, 120.0), (50.0, 60.0, 70.0)), (IMAGES, SIZES)),
    "frozen batch norm": (FrozenBatchNorm(1e-3), (FEATURES,)),
    "conv": (ConvNorm(8, 3, 2, activation="relu"), (FEATURES,)),
    "conv same": (
        ConvNorm(8, 3, 2, padding="same", norm="frozen_batch_norm", norm_epsilon=1e-3, activation="relu6"),
        (FEATURES,),
    ),
    "depthwise": (ConvNorm(None, 5, norm="batch_norm"), (FEATURES,)),
    "conv group norm": (ConvNorm(64, 1, norm="group_norm", kernel_initializer="glorot_uniform"), (FEATURES,)),
    "grouped": (ConvNorm(32, 3, 2, norm="batch_norm", groups=16), (FEATURES,)),
    "dilated": (ConvNorm(8, 3, groups=4, dilation=2), (FEATURES,)),
    "scaled gradient": (ScaleGradient(0.25), (FEATURES,)),
    "upsampled": (UpsampleAdd(), (PYRAMID[1], PYRAMID[0])),
    "stem pool": (StemPool(), (FEATURES,)),
    "mask deconv": (MaskDeconv(5), (FEATURES,)),
    "every mask": (AllClassMaskPredictor(4), (QUARTERS,)),
    "mask predictor": (MaskPredictor(4), (QUARTERS, np.array([0, 3, 1], "int32"))),
}
CASES = BOX_LAYERS | FEATURE_LAYERS
each_layer = pytest.mark.parametrize(("layer", "inputs"), CASES.values(), ids=CASES.keys())
each_box_layer = pytest.mark.parametrize(("layer", "inputs"), BOX_LAYERS.values(), ids=BOX_LAYERS.keys())


def flat(structure):
    return keras.tree.flatten(structure)


def symbolic(inputs):
    """Returns the same structure of `keras.Input`s with an unknown first axis."""
    return keras.tree.map_structure(lambda x: keras.Input(x.shape[1:], dtype=str(x.dtype)), inputs)


def assert_equal(actual, desired):
    keras.tree.assert_same_structure(actual, desired)
    for one, other in zip(flat(actual), flat(desired), strict=True):
        np.testing.assert_allclose(tf.cast(one, tf.float32), tf.cast(other, tf.float32), rtol=1e-5, atol=1e-5)


@each_layer
def test_a_config_holds_every_argument(layer, inputs):
    arguments = inspect.signature(type(layer)).parameters.keys() - {"args", "kwargs"}
    of_the_machine = {"implementation", "ops"}  # chosen again on the machine that loads the layer
    assert arguments - of_the_machine <= layer.get_config().keys()
    assert not of_the_machine & layer.get_config().keys()


@each_layer
def test_a_layer_made_from_its_config_is_the_same(layer, inputs):
    expected = layer(*inputs)
    again = type(layer).from_config(layer.get_config())
    again(*inputs)
    again.set_weights(layer.get_weights())
    assert again.get_config() == layer.get_config()
    assert_equal(again(*inputs), expected)


@each_layer
@pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)  # Keras
def test_a_saved_model_is_loaded_with_the_layer_in_it(layer, inputs, tmp_path):
    places = symbolic(inputs)
    model = keras.Model(flat(places), layer(*places))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert_equal(again(flat(inputs)), layer(*inputs))


@each_layer
def test_symbolic_and_eager_outputs_agree(layer, inputs):
    expected = layer(*inputs)
    outputs = layer(*symbolic(inputs))
    keras.tree.assert_same_structure(outputs, expected)
    for promised, given in zip(flat(outputs), flat(expected), strict=True):
        assert promised.dtype == given.dtype.name
        assert len(promised.shape) == len(given.shape)
        for mine, other in zip(promised.shape, given.shape, strict=True):
            assert mine in (None, other)
    assert len({id(x) for x in flat(outputs)}) == len(flat(outputs))  # Keras identifies tensors by id


@each_layer
def test_a_graph_gives_what_eager_execution_gives(layer, inputs):
    assert_equal(tf.function(layer)(*inputs), layer(*inputs))


@pytest.fixture
def bfloat16():
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


@each_box_layer
def test_boxes_and_losses_stay_float32_in_half_precision(layer, inputs, bfloat16):
    again = type(layer).from_config(layer.get_config() | {"dtype": "mixed_bfloat16"})
    assert isinstance(again, Float32Layer)
    assert again.compute_dtype == "float32"
    assert_equal(again(*inputs), layer(*inputs))
    assert not [x for x in flat(again(*inputs)) if x.dtype == tf.bfloat16]


@pytest.mark.parametrize("norm", ["none", "frozen_batch_norm", "batch_norm", "group_norm"])
def test_convolutions_compute_in_half_precision_with_float32_weights(norm, bfloat16):
    layer = ConvNorm(64, 3, norm=norm)
    assert layer(FEATURES).dtype == tf.bfloat16
    assert {v.dtype for v in layer.weights} == {"float32"}


def test_images_are_normalized_before_they_lose_precision(bfloat16):
    layer = NormalizeImages((200.0,) * 3, (1.0,) * 3)
    normalized = layer(np.full([1, 1, 1, 3], 201.0, "float32"), np.ones([1, 2], "float32"))
    assert normalized.dtype == tf.bfloat16
    np.testing.assert_array_equal(tf.cast(normalized, tf.float32), np.ones([1, 1, 1, 3]))


def test_padding_gets_the_mean_color():
    layer = NormalizeImages((100.0, 110.0, 120.0), (50.0, 55.0, 60.0))
    images = np.full([2, 2, 3, 3], 220.0, "float32")
    normalized = layer(images, np.array([[2, 3], [1, 2]], "float32")).numpy()
    np.testing.assert_allclose(normalized[0, 1, 2], [120 / 50, 2, 100 / 60], rtol=1e-6)
    np.testing.assert_array_equal(normalized[1].any(axis=-1), [[True, True, False], [False] * 3])


def test_frozen_batch_norm_by_hand():
    layer = FrozenBatchNorm(epsilon=1.0)
    layer.build((None, 1))
    for variable, value in zip(layer.weights, (2.0, 10.0, 4.0, 8.0), strict=True):
        variable.assign([value])  # gamma, beta, mean, variance
    np.testing.assert_allclose(layer(np.array([[7.0]], "float32")), [[(7 - 4) / 3 * 2 + 10]], rtol=1e-6)
    assert layer.trainable_weights == []


def test_a_frozen_batch_norm_is_multiplied_into_the_kernel():
    layer = ConvNorm(8, 3, norm="frozen_batch_norm")
    plain = ConvNorm(8, 3)
    plain.build(FEATURES.shape)
    layer.build(FEATURES.shape)
    plain.kernel.assign(layer.kernel)
    for variable in layer.norm.weights:
        variable.assign(RNG.uniform(0.5, 2, 8))
    np.testing.assert_allclose(layer(FEATURES), layer.norm(plain(FEATURES)), atol=1e-4)
    assert [v.path.split("/")[-1] for v in layer.trainable_weights] == ["kernel"]


@pytest.mark.parametrize(
    ("padding", "expected"),
    [("symmetric", [[4, 6], [6, 9]]), ("same", [[9, 6], [6, 4]])],
)
def test_a_stride_of_two_begins_at_the_border_or_inside(padding, expected):
    layer = ConvNorm(1, 3, 2, padding=padding, kernel_initializer="ones")
    output = layer(np.ones([1, 4, 4, 1], "float32"))
    np.testing.assert_array_equal(output[0, :, :, 0], expected)  # the pixels under the kernel


def test_a_depthwise_convolution_keeps_channels_apart():
    layer = ConvNorm(None, 3, kernel_initializer="ones")
    image = np.zeros([1, 3, 3, 2], "float32")
    image[..., 1] = 1
    np.testing.assert_array_equal(layer(image)[0, 1, 1], [0, 9])


def test_an_unknown_norm_is_named():
    with pytest.raises(ValueError, match=r"`norm` must be .*group_norm.*Received: norm='layer_norm'"):
        ConvNorm(8, 3, norm="layer_norm")


def test_upsampling_repeats_pixels():
    coarse = np.array([[1, 2]], "float32").reshape(1, 1, 2, 1)
    summed = UpsampleAdd()(coarse, np.full([1, 2, 4, 1], 10, "float32"))
    np.testing.assert_array_equal(summed[0, :, :, 0], [[11, 11, 12, 12]] * 2)


def test_each_roi_gets_the_mask_of_its_class():
    deconv, predictor = MaskDeconv(5), MaskPredictor(4)
    class_ids = np.array([0, 3, 1], "int32")
    predictor(deconv(FEATURES), class_ids)  # builds the layers
    predictor.bias.assign(normal(4))
    keras_deconv = keras.layers.Conv2DTranspose(5, 2, 2, activation="relu")
    keras_deconv.build(FEATURES.shape)
    deconv.bias.assign(normal(5))
    keras_deconv.set_weights(deconv.get_weights())
    every_class = keras_deconv(FEATURES).numpy() @ predictor.kernel.numpy() + predictor.bias.numpy()
    expected = np.stack([every_class[roi, ..., class_id] for roi, class_id in enumerate(class_ids)])
    np.testing.assert_allclose(predictor(deconv(FEATURES), class_ids), expected, rtol=1e-4, atol=1e-5)


def test_the_stem_pools_around_every_second_pixel():
    rows = np.array([5, 1, 2, 8, 3], "float32").reshape(1, 5, 1, 1)
    assert StemPool()(rows)[0, :, 0, 0].numpy().tolist() == [5, 8, 8]
    assert StemPool("same")(rows[:, :4])[0, :, 0, 0].numpy().tolist() == [5, 8]


@pytest.mark.parametrize("padding", ["symmetric", "same"])
def test_the_stem_pool_gets_no_list_of_paddings_with_which_its_gradient_is_slow(padding):
    graph = tf.function(StemPool(padding)).get_concrete_function(tf.TensorSpec([1, 8, 8, 4])).graph
    (pool,) = (op for op in graph.get_operations() if op.type == "MaxPool")
    assert pool.get_attr("padding") in (b"SAME", b"VALID")


def test_the_stride_of_torchvision_comes_from_the_padded_size():
    maps = [np.zeros([1, 13, 13, 1], "float32")]
    images = np.zeros([1, 800, 832, 3], "float32")
    ours = Anchors((32,), (64,), (1.0,))(maps, images)[0]
    theirs = Anchors((32,), (64,), (1.0,), stride_from_padded_size=True)(maps, images)[0]
    np.testing.assert_array_equal(ours[-1], [752, 752, 784, 784])  # 12 x 64 and 16 to each side
    np.testing.assert_array_equal(theirs[-1], [12 * 61 - 16, 752, 12 * 61 + 16, 784])


def test_the_best_candidates_become_proposals():
    anchors = [np.array([[0, 0, 8, 8], [0, 0, 8, 7], [40, 40, 48, 48], [60, 60, 90, 90]], "float32")]
    logits = [np.array([1, 2, -1, 3], "float32").reshape(1, 2, 2, 1)]
    deltas = [np.zeros([1, 2, 2, 4], "float32")]
    proposals = ProposalLayer(4, 5)(logits, deltas, anchors, np.array([[0, 0, 64, 70]], "float32"))
    expected = [
        [60, 60, 64, 70],
        [0, 0, 8, 7],
        [40, 40, 48, 48],
        [0] * 4,
        [0] * 4,
    ]  # the second has a higher score
    np.testing.assert_array_equal(proposals["boxes"][0], expected)
    np.testing.assert_allclose(proposals["scores"][0], [3, 2, -1, 0, 0], atol=1e-5)
    assert proposals["valid"].numpy().tolist() == [[True] * 3 + [False] * 2]


def test_each_level_gives_its_own_candidates():
    anchors = [np.array([[0, 0, 8, 8], [20, 0, 28, 8]], "float32"), np.array([[0, 0, 8, 8]], "float32")]
    logits = [np.array([5, 4], "float32").reshape(1, 1, 2, 1), np.array([-9], "float32").reshape(1, 1, 1, 1)]
    deltas = [np.zeros([1, 1, 2, 4], "float32"), np.zeros([1, 1, 1, 4], "float32")]
    proposals = ProposalLayer(1, 3)(logits, deltas, anchors, WINDOWS[:1])
    np.testing.assert_allclose(proposals["scores"], [[5, -9, 0]], atol=1e-5)  # the best of each level


def test_joint_levels_share_their_candidates_and_suppress_each_other():
    anchors = [np.array([[0, 0, 8, 8], [20, 0, 28, 8]], "float32"), np.array([[0, 0, 8, 8]], "float32")]
    logits = [np.array([5, 4], "float32").reshape(1, 1, 2, 1), np.array([6], "float32").reshape(1, 1, 1, 1)]
    deltas = [np.zeros([1, 1, 2, 4], "float32"), np.zeros([1, 1, 1, 4], "float32")]
    for pre_nms, scores in ((3, [6, 4, 0]), (2, [6, 0, 0])):  # with two candidates, both are the same box
        layer = ProposalLayer(pre_nms, 3, joint_levels=True)
        proposals = layer(logits, deltas, anchors, WINDOWS[:1])
        np.testing.assert_allclose(proposals["scores"], [scores], atol=1e-5)


@pytest.mark.parametrize(("min_size", "count"), [(0.0, 2), (5.0, 1)])
def test_small_and_empty_proposals_are_dropped(min_size, count):
    anchors = [np.array([[0, 0, 8, 8], [20, 20, 24, 40], [70, 70, 80, 80]], "float32")]
    logits, deltas = [np.ones([1, 1, 3, 1], "float32")], [np.zeros([1, 1, 3, 4], "float32")]
    proposals = ProposalLayer(3, 4, nms_iou=0.7, min_size=min_size)(logits, deltas, anchors, WINDOWS[:1])
    assert proposals["valid"].numpy().sum() == count


def detect(class_probabilities, deltas, boxes, valid, threshold=0.05, min_size=0.0):
    """Returns the detections in one image of 64 x 64, at most three."""
    logits = np.log(np.array(class_probabilities, "float32"))
    proposals = {"boxes": np.array([boxes], "float32"), "valid": np.array([valid])}
    layer = DetectionLayer(
        WEIGHTS, score_threshold=threshold, nms_iou=0.5, max_detections=3, min_size=min_size
    )
    return layer(logits, np.array(deltas, "float32"), proposals, WINDOWS[:1])


def test_detections_by_hand():
    boxes = [[10, 10, 30, 30], [12, 10, 30, 30], [40, 40, 80, 60], [0, 0, 8, 8]]
    probabilities = [[0.2, 0.7, 0.1], [0.1, 0.6, 0.3], [0.1, 0.01, 0.89], [0.01, 0.5, 0.49]]
    deltas = np.zeros([4, 3, 4])
    deltas[2, 2] = [0, -2.5, 0, 0]  # a quarter of the width to the left
    found = detect(probabilities, deltas.reshape(4, 12), boxes, [True, True, True, False])
    np.testing.assert_array_equal(found["class_ids"], [[2, 1, 2]])
    np.testing.assert_allclose(found["scores"], [[0.89, 0.7, 0.3]], rtol=1e-5)
    np.testing.assert_allclose(found["boxes"][0], [[40, 35, 64, 55], boxes[0], boxes[1]], rtol=1e-5)


def test_without_a_score_above_the_threshold_all_detections_are_padding():
    found = detect([[0.98, 0.01, 0.01]], np.zeros([1, 12]), [[0, 0, 8, 8]], [True])
    for value in found.values():
        assert not value.numpy().any()


def test_of_each_roi_the_best_class_counts_alone():
    boxes = [[0, 0, 8, 8], [20, 0, 28, 8], [40, 0, 48, 8]]
    probabilities = [[0.1, 0.5, 0.4], [0.5, 0.4, 0.1], [0.2, 0.3, 0.5]]  # the second is background
    layer = DetectionLayer(WEIGHTS, score_threshold=0.05, nms_iou=0.5, max_detections=3, best_class_only=True)
    proposals = {"boxes": np.array([boxes], "float32"), "valid": np.ones([1, 3], bool)}
    found = layer(
        np.log(probabilities).astype("float32"), np.zeros([3, 12], "float32"), proposals, WINDOWS[:1]
    )
    assert found["class_ids"].numpy().tolist() == [[1, 2, 0]]
    np.testing.assert_array_equal(found["boxes"][0, :2], [boxes[0], boxes[2]])


def test_small_detections_are_dropped():
    boxes = [[0, 0, 8, 8], [20, 20, 22, 40]]
    found = detect([[0.1, 0.89, 0.01]] * 2, np.zeros([2, 12]), boxes, [True, True], min_size=3.0)
    assert found["class_ids"].numpy().tolist() == [[1, 0, 0]]


def test_only_the_deltas_of_the_true_class_count():
    sampled = {name: value[:1] for name, value in SAMPLED.items()}
    deltas = normal(4, 4, 4)
    deltas[0, 1], deltas[1, 2] = sampled["deltas"][0, 0] + 1, sampled["deltas"][0, 1]
    found = BoxHeadLosses(0.0)(np.zeros([4, 4], "float32"), deltas.reshape(4, 16), sampled)
    np.testing.assert_allclose(found["box_loss"], [[4, 4]], rtol=1e-5)  # four deltas off by one, four samples
    np.testing.assert_allclose(found["class_loss"], [[4 * np.log(4), 4]], rtol=1e-6)


def test_black_padding_is_normalized_and_a_centered_image_keeps_its_place():
    images, sizes = np.full([1, 4, 6, 3], 7.0, "float32"), np.array([[2, 3]], "float32")
    black = NormalizeImages((5.0,) * 3, (2.0,) * 3, padding="black", centered=True)(images, sizes)
    np.testing.assert_array_equal(black, np.ones([1, 4, 6, 3]))
    mean = NormalizeImages((5.0,) * 3, (2.0,) * 3, padding="mean", centered=True)(images, sizes)
    np.testing.assert_array_equal(np.pad(np.ones([2, 3]), [(1, 1), (1, 2)]), mean[0, :, :, 1])


def test_windows_in_the_middle_leave_the_padding_to_proposals():
    sizes, images = np.array([[2, 3], [4, 6]], "float32"), np.zeros([2, 4, 6, 3], "float32")
    windows = ImageWindows(True, True)(sizes, images)
    np.testing.assert_array_equal(windows["proposals"], [[0, 0, 3, 5]] * 2)
    np.testing.assert_array_equal(windows["detections"], [[1, 1, 2, 3], [0, 0, 3, 5]])
    top_left = ImageWindows()(sizes)
    for value in top_left.values():
        np.testing.assert_array_equal(value, [[0, 0, 2, 3], [0, 0, 4, 6]])


def test_far_edges_move_and_filling_stays():
    boxes, class_ids = np.array([[1, 2, 5, 9], [0, 0, 0, 0]], "float32"), np.array([4, 0], "int32")
    moved = MoveFarEdges(-1)(boxes, class_ids)
    np.testing.assert_array_equal(moved, [[1, 2, 4, 8], [0, 0, 0, 0]])
    np.testing.assert_array_equal(MoveFarEdges(1)(moved, class_ids), boxes)
    np.testing.assert_array_equal(MoveFarEdges(1)(boxes[:1]), [[1, 2, 6, 10]])


def test_boxes_of_all_classes_alike_are_found_as_those_of_each_class():
    boxes, deltas = [[10, 10, 30, 30], [40, 40, 60, 60]], np.array([[0, 2.5, 0, 0], [5, 0, 0, 0]], "float32")
    logits = [[0.2, 0.7, 0.1], [0.3, 0.1, 0.6]]
    agnostic = detect(logits, deltas, boxes, [True, True])
    specific = detect(logits, np.tile(deltas, 3), boxes, [True, True])
    assert agnostic["class_ids"].numpy().tolist()[0][:2] == [1, 2]
    np.testing.assert_allclose(agnostic["boxes"][0, 0], [10, 15, 30, 35], rtol=1e-6)
    for name, value in specific.items():
        np.testing.assert_array_equal(agnostic[name], value)


def test_deltas_of_all_classes_alike_count_for_every_class():
    deltas = SAMPLED["deltas"].reshape(8, 4)
    found = BoxHeadLosses(0.0)(np.zeros([8, 4], "float32"), deltas + 1, SAMPLED)
    np.testing.assert_allclose(found["box_loss"], [[2 * 4, 4], [1 * 4, 3]], rtol=1e-5)


def test_a_perfect_box_has_no_giou_loss():
    deltas = SAMPLED["deltas"].reshape(8, 4)
    found = BoxHeadLosses(0.0, "giou", WEIGHTS)(np.zeros([8, 4], "float32"), deltas, SAMPLED)
    np.testing.assert_allclose(found["box_loss"], [[0, 4], [0, 3]], atol=1e-5)


def test_one_mask_for_all_classes():
    features = normal(3, 4, 4, 4, 8)
    predictor = MaskPredictor(1)
    masks = predictor(features, np.array([0, 3, 7], "int32"))
    assert predictor.kernel.shape == (8, 1)
    np.testing.assert_allclose(masks, predictor(features, np.zeros(3, "int32")))
