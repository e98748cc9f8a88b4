"""Tests of transforms: numbers by hand, and agreement of pixels, boxes, masks and keypoints."""

import dataclasses
import functools

import numpy as np
import pytest
from transform_samples import SQUARE, done, run_lengths, sample_of

from mask_rcnn.config import InputConfig
from mask_rcnn.data.augmentation import affine, augment, photometric
from mask_rcnn.data.augmentation.apply_geometry import render
from mask_rcnn.data.augmentation.sample import CROWD, FILL, IGNORE, OBJECT
from mask_rcnn.data.masks import full_mask


def test_changes_compose_and_invert():
    sample = sample_of().moved(affine.scaling(2, 3), (120, 240)).moved(affine.mirror(240), (120, 240))
    np.testing.assert_allclose(sample.output_boxes(), [[40, 150, 80, 210]])
    back = affine.move_boxes(sample.output_boxes(), np.linalg.inv(sample.matrix))
    np.testing.assert_allclose(back, sample.boxes)


def test_a_flip_mirrors_boxes_masks_and_the_sides_of_keypoints():
    triangle = [[10, 20, 30, 20, 10, 40]]
    points = [[[21, 11, 2], [25, 12, 2], [26, 20, 1]]]  # nose, left eye, right eye
    before = done(sample_of([triangle], keypoints=points))
    after = done(augment.horizontal_flip(before, np.random.default_rng(0), probability=1.0))
    np.testing.assert_allclose(after.output_boxes(), [[20, 50, 40, 70]])
    np.testing.assert_allclose(after.output_keypoints(), [[[21, 69, 2], [26, 60, 1], [25, 68, 2]]])
    np.testing.assert_array_equal(after.output_masks(8), before.output_masks(8)[:, :, ::-1])
    np.testing.assert_array_equal(render(after, "uint8"), before.image[:, ::-1])


def test_a_crop_cuts_boxes_to_the_visible_part_of_the_mask_and_drops_what_is_outside():
    corner = [[0, 0, 5, 0, 5, 5, 0, 5]]
    # An L: its vertical bar begins at y = 20, its horizontal bar at y = 35; x 10 to 40.
    ell = [[10, 20, 15, 20, 15, 35, 40, 35, 40, 40, 10, 40]]
    sample = sample_of([ell, corner], boxes=[(20, 10, 40, 40), (0, 0, 5, 5)])
    upper = sample.moved(affine.translation(-10, -8), (20, 40))  # y 10 to 30: without the horizontal bar
    found = done(upper)
    assert found.class_ids.tolist() == [1]
    np.testing.assert_allclose(found.output_boxes(), [[10, 2, 20, 7]])
    assert found.output_masks(6).all()
    np.testing.assert_array_equal(render(found, "uint8"), sample.image[10:30, 8:48])


def test_keypoints_outside_of_a_crop_are_unknown():
    points = [[[25, 12, 2], [25, 28, 2], [39, 29, 1]]]
    found = done(sample_of(keypoints=points).moved(affine.translation(0, 0), (30, 20)))
    np.testing.assert_allclose(found.output_keypoints()[0, :, 2], [2, 0, 0])


@pytest.mark.parametrize("as_runs", [False, True])
def test_any_affine_matrix_moves_pixels_boxes_and_masks_together(as_runs):
    sample = sample_of()
    segmentation = run_lengths(full_mask(SQUARE, 60, 80)) if as_runs else SQUARE
    sample = dataclasses.replace(sample, segmentations=(segmentation,))
    turn = np.array([[0.8, -0.6, 10], [0.6, 0.8, 0], [0, 0, 1.0]])
    found = done(sample.moved(turn, (70, 90)))
    y1, x1, y2, x2 = found.output_boxes()[0]
    rows, columns = np.nonzero(render(found, "uint8")[..., 0] >= 128)
    np.testing.assert_allclose(
        (y1, x1, y2, x2), (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1), atol=1.0
    )
    assert found.output_masks(40).mean() == pytest.approx(400 / ((y2 - y1) * (x2 - x1)), abs=0.03)


