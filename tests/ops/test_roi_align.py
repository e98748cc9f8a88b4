"""Compares RoIAlign with its definition, written as loops over single samples."""

import math

import numpy as np
import pytest
import tensorflow as tf

from mask_rcnn.ops.roi_align import corner_grid_boxes, pyramid_levels, pyramid_roi_align, roi_align

pytestmark = pytest.mark.kernels

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=[2, 9, 11, 3]).astype("float32")
# In an image of 36 x 44 at stride 4: inside, across all borders, tiny, a point, outside, at whole pixels.
BOXES = np.array(
    [
        [3.3, 5.1, 20.7, 31.9],
        [-9, -7, 40, 50],
        [10.2, 11.4, 10.9, 12.0],
        [17, 13, 17, 13],
        [100, 100, 140, 160],
        [30, 38, 60.3, 70.3],
        [8, 8, 16, 24],
        [0, 0, 36, 44],
    ],
    "float32",
)
IMAGES = np.array([0, 1, 0, 1, 0, 1, 1, 0], "int32")
SCALE = 0.25


def corner_weights(y, x, height, width):
    """Returns the four pixels of a bilinear sample and their weights; none if the sample is outside."""
    if y < -1 or y > height or x < -1 or x > width:
        return []
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    dy, dx = y - top, x - left
    return [
        (top, left, (1 - dy) * (1 - dx)),
        (top, right, (1 - dy) * dx),
        (bottom, left, dy * (1 - dx)),
        (bottom, right, dy * dx),
    ]


def bin_samples(start, size, index, bins, sampling_ratio):
    """Returns the positions of the samples of one bin along one axis."""
    count = sampling_ratio or math.ceil(size / bins)
    return [start + size / bins * (index + (i + 0.5) / count) for i in range(count)]


def reference_weights(box, scale, bins, sampling_ratio, aligned, map_size):
    """Returns the weight of each pixel of the map in each bin, `[P, P, H, W]`."""
    y1, x1, y2, x2 = (float(side) * scale - (0.5 if aligned else 0.0) for side in box)
    height, width = y2 - y1, x2 - x1
    if not aligned:
        height, width = max(height, 1.0), max(width, 1.0)
    weights = np.zeros([bins, bins, *map_size])
    for i, j in np.ndindex(bins, bins):
        ys = bin_samples(y1, height, i, bins, sampling_ratio)
        xs = bin_samples(x1, width, j, bins, sampling_ratio)
        for y in ys:
            for x in xs:
                for row, column, weight in corner_weights(y, x, *map_size):
                    weights[i, j, row, column] += weight / (len(ys) * len(xs))
    return weights


def all_reference_weights(bins, sampling_ratio, aligned):
    """Returns the weights for BOXES, `[R, P, P, H, W]`."""
    return np.stack(
        [reference_weights(b, SCALE, bins, sampling_ratio, aligned, FEATURES.shape[1:3]) for b in BOXES]
    )


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling_ratio", [1, 2, 3, 0])
@pytest.mark.parametrize("bins", [1, 3])
def test_pooling_agrees_with_the_definition(bins, sampling_ratio, aligned):
    expected = np.einsum(
        "rpqhw,rhwc->rpqc", all_reference_weights(bins, sampling_ratio, aligned), FEATURES[IMAGES]
    )
    pooled = roi_align(
        FEATURES, BOXES, IMAGES, scale=SCALE, pool_size=bins, sampling_ratio=sampling_ratio, aligned=aligned
    )
    np.testing.assert_allclose(pooled, expected, atol=1e-5)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling_ratio", [1, 2, 3, 0])
def test_the_gradient_of_the_map_agrees_with_the_definition(sampling_ratio, aligned):
    upstream = RNG.normal(size=[len(BOXES), 3, 3, 3]).astype("float32")
    weights = all_reference_weights(3, sampling_ratio, aligned)
    expected = np.zeros(FEATURES.shape)
    for roi, image in enumerate(IMAGES):
        expected[image] += np.einsum("pqhw,pqc->hwc", weights[roi], upstream[roi])
    features = tf.constant(FEATURES)
    with tf.GradientTape() as tape:
        tape.watch(features)
        total = tf.reduce_sum(
            roi_align(
                features,
                BOXES,
                IMAGES,
                scale=SCALE,
                pool_size=3,
                sampling_ratio=sampling_ratio,
                aligned=aligned,
            )
            * upstream
        )
    np.testing.assert_allclose(tape.gradient(total, features), expected, atol=2e-5)


def ramp(height, width):
    """Returns a map whose two channels are y and x of the pixel centers, 0.5 for pixel 0."""
    y, x = np.mgrid[:height, :width] + 0.5
    return np.stack([y, x], axis=-1)[None].astype("float32")


