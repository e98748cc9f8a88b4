"""Compares RoIPool, RoIWarp and RoIAlign's sample layouts with loops over single pixels and samples."""

import math

import numpy as np
import pytest
import tensorflow as tf
from locations import GOLDEN

from mask_rcnn.config import RoiAlignConfig
from mask_rcnn.layers.roi_poolers import RoiAlign, RoiPool, RoiWarp
from mask_rcnn.ops import roi_pool as ops
from mask_rcnn.ops.roi_align import roi_align
from mask_rcnn.ops.roi_pool import whole_pixel_rois

pytestmark = pytest.mark.kernels

RNG = np.random.default_rng(3)


@tf.function(autograph=False)  # in eager mode each RoI takes milliseconds
def roi_pool(features, boxes, image_indices, scale, pool_size):
    return ops.roi_pool(features, boxes, image_indices, scale=scale, pool_size=pool_size)


STRIDE = 8
FEATURES = RNG.normal(size=[2, 15, 19, 3]).astype("float32")
LAYOUT = (0.1, 0.2, 0.5, 0.9, 1.0, 0.0)  # y and x of three samples


def random_rois(count=500):
    """Returns `[R, 4]` boxes: inside, across borders, degenerate, at half pixels; and `[R]` image indices."""
    random = np.random.default_rng(4)
    corners = random.uniform(-40, 150, [count, 2])
    boxes = np.concatenate([corners, corners + random.uniform(0, 120, [count, 2])], axis=1)
    boxes[: count // 5] = np.round(boxes[: count // 5] / (STRIDE / 2)) * (STRIDE / 2)
    special = [
        [0, 0, 120, 152],
        [500, 500, 600, 600],
        [50, 60, 50, 60],
        [-90, -90, -20, -20],
        [119, 151, 121, 153],
    ]
    boxes[-len(special) :] = special
    return boxes.astype("float32"), random.integers(0, 2, count).astype("int32")


def rounded(value):
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


def reference_roi_pool(features, box, bins):
    """Returns Fast R-CNN's RoIPool of one RoI, `[P, P, C]`."""
    y1, x1, y2, x2 = (rounded(float(side) / STRIDE) for side in box)
    height, width = max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1)
    pooled = np.zeros([bins, bins, features.shape[-1]], "float32")
    for i, j in np.ndindex(bins, bins):
        rows = (y1 + i * height // bins, y1 - (-(i + 1) * height // bins))
        columns = (x1 + j * width // bins, x1 - (-(j + 1) * width // bins))
        top, bottom = np.clip(rows, 0, features.shape[0])
        left, right = np.clip(columns, 0, features.shape[1])
        if bottom > top and right > left:
            pooled[i, j] = features[top:bottom, left:right].max(axis=(0, 1))
    return pooled


def bilinear(features, y, x):
    """Returns the value at a position in pixels; pixel 0 has its center at 0."""
    height, width = features.shape[:2]
    if y < -1 or y > height or x < -1 or x > width:
        return np.zeros(features.shape[-1])
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    dy, dx = y - top, x - left
    upper = (1 - dx) * features[top, left] + dx * features[top, right]
    lower = (1 - dx) * features[bottom, left] + dx * features[bottom, right]
    return (1 - dy) * upper + dy * lower


def reference_samples(features, roi, bins, points):
    """Returns the samples of one RoI in map pixels, `[P, P, samples, C]`."""
    y1, x1, y2, x2 = map(float, roi)
    samples = np.zeros([bins, bins, len(points), features.shape[-1]])
    for i, j, k in np.ndindex(bins, bins, len(points)):
        y = y1 + (i + points[k][0]) * (y2 - y1) / bins
        x = x1 + (j + points[k][1]) * (x2 - x1) / bins
        samples[i, j, k] = bilinear(features, y - 0.5, x - 0.5)
    return samples


def is_at_the_edge(roi, points, bins=3):
    """Returns whether a sample is one pixel outside, up to rounding, which decides whether it counts."""
    start, size = roi[:2].astype("float64"), (roi[2:] - roi[:2]).astype("float64")
    samples = (np.arange(bins)[:, None, None] + np.array(points)) * size / bins + start - 0.5  # [bins, S, 2]
    edges = np.array([[-1.0, -1.0], FEATURES.shape[1:3]])
    return bool((np.abs(samples[..., None, :] - edges) < 1e-4).any())


def grid(ratio):
    positions = [(index + 0.5) / ratio for index in range(ratio)]
    return [(y, x) for y in positions for x in positions]


@pytest.mark.parametrize("bins", [1, 3, 7])
def test_roi_pool_of_500_rois_agrees_with_the_definition(bins):
    boxes, images = random_rois()
    expected = [
        reference_roi_pool(FEATURES[image], box, bins) for box, image in zip(boxes, images, strict=True)
    ]
    np.testing.assert_array_equal(roi_pool(FEATURES, boxes, images, 1 / STRIDE, bins), expected)


def test_roi_pool_and_its_gradient_agree_with_torchvision():
    golden = np.load(GOLDEN / "roi_pool.npz")
    features = tf.constant(golden["features"])
    with tf.GradientTape() as tape:
        tape.watch(features)
        pooled = roi_pool(features, golden["boxes"], golden["images"], 1 / 16, 7)
    np.testing.assert_array_equal(pooled, golden["pooled"])
    gradient = tape.gradient(pooled, features, golden["upstream"])
    np.testing.assert_allclose(gradient, golden["gradient"], atol=1e-5)


def test_the_gradient_of_roi_pool_agrees_with_finite_differences():
    boxes, images = random_rois(20)
    features, upstream = FEATURES.astype("float64"), RNG.normal(size=[20, 3, 3, 3])
    variable = tf.constant(FEATURES)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        pooled = roi_pool(variable, boxes, images, 1 / STRIDE, 3)
    gradient = tape.gradient(pooled, variable, upstream.astype("float32")).numpy()

    def total(values):
        pooled = [reference_roi_pool(values[image], box, 3) for box, image in zip(boxes, images, strict=True)]
        return float(np.sum(np.array(pooled, "float64") * upstream))

    step = 1e-4
    for _ in range(40):
        place = tuple(RNG.integers(0, side) for side in features.shape)
        change = np.zeros_like(features)
        change[place] = step
        slope = (total(features + change) - total(features - change)) / (2 * step)
        assert gradient[place] == pytest.approx(slope, abs=2e-2)


def test_a_pixel_outside_all_rois_gets_no_gradient():
    features = tf.constant(FEATURES)
    with tf.GradientTape() as tape:
        tape.watch(features)
        pooled = roi_pool(features, [[0.0, 0.0, 31.0, 31.0]], [0], 1 / STRIDE, 2)
    gradient = tape.gradient(pooled, features).numpy()
    assert gradient.sum() == 2 * 2 * 3 and not gradient[:, 5:].any() and not gradient[1].any()


def test_equal_values_send_the_gradient_to_one_pixel():
    features = tf.ones([1, 6, 6, 1])
    with tf.GradientTape() as tape:
        tape.watch(features)
        pooled = roi_pool(features, [[0.0, 0.0, 5.0, 5.0]], [0], 1.0, 2)
    gradient = tape.gradient(pooled, features).numpy()
    assert sorted(gradient[gradient > 0]) == [1, 1, 1, 1]


def test_no_rois_give_nothing():
    assert roi_pool(FEATURES, np.zeros([0, 4], "float32"), np.zeros(0, "int32"), 1.0, 3).shape == (0, 3, 3, 3)


def test_maps_of_half_precision_are_pooled_in_float32():
    boxes, images = random_rois(30)
    half = tf.cast(FEATURES, tf.bfloat16)
    with tf.GradientTape() as tape:
        tape.watch(half)
        pooled = roi_pool(half, boxes, images, 1 / STRIDE, 3)
    assert pooled.dtype == tf.float32 and tape.gradient(pooled, half).dtype == tf.bfloat16
    np.testing.assert_array_equal(pooled, roi_pool(tf.cast(half, tf.float32), boxes, images, 1 / STRIDE, 3))


@pytest.mark.parametrize("pooling", ["average", "max"])
@pytest.mark.parametrize(
    ("sampling", "points"),
    [({"sampling_ratio": 1}, grid(1)), ({"sampling_ratio": 2}, grid(2)), ({"sample_points": LAYOUT}, None)],
    ids=["1 sample", "4 samples", "own layout"],
)
@pytest.mark.parametrize("kind", [RoiAlign, RoiWarp])
def test_samples_of_500_rois_agree_with_the_definition(kind, sampling, points, pooling):
    boxes, images = random_rois()
    points = points or list(zip(LAYOUT[::2], LAYOUT[1::2], strict=True))
    layer = kind((STRIDE,), 3, {"first_level": 3}, pooling=pooling, **sampling)
    for image in range(2):
        mine = boxes[images == image]
        rois = mine / STRIDE if kind is RoiAlign else whole_pixel_rois(mine, 1 / STRIDE).numpy()
        sure = [not is_at_the_edge(roi, points) for roi in rois]
        mine, rois = mine[sure], rois[sure]
        assert len(rois) > 200
        samples = [reference_samples(FEATURES[image], roi, 3, points) for roi in rois]
        expected = {"average": np.mean, "max": np.max}[pooling](samples, axis=3)
        pooled = layer([FEATURES[image : image + 1]], mine[None])
        np.testing.assert_allclose(pooled, expected, atol=1e-5)


def test_a_regular_layout_is_the_regular_grid():
    boxes, _ = random_rois(50)
    points = tuple(side for point in grid(2) for side in point)
    own, regular = (
        RoiAlign((STRIDE,), 3, {"first_level": 3}, **sampling)
        for sampling in ({"sample_points": points}, {"sampling_ratio": 2})
    )
    maps, rois = [FEATURES[:1]], boxes[None]
    np.testing.assert_allclose(own(maps, rois), regular(maps, rois), atol=1e-5)


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_without_alignment_a_layout_has_rois_of_at_least_one_pixel(pooling):
    layer = RoiAlign(
        (STRIDE,), 1, {"first_level": 3}, aligned=False, pooling=pooling, sample_points=(0.0, 0.0)
    )
    box = np.array([[16, 24, 16, 24]], "float32")
    expected = bilinear(FEATURES[0], 2.0, 3.0)  # the RoI is one map pixel, and the sample is its corner
    np.testing.assert_allclose(layer([FEATURES[:1]], box[None])[0, 0, 0], expected, atol=1e-5)
    one = RoiAlign((STRIDE,), 1, {"first_level": 3}, aligned=False, sampling_ratio=1, pooling=pooling)
    grid_value = roi_align(
        FEATURES[:1], box, [0], scale=1 / STRIDE, pool_size=1, sampling_ratio=1, aligned=False
    )
    np.testing.assert_allclose(one([FEATURES[:1]], box[None]), grid_value, atol=1e-5)


def test_roi_pool_takes_each_roi_from_its_level():
    pyramid = [RNG.normal(size=[2, 32 // 2**i, 40 // 2**i, 3]).astype("float32") for i in range(2)]
    boxes = np.array([[[0, 0, 60, 60], [3, 3, 250, 300]], [[9, 9, 30, 130], [0, 0, 200, 200]]], "float32")
    pooled = RoiPool((4, 8), 3)(pyramid, boxes)
    for image, roi in np.ndindex(2, 2):
        level = int(np.sqrt(np.prod(boxes[image, roi, 2:] - boxes[image, roi, :2])) >= 112)
        alone = roi_pool(pyramid[level], boxes[image, roi][None], [image], 1 / (4, 8)[level], 3)
        np.testing.assert_array_equal(pooled[2 * image + roi], alone[0])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sample_points": (0.5, 0.5, 0.1)}, "needs a y and an x"),
        ({"sample_points": (0.5, 1.5)}, "sample_points"),
        ({"pooling": "median"}, "pooling"),
        ({"pooling": "max", "sampling_ratio": 0}, "fixed number of samples"),
    ],
)
def test_a_wrong_layout_is_an_error(fields, message):
    with pytest.raises(ValueError, match=message):
        RoiAlignConfig(**fields)