def test_objects_beyond_the_limit_are_ignored_regions_and_crowds_stay_crowds():
    boxes = [(20, 10, 40, 30)] * 4
    sample = sample_of([SQUARE] * 4, boxes)
    sample = dataclasses.replace(sample, kinds=np.array([CROWD, OBJECT, OBJECT, IGNORE], "int8"))
    found = done(sample, max_instances=1)
    assert found.kinds.tolist() == [OBJECT, IGNORE, CROWD, IGNORE]
    assert (found.num_objects, found.class_ids.tolist()) == (1, [2, 3, 1, 4])


@pytest.mark.parametrize("transform", ["scale_jitter", "scale_jitter low=0.4 high=0.6", "crop height=0.5"])
@pytest.mark.parametrize("method", ["bilinear", "antialiased_uint8"])
def test_boxes_and_masks_stay_on_the_pixels(transform, method):
    config = InputConfig(short_side=120, train_short_sides=(90, 120), long_side=200, transforms=(transform,))
    transforms = augment.make_transforms(config)
    visible = 0
    for seed in range(12):
        rng, sample = np.random.default_rng(seed), sample_of()
        for each in transforms:
            sample = each(sample, rng)
        found = done(sample)
        image = render(found, method)
        assert image.shape == (*found.size, 3)
        rows, columns = np.nonzero(image[..., 0] >= 128)
        if not len(found.boxes):
            assert not rows.size
            continue
        visible += 1
        expected = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
        # The box of a cut object is accurate to a pixel of the original image.
        np.testing.assert_allclose(found.output_boxes()[0], expected, atol=1 + abs(found.matrix[0, 0]))
        assert found.output_masks(16).mean() > 0.9
    assert visible > 6


def test_scale_jitter_keeps_the_size_of_large_images_and_leaves_small_ones_small():
    rng = np.random.default_rng(0)
    large = augment.scale_jitter(sample_of(), rng, low=1.5, high=1.5)
    small = augment.scale_jitter(sample_of(), rng, low=0.5, high=0.5)
    assert (large.size, small.size) == ((60, 80), (30, 40))
    np.testing.assert_allclose(np.diag(large.matrix)[:2], 1.5)
    np.testing.assert_allclose(small.matrix, np.diag((0.5, 0.5, 1)))


@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_scale_jitter_of_a_fixed_side_pads_and_crops_to_it(factor):
    rng = np.random.default_rng(0)
    sample = augment.scale_jitter(sample_of(size=(60, 80)), rng, low=factor, high=factor, side=80)
    assert sample.size == (80, 80)
    image = render(done(sample), "bilinear")
    content = int(60 * factor), int(80 * factor)
    assert (image[content[0] + 1 :] == FILL).all() and (image[:, content[1] + 1 :] == FILL).all()
    assert not (image[: content[0] - 1, : content[1] - 1] == FILL).all(axis=-1).any()


def test_scale_jitter_of_a_fixed_side_does_not_depend_on_the_size_before():
    whole = sample_of(size=(60, 80))
    half = whole.moved(np.diag((0.5, 0.5, 1.0)), (30, 40))
    for sample in (whole, half):
        jittered = augment.scale_jitter(sample, np.random.default_rng(0), low=0.5, high=0.5, side=160)
        assert jittered.size == (160, 160)
        np.testing.assert_allclose(jittered.matrix, np.eye(3))


def test_hue_turns_the_color_circle_and_grayscale_removes_it():
    red = dataclasses.replace(sample_of(), image=np.full((60, 80, 3), (255, 0, 0), "uint8"))
    third = photometric.hue(red, _Ones(), degrees=120.0)
    np.testing.assert_allclose(third.image[0, 0], (0, 255, 0), atol=6)  # steps of 1.4 degrees
    gray = photometric.grayscale(red, np.random.default_rng(0), probability=1.0)
    assert (gray.image == round(0.299 * 255)).all()