@pytest.mark.parametrize("sampling_ratio", [1, 2, 0])
def test_aligned_bins_of_a_ramp_are_their_centers(sampling_ratio):
    pooled = roi_align(ramp(8, 8), [[1, 2, 5, 6]], [0], scale=1.0, pool_size=2, sampling_ratio=sampling_ratio)
    np.testing.assert_allclose(pooled[0, :, :, 0], [[2, 2], [4, 4]], atol=1e-5)
    np.testing.assert_allclose(pooled[0, :, :, 1], [[3, 5], [3, 5]], atol=1e-5)


def test_without_alignment_bins_lie_half_a_pixel_further():
    pooled = roi_align(ramp(8, 8), [[1, 2, 5, 6]], [0], scale=1.0, pool_size=2, aligned=False)
    np.testing.assert_allclose(pooled[0, :, :, 0], [[2.5, 2.5], [4.5, 4.5]], atol=1e-5)


def test_without_alignment_a_point_is_one_pixel_large():
    pooled = roi_align(ramp(8, 8), [[2, 2, 2, 2]], [0], scale=1.0, pool_size=1, aligned=False)
    np.testing.assert_allclose(pooled[0, 0, 0], [3, 3], atol=1e-5)  # center 2.5 in a map that starts at 0.5


def test_a_stride_of_four_is_a_scale_of_a_quarter():
    pooled = roi_align(ramp(8, 8), [[4, 8, 20, 24]], [0], scale=0.25, pool_size=2)
    np.testing.assert_allclose(pooled[0, :, :, 0], [[2, 2], [4, 4]], atol=1e-5)


@pytest.mark.parametrize("sampling_ratio", [2, 0])
def test_outside_the_map_is_zero(sampling_ratio):
    pooled = roi_align(
        np.ones([1, 4, 4, 1], "float32"),
        [[20, 20, 30, 30]],
        [0],
        scale=1.0,
        pool_size=2,
        sampling_ratio=sampling_ratio,
    )
    np.testing.assert_array_equal(pooled, np.zeros([1, 2, 2, 1]))


@pytest.mark.parametrize("sampling_ratio", [2, 0])
def test_no_rois_give_nothing(sampling_ratio):
    pooled = roi_align(
        FEATURES,
        np.zeros([0, 4], "float32"),
        np.zeros([0], "int32"),
        scale=1.0,
        pool_size=3,
        sampling_ratio=sampling_ratio,
    )
    assert pooled.shape == (0, 3, 3, 3)


@pytest.mark.parametrize("sampling_ratio", [2, 0])
def test_maps_of_half_precision_are_pooled_in_float32(sampling_ratio):
    pooled = roi_align(
        tf.cast(FEATURES, tf.bfloat16), BOXES, IMAGES, scale=SCALE, pool_size=3, sampling_ratio=sampling_ratio
    )
    assert pooled.dtype == tf.float32
    exact = roi_align(
        tf.cast(tf.cast(FEATURES, tf.bfloat16), tf.float32),
        BOXES,
        IMAGES,
        scale=SCALE,
        pool_size=3,
        sampling_ratio=sampling_ratio,
    )
    np.testing.assert_allclose(pooled, exact, atol=1e-5)


def square(side):
    return [0.0, 0.0, side, side]


def test_many_rois_over_the_same_pixels_have_the_same_gradient_every_time():
    """The threads of TensorFlow's own gradient lose sums in this case. The reference adds in float64."""
    random = np.random.default_rng(1)
    boxes = np.sort(random.uniform(0, 40, [256, 2, 2]), axis=1).reshape(-1, 4).astype("float32")
    upstream = random.normal(size=[256, 7, 7, 32]).astype("float32")
    features = tf.zeros([1, 40, 40, 32])

    @tf.function
    def gradient():
        with tf.GradientTape() as tape:
            tape.watch(features)
            pooled = roi_align(features, boxes, tf.zeros(256, tf.int32), scale=1.0, pool_size=7)
        return tape.gradient(pooled, features, upstream)

    first = gradient().numpy()
    for _ in range(5):
        np.testing.assert_array_equal(gradient(), first)
    expected = np.zeros([40, 40, 32])
    for box, grads in zip(boxes - 0.5, upstream.astype("float64"), strict=True):
        rows, columns = (axis_matrix(box[axis], box[axis + 2] - box[axis]) for axis in (0, 1))
        expected += np.einsum("py,qx,pqc->yxc", rows, columns, grads)
    np.testing.assert_allclose(first[0], expected, atol=1e-3)


def axis_matrix(start, size, bins=7, length=40):
    """Returns the weight of each pixel in each bin of two samples along one axis, `[bins, length]`."""
    matrix = np.zeros([bins, length])
    for index in range(bins):
        for position in bin_samples(start, size, index, bins, 2):
            for pixel, _, share in corner_weights(position, 0, length, 1):
                matrix[index, pixel] += share / 2
    return matrix


def test_a_roi_of_224_pixels_is_pooled_from_p4():
    sides = [0, 10, 111, 113, 223, 225, 447, 449, 2000]
    levels = pyramid_levels(tf.constant([square(side) for side in sides]), 4)
    assert levels.numpy().tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3]  # 0 is P2


