import numpy as np
import pytest
import tensorflow as tf

from mask_rcnn.data.transforms import Resize, flip_boxes, pad_image, resize_image, resized_size


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
    assert resized_size(*size, 800, 1333, rounding) == expected


def test_boxes_scale_with_the_image_and_come_back():
    resize = Resize((10, 20), (20, 60))
    boxes = np.array([[1, 2, 3, 4]], "float32")
    np.testing.assert_array_equal(resize.apply_boxes(boxes), [[2, 6, 6, 12]])
    np.testing.assert_array_equal(resize.invert_boxes([[2, 6, 6, 12]]), boxes)


def test_inverted_boxes_are_clipped_to_the_original():
    boxes = Resize((10, 20), (20, 60)).invert_boxes([[-4, -3, 22, 66]])
    np.testing.assert_array_equal(boxes, [[0, 0, 10, 20]])


def test_no_boxes_stay_no_boxes():
    resize = Resize((10, 20), (20, 60))
    none = np.zeros((0, 4), "float32")
    assert resize.apply_boxes(none).shape == resize.invert_boxes(none).shape == (0, 4)
    assert flip_boxes(none, 20).shape == (0, 4)


def test_a_resize_samples_at_pixel_centres():
    image = np.array([[[0], [100]]], "uint8")  # 1 x 2; centres of the result at 0.25, 0.75, 1.25, 1.75
    np.testing.assert_allclose(Resize((1, 2), (1, 4)).apply(image)[0, :, 0], [0, 25, 75, 100])


def test_resize_and_padding_are_the_same_in_tf_data():
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), "uint8")

    def transform(image):
        return pad_image(resize_image(image, (10, 14)), (16, 16))

    in_graph = next(iter(tf.data.Dataset.from_tensors(image).map(transform)))
    np.testing.assert_array_equal(in_graph, transform(image))
    assert not in_graph[10:].numpy().any()
    assert not in_graph[:, 14:].numpy().any()


def test_a_flipped_box_keeps_its_distance_to_the_other_side():
    np.testing.assert_array_equal(flip_boxes([[1, 2, 3, 5]], 20), [[1, 15, 3, 18]])
    np.testing.assert_array_equal(flip_boxes(flip_boxes([[1, 2, 3, 5]], 20), 20), [[1, 2, 3, 5]])