def test_blur_is_as_wide_in_the_output_for_every_size_of_the_image():
    line = np.zeros((80, 80, 3), "uint8")
    line[:, 40:] = 255
    wide = dataclasses.replace(sample_of(size=(80, 80)), image=line)
    double = dataclasses.replace(wide, image=line.repeat(2, axis=0).repeat(2, axis=1))
    double = double.moved(affine.scaling(0.5, 0.5), (80, 80))
    first, second = (
        render(photometric.blur(each, np.random.default_rng(0), low=2.0, high=2.0, probability=1.0), "uint8")
        for each in (wide, double)
    )
    assert np.count_nonzero((first[40] > 10) & (first[40] < 245)) >= 3 * 5
    np.testing.assert_allclose(first[40].astype(int), second[40].astype(int), atol=6)


def test_noise_and_jpeg_change_the_pixels_of_the_output():
    gray = dataclasses.replace(sample_of(), image=np.full((60, 80, 3), 100, "uint8"))
    gray = gray.moved(affine.scaling(2, 2), (120, 160))
    noisy = photometric.noise(gray, np.random.default_rng(0), high=20.0, probability=1.0)
    assert noisy.image.shape == (120, 160, 3)
    sigma = np.random.default_rng(0).uniform(0, 20, 2)[1]  # the first draw is the probability
    assert noisy.image.std() == pytest.approx(sigma, rel=0.05)
    assert noisy.image.mean() == pytest.approx(100, abs=0.5)
    blocks = photometric.jpeg(noisy, np.random.default_rng(0), low=5, high=5, probability=1.0)
    assert 2 < np.abs(blocks.image.astype(int) - noisy.image).mean() < 40


def test_color_jitter_changes_the_image_and_nothing_else():
    sample = sample_of()
    gray = dataclasses.replace(sample, image=np.full((60, 80, 3), 100, "uint8"))
    brighter = augment.color_jitter(gray, _Ones(), brightness=0.5, contrast=0.0, saturation=0.9)
    assert (brighter.image == 150).all()
    color = np.zeros((60, 80, 3), "uint8") + np.array([200, 100, 50], "uint8")
    faded = augment.color_jitter(
        dataclasses.replace(sample, image=color), _Ones(-1), brightness=0.0, contrast=0.0, saturation=1.0
    )
    luma = round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)
    assert (faded.image == luma).all()
    np.testing.assert_array_equal(faded.boxes, sample.boxes)


class _Ones:
    """A random generator that always returns one end of the interval."""

    def __init__(self, value=1.0):
        self.value = value

    def uniform(self, low, high, size=None):
        return np.full(size, self.value) if size else high


def test_transforms_are_named_with_their_parameters():
    jitter = augment.parse_transform("scale_jitter low=0.5 high=2.0")
    assert isinstance(jitter, functools.partial)
    assert (jitter.func, jitter.keywords) == (augment.scale_jitter, {"low": 0.5, "high": 2.0})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sharpen", r"registered name: .*crop, color_jitter.*'sharpen'"),
        ("crop depth=1", r"name=value.*'crop depth=1'.*unexpected keyword argument 'depth'"),
        ("crop 0.5", r"name=value.*'crop 0.5'"),
        ("crop height=tall", r"name=value.*'crop height=tall'"),
    ],
)
def test_a_wrong_transform_is_one_clear_error(text, message):
    with pytest.raises(ValueError, match=message):
        augment.parse_transform(text)


def test_a_name_belongs_to_one_transform():
    with pytest.raises(
        ValueError,
        match=r"'crop', registered for mask_rcnn.data.augmentation.augment.crop\. Choose another name",
    ):
        augment.TRANSFORMS.register("crop")(lambda sample, rng: sample)