def test_the_level_depends_on_the_area_alone():
    boxes = tf.constant([[10.0, 10, 10 + 112, 10 + 448], [10, 10, 10 + 448, 10 + 112]])  # sqrt(area) 224
    assert pyramid_levels(boxes, 4, offset=1e-6).numpy().tolist() == [2, 2]


def test_at_the_border_the_conventions_of_detectron2_and_torchvision_go_up():
    border = tf.constant([square(112.0), square(224.0), square(448.0)])
    assert pyramid_levels(border, 4, epsilon=0.0, offset=1e-6).numpy().tolist() == [1, 2, 3]


def test_the_nearest_level_changes_between_two_areas_and_half_goes_to_the_even_one():
    sides = [158.0, 159.0, 316.0, 317.0]  # 224 / sqrt(2) = 158.39, 224 sqrt(2) = 316.78
    levels = pyramid_levels(tf.constant([square(side) for side in sides]), 4, epsilon=0.0, rounding="nearest")
    assert levels.numpy().tolist() == [1, 2, 2, 3]
    # 2^-1.5 and 2^-0.5 of 224, made exact: 4 - 1.5 goes to 2, 4 - 0.5 to 4.
    halves = tf.constant([[0.0, 0.0, 224.0, 28.0], [0.0, 0.0, 224.0, 112.0]])
    assert pyramid_levels(halves, 4, epsilon=0.0, rounding="nearest").numpy().tolist() == [0, 2]


def test_each_roi_comes_from_its_own_level_and_image():
    pyramid = [np.full([2, 32 // 2**i, 32 // 2**i, 1], i, "float32") for i in range(3)]
    pyramid = [features + 10.0 * np.arange(2, dtype="float32")[:, None, None, None] for features in pyramid]
    boxes = np.tile(np.array([16, 16, 64, 64], "float32"), [2, 3, 1])
    levels = tf.constant([[2, 0, 1], [1, 1, 0]])
    pooled = pyramid_roi_align(pyramid, boxes, levels, strides=(4, 8, 16), pool_size=2)
    assert pooled.shape == (2, 3, 2, 2, 1)
    np.testing.assert_allclose(pooled[:, :, 0, 0, 0], [[2, 0, 1], [11, 11, 10]], rtol=1e-6)


@pytest.mark.parametrize("sampling_ratio", [2, 0])
def test_the_pyramid_pools_as_each_level_does(sampling_ratio):
    pyramid = [RNG.normal(size=[2, 16 // 2**i, 20 // 2**i, 3]).astype("float32") for i in range(2)]
    boxes = np.sort(RNG.uniform(-4, 70, [2, 6, 2, 2]), axis=2).reshape(2, 6, 4).astype("float32")
    levels = RNG.integers(0, 2, [2, 6]).astype("int32")
    pooled = pyramid_roi_align(
        pyramid, boxes, tf.constant(levels), strides=(4, 8), pool_size=3, sampling_ratio=sampling_ratio
    )
    for image, roi in np.ndindex(2, 6):
        level = levels[image, roi]
        scale = 1 / (4, 8)[level]
        alone = roi_align(
            pyramid[level],
            boxes[image, roi][None],
            [image],
            scale=scale,
            pool_size=3,
            sampling_ratio=sampling_ratio,
        )
        np.testing.assert_allclose(pooled[image, roi], alone[0], atol=1e-5)


def test_no_rois_in_the_pyramid_give_nothing():
    pooled = pyramid_roi_align(
        [FEATURES], tf.zeros([2, 0, 4]), tf.zeros([2, 0], tf.int32), strides=(4,), pool_size=3
    )
    assert pooled.shape == (2, 0, 3, 3, 3)


@pytest.mark.parametrize("pool_size", [1, 2, 7])
def test_a_corner_grid_is_what_crop_and_resize_samples(pool_size):
    pyramid = [RNG.normal(size=[2, 16 // 2**i, 24 // 2**i, 3]).astype("float32") for i in range(2)]
    size = np.array([64, 96, 64, 96], "float32")  # of the image, strides 4 and 8
    normalized = np.sort(RNG.uniform(0, 1, [2, 5, 2, 2]), axis=2).reshape(2, 5, 4).astype("float32")
    normalized[0, 0] = [0, 0, 1, 1]
    levels = RNG.integers(0, 2, [2, 5]).astype("int32")
    map_sizes = tf.constant([[16, 24], [8, 12]])
    boxes = corner_grid_boxes(
        tf.constant(normalized * (size - 1)), levels, map_sizes, strides=(4, 8), pool_size=pool_size
    )
    pooled = pyramid_roi_align(
        pyramid,
        boxes,
        tf.constant(levels),
        strides=(4, 8),
        pool_size=pool_size,
        sampling_ratio=1,
        aligned=True,
    )
    for image, roi in np.ndindex(2, 5):
        features, box = pyramid[levels[image, roi]], np.minimum(normalized[image, roi], 1 - 1e-6)
        theirs = tf.image.crop_and_resize(features, [box], [image], [pool_size, pool_size])
        np.testing.assert_allclose(pooled[image, roi], theirs[0], atol=1e-4)
