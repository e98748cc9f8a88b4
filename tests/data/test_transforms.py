import numpy as np
import pytest
import tensorflow as tf

from mask_rcnn.config import InputConfig
from mask_rcnn.data.transforms import (
    Resize,
    pad_image,
    padded_size,
    padding_origin,
    resize_image,
    resized_size,
)


@pytest.mark.parametrize(
    ("size", "rounding", "expected"),
    [
        ((480, 640), "round", (800, 1067)),  # 640 * 800 / 480 = 1066.67
        ((480, 640), "floor", (800, 1066)),
        ((640, 480), "round", (1067, 800)),
        ((300, 900), "round", (444, 1333)),  # the long side decides: 300 * 1333 / 900 = 444.33
        ((1, 5000), "floor", (1, 1333)),  # never less than a pixel
    ],
)
def test_resized_size(size, rounding, expected):
    assert resized_size(*size, short_side=800, long_side=1333, rounding=rounding) == expected


def test_an_image_that_only_grows_stays_as_it_is_between_the_limits():
    assert resized_size(
        810, 900, short_side=800, long_side=1024, rounding="half_even", upscale_only=True
    ) == (810, 900)
    assert resized_size(
        480, 640, short_side=800, long_side=1024, rounding="half_even", upscale_only=True
    ) == (768, 1024)
    assert resized_size(
        500, 2048, short_side=800, long_side=1024, rounding="half_even", upscale_only=True
    ) == (250, 1024)


def test_half_of_a_pixel_becomes_an_even_side_or_the_larger_one():
    assert resized_size(5, 8, short_side=4, long_side=4, rounding="half_even") == (2, 4)
    assert resized_size(5, 8, short_side=4, long_side=4, rounding="round") == (3, 4)


def test_images_are_padded_to_multiples_or_to_one_size_at_the_end_or_around():
    assert padded_size((427, 640), 32) == (448, 640)
    assert padded_size((427, 640), 1) == (427, 640)
    assert padded_size((427, 640), 32, fixed=(1024, 1024)) == (1024, 1024)
    assert padding_origin((427, 640), (1024, 1024), centered=True) == (298, 192)
    assert padding_origin((427, 640), (1024, 1024), centered=False) == (0, 0)


def test_a_size_for_all_images_must_hold_them():
    with pytest.raises(ValueError, match=r"fit into `padded_size`.*\(800, 1344\), long_side=1333"):
        InputConfig(padded_size=(800, 1344))


def test_boxes_scale_with_the_image_and_come_back():
    resize = Resize((10, 20), (20, 60))
    boxes = np.array([[1, 2, 3, 4]], "float32")
    np.testing.assert_array_equal(resize.apply_boxes(boxes), [[2, 6, 6, 12]])
    np.testing.assert_array_equal(resize.invert_boxes([[2, 6, 6, 12]]), boxes)


def test_inverted_boxes_are_clipped_to_the_original():
    boxes = Resize((10, 20), (20, 60)).invert_boxes([[-4, -3, 22, 66]])
    np.testing.assert_array_equal(boxes, [[0, 0, 10, 20]])


def test_boxes_and_keypoints_move_with_the_image_into_the_middle():
    resize = Resize((10, 20), (20, 60), origin=(6, 2))
    boxes, keypoints = np.array([[1, 2, 3, 4]], "float32"), np.array([[1, 2, 2]], "float32")
    np.testing.assert_array_equal(resize.apply_boxes(boxes), [[8, 8, 12, 14]])
    np.testing.assert_array_equal(resize.invert_boxes([[8, 8, 12, 14]]), boxes)
    np.testing.assert_array_equal(resize.apply_keypoints(keypoints), [[8, 8, 2]])
    np.testing.assert_array_equal(resize.invert_keypoints([[8, 8, 2]]), keypoints)
    np.testing.assert_array_equal(
        pad_image(np.ones((1, 2, 1)), (4, 4), (2, 1))[..., 0].nonzero(), [[2, 2], [1, 2]]
    )


