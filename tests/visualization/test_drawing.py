import numpy as np
import pytest

from mask_rcnn.structures import Category, Detections
from mask_rcnn.visualization.drawing import draw, palette_color

CATEGORIES = (Category(1, "cat"), Category(2, "dog"))
GRAY = np.full((120, 160, 3), 128, "uint8")


def one_dog(box=(40, 50, 80, 110), **fields):
    return Detections([box], [0.9], [2], (120, 160), **fields)


def masked_dog():
    crop = np.ones((40, 60), bool)
    crop[15:25, 20:40] = False
    return one_dog(masks=[crop], mask_origins=[[40, 50]])


def changed(picture):
    return (picture != GRAY).any(axis=-1)


def test_the_image_that_was_given_is_not_changed():
    image = GRAY.copy()
    picture = draw(image, masked_dog(), CATEGORIES)
    assert picture.shape == GRAY.shape and picture.dtype == np.uint8
    np.testing.assert_array_equal(image, GRAY)


def test_nothing_detected_leaves_the_image_as_it_is():
    np.testing.assert_array_equal(draw(GRAY, one_dog().select([False]), CATEGORIES), GRAY)


def test_a_box_is_a_frame_inside_its_edges():
    pixels = changed(draw(GRAY, one_dog(), CATEGORIES, labels=False))
    assert pixels[40, 50:110].all() and pixels[79, 50:110].all()
    assert pixels[40:80, 50].all() and pixels[40:80, 109].all()
    assert pixels.sum() == 2 * 60 + 2 * 38


def test_a_box_beyond_the_image_is_cut_off():
    pixels = changed(draw(GRAY, one_dog(box=(-10, -10, 200, 80)), CATEGORIES, labels=False))
    assert pixels.sum() == 120  # only its right edge is in the image
    assert pixels[:, 79].all()


def test_a_mask_is_tinted_inside_but_not_in_its_hole():
    picture = draw(GRAY, masked_dog(), CATEGORIES, boxes=False, labels=False)
    tint = np.round(0.6 * 128 + 0.4 * np.array(palette_color(2)))
    np.testing.assert_array_equal(picture[50, 60], tint)
    np.testing.assert_array_equal(picture[60, 80], [128, 128, 128])
    assert not changed(picture)[:38].any() and not changed(picture)[:, :48].any()


def test_a_label_stands_above_its_box():
    picture = draw(GRAY, one_dog(), CATEGORIES, boxes=False)
    rows, columns = np.nonzero(changed(picture))
    assert rows.max() == 39 and columns.min() == 50
    assert tuple(picture[rows.min(), 50]) == palette_color(2)


def test_labels_do_not_cover_each_other():
    boxes = np.tile([[40, 50, 80, 110]], (20, 1))
    detections = Detections(boxes, np.ones(20), np.full(20, 1), (120, 160))
    one = changed(draw(GRAY, detections.select([0]), CATEGORIES, boxes=False)).sum()
    many = changed(draw(GRAY, detections, CATEGORIES, boxes=False)).sum()
    assert many % one == 0 and 2 <= many / one < 20


def test_a_label_that_would_hide_its_object_is_left_out():
    # An image of 12 rows has no room for letters of 11 pixels above or below the box.
    detections = Detections([[0, 0, 12, 8]], [0.9], [2], (12, 60))
    image = np.zeros((12, 60, 3), "uint8")
    np.testing.assert_array_equal(draw(image, detections, CATEGORIES, boxes=False), image)


def test_the_name_of_the_only_class_is_not_written():
    only = CATEGORIES[:1]
    detections = Detections([[40, 50, 80, 110]], [0.9], [1], (120, 160))
    assert not changed(draw(GRAY, detections, only, boxes=False, scores=False)).any()
    short, long = (draw(GRAY, detections, names, boxes=False) for names in (only, CATEGORIES))
    assert 0 < changed(short).sum() < changed(long).sum()


def test_keypoints_that_were_found_get_a_dot():
    points = [[[60, 70, 1.0], [10, 10, 0.0]]]
    pixels = changed(draw(GRAY, one_dog(keypoints=points), CATEGORIES, boxes=False, labels=False))
    assert pixels[70, 60] and not pixels[:60].any()


def test_the_skeleton_connects_what_was_found():
    worm = (Category(1, "cat"), Category(2, "worm", ("head", "middle", "tail"), ((1, 2), (2, 3))))
    points = [[[60, 50, 1.0], [100, 50, 1.0], [100, 90, 0.0]]]
    pixels = changed(draw(GRAY, one_dog(keypoints=points), worm, boxes=False, labels=False))
    assert pixels[50, 58:102].all()
    assert not pixels[60:].any()


def test_colors_of_classes_differ_and_do_not_depend_on_the_picture():
    assert len({palette_color(number) for number in range(1, 81)}) == 80
    assert palette_color(2) == palette_color(2) != palette_color(2, shade=1)


def test_instances_can_have_their_own_hues():
    twins = Detections([[5, 5, 40, 40], [5, 80, 40, 120]], [1, 1], [1, 1], (120, 160))
    picture = draw(GRAY, twins, CATEGORIES, color_by="instance", labels=False)
    assert tuple(picture[5, 10]) == palette_color(0) and tuple(picture[5, 90]) == palette_color(1, shade=1)


@pytest.mark.parametrize(
    ("image", "color_by", "message"),
    [
        (GRAY.astype("float32"), "class", "Received: dtype=float32"),
        (GRAY[..., 0], "class", "Received: dtype=uint8, shape="),
        (GRAY[:100], "class", "Received: detections.image_size="),
        (GRAY, "score", "Received: color_by='score'"),
    ],
)
def test_errors_say_what_is_expected_and_what_came(image, color_by, message):
    with pytest.raises(ValueError, match=message):
        draw(image, one_dog(), CATEGORIES, color_by=color_by)