def test_inclusive_boxes_take_the_last_pixel_to_the_last_pixel():
    resize = Resize((11, 21), (21, 61), origin=(6, 2))  # 20 and 60 steps become 10 and 20
    whole = resize.invert_boxes([[6, 2, 27, 63]], inclusive=True)
    np.testing.assert_array_equal(whole, [[0, 0, 11, 21]])
    # Pixels 3.2 to 9.9 below the origin, 30 to 35 right of it: 1.6 to 4.95, 10 to 11.67; + 1, rounded.
    boxes = resize.invert_boxes([[9.2, 32, 16.9, 38]], inclusive=True)
    np.testing.assert_array_equal(boxes, [[2, 10, 6, 13]])


def test_no_boxes_stay_no_boxes():
    resize = Resize((10, 20), (20, 60))
    none = np.zeros((0, 4), "float32")
    assert resize.apply_boxes(none).shape == resize.invert_boxes(none).shape == (0, 4)


def test_a_resize_samples_at_pixel_centers():
    image = np.array(
        [[[0] * 3, [100] * 3]], "uint8"
    )  # 1 x 2; centers of the result at 0.25, 0.75, 1.25, 1.75
    np.testing.assert_allclose(Resize((1, 2), (1, 4)).apply(image)[0, :, 0], [0, 25, 75, 100])


def test_pillows_filter_widens_where_the_image_shrinks():
    image = np.array([[0, 0, 100, 100]], "uint8")[..., None].repeat(3, axis=2)
    # Half the size: a triangle over four pixels, 3/7, 3/7 and 1/7 at the border; 100 / 7 = 14.3.
    resized = resize_image(image, (1, 2), "antialiased_uint8")
    assert resized.dtype == np.float32
    np.testing.assert_array_equal(resized[0, :, 0], [14, 86])


def test_the_uint8_kind_fades_to_black_at_the_border_and_drops_fractions():
    image = np.array([[0, 101]], "uint8")[..., None].repeat(3, axis=2)
    # Samples at -0.25, 0.25, 0.75 and 1.25: 0, 25.25, 75.75 and 101 * 0.75.
    np.testing.assert_array_equal(resize_image(image, (1, 4), "uint8")[0, :, 0], [0, 25, 75, 75])


def test_the_uint8_kind_has_the_numbers_of_scikit_image():
    image = np.array([[10, 200, 30], [90, 250, 60]], "uint8")[..., None].repeat(3, axis=2)
    peer = [[10, 71, 166, 81, 20], [40, 119, 225, 116, 36], [60, 128, 208, 113, 40]]  # 0.26, order 1
    np.testing.assert_array_equal(resize_image(image, (3, 5), "uint8")[..., 2], peer)


@pytest.mark.parametrize("size", [(50, 70), (33, 41), (95, 71), (1, 1), (300, 211)])
def test_bilinear_has_the_numbers_of_tensorflow(size):
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), "uint8")
    expected = tf.image.resize(image, size, method="bilinear", antialias=False)
    # Processors with fused multiply-add may round the last bit otherwise.
    np.testing.assert_allclose(resize_image(image, size), expected, rtol=2e-7, atol=3e-5)


@pytest.mark.parametrize("method", ["bilinear", "antialiased_uint8", "uint8"])
def test_every_kind_leaves_equal_sizes_alone(method):
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), "uint8")
    np.testing.assert_array_equal(resize_image(image, (50, 70), method), image)


def test_bilinear_in_float64_has_the_numbers_of_float32_with_less_noise():
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), "uint8")
    exact = resize_image(image, (95, 41), dtype="float64")
    assert exact.dtype == np.float64
    np.testing.assert_allclose(resize_image(image, (95, 41)), exact, atol=5e-3)
    flat = resize_image(np.full((3, 4, 3), 77, "uint8"), (7, 5), dtype="float64")
    np.testing.assert_allclose(flat, 77, rtol=1e-14)
