"""Tests of properties that every registered transform must have, on random images, masks and keypoints."""

import functools
import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mask_rcnn.config import InputConfig
from mask_rcnn.data.augmentation.apply_geometry import apply_geometry, render
from mask_rcnn.data.augmentation.augment import TRANSFORMS, parse_transform
from mask_rcnn.data.augmentation.finalize_sample import finalize_sample
from mask_rcnn.data.augmentation.joining_transforms import apply_transforms, num_others
from mask_rcnn.data.augmentation.sample import OBJECT, Sample
from mask_rcnn.data.input_pipeline.loading import validate_sample
from mask_rcnn.data.masks import encode_mask, full_mask, mask_extent

# Strong parameters, because a transform with small changes would pass the tests.
GEOMETRIC = (
    "horizontal_flip probability=1.0",
    "vertical_flip probability=1.0",
    "rotate_90 probability=1.0",
    "rotate degrees=180.0",
    "shear degrees=45.0",
    "scale_jitter low=0.5 high=2.0",
    "scale_jitter low=0.5 high=2.0 side=40",
    "crop height=0.6 width=0.7",
    "copy_paste",
    "mosaic probability=1.0",
)
PHOTOMETRIC = (
    "color_jitter",
    "blur high=0.6 probability=1.0",
    "noise probability=1.0",
    "jpeg low=90 probability=1.0",
    "hue degrees=180.0",
    "grayscale probability=1.0",
)
CHAIN = (
    "scale_jitter low=0.5 high=1.5, rotate degrees=180.0, copy_paste, vertical_flip, mosaic probability=1.0, "
    "rotate_90, shear, jpeg low=90"
)
UNCHANGING = (
    "horizontal_flip probability=0.0",
    "vertical_flip probability=0.0",
    "rotate_90 probability=0.0",
    "rotate degrees=0.0",
    "shear degrees=0.0",
    "scale_jitter low=1.0 high=1.0",
    "crop height=1.0 width=1.0",
    "copy_paste share=0.0",
    "mosaic probability=0.0",
    "color_jitter brightness=0.0 contrast=0.0 saturation=0.0",
    "blur probability=0.0",
    "noise high=0.0 probability=1.0",
    "jpeg probability=0.0",
    "hue degrees=0.0",
    "grayscale probability=0.0",
)
SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))
SEEDS = st.integers(0, 10**6)
EXAMPLES = settings(max_examples=8, deadline=None, derandomize=True)


def random_sample(size, seed, number, count=2):
    """Returns white objects on black: ellipses as RLE and as polygons, with three keypoints each.

    The class of object i of sample `number` is 10 * number + i + 1.
    """
    rng = np.random.default_rng(seed)
    segmentations, boxes, keypoints, image = [], [], [], np.zeros((*size, 3), "uint8")
    for index in range(count):
        center, radius = rng.uniform(0, size), rng.uniform(0.15, 0.4, 2) * size + 0.3
        angles = np.arange(12) * math.pi / 6 + rng.uniform(0, 1)
        points = center + radius * np.stack([np.sin(angles), np.cos(angles)], axis=-1)  # [12, 2], yx
        polygon = [np.clip(points, 0, size)[:, ::-1].ravel().tolist()]
        mask = full_mask(polygon, *size)
        if not mask.any():
            continue
        image[mask] = 255
        segmentations.append(encode_mask(mask) if index % 2 else polygon)
        boxes.append(mask_extent(mask))
        keypoints.append(np.pad(center + 0.4 * (points[::4] - center), [(0, 0), (0, 1)], constant_values=2))
    return Sample(
        image=image,
        boxes=np.reshape(boxes, (-1, 4)),
        class_ids=10 * number + np.arange(1, len(boxes) + 1, dtype="int32"),
        kinds=np.full(len(boxes), OBJECT, "int8"),
        areas=np.ones(len(boxes)),
        segmentations=tuple(segmentations),
        keypoints=np.reshape(keypoints, (-1, 3, 3)),
        mirrored_keypoints=np.array([0, 2, 1]),
        matrix=np.eye(3),
        size=size,
    )


def transformed(text, size, seed, make=random_sample):
    """Returns the samples, and the first of them after the transforms in `text`."""
    transforms = list(map(parse_transform, text.split(", ")))
    samples = [make(size, seed + number, number) for number in range(1 + num_others(transforms))]
    check = functools.partial(validate_sample, settings=InputConfig())
    return samples, apply_transforms(transforms, samples, (seed, 0), check=check)


def changed_by(mask, pixels, change):
    """Dilates or erodes a mask by some pixels."""
    kernel = np.ones((2 * pixels + 1, 2 * pixels + 1), "uint8")
    return change(mask.astype("uint8"), kernel) > 0


def test_every_transform_of_the_library_is_here():
    names = {name for name in TRANSFORMS.names() if TRANSFORMS.find(name).__module__.startswith("mask_rcnn.")}
    assert names == {text.split()[0] for text in GEOMETRIC + PHOTOMETRIC}
    assert names == {text.split()[0] for text in UNCHANGING}


@pytest.mark.parametrize("text", (*GEOMETRIC, *PHOTOMETRIC, CHAIN))
@EXAMPLES
@given(size=SIZES, seed=SEEDS)
def test_white_pixels_masks_and_boxes_stay_together(text, size, seed):
    samples, sample = transformed(text, size, seed)
    sample = finalize_sample(sample, 20, needs_mask=True)
    image, baked = render(sample, "antialiased_uint8"), apply_geometry(sample)
    assert image.shape == (*sample.size, 3)
    # One pixel of the image, at whose edges the polygon is rasterized, and one of the output.
    margin = 5 if text == CHAIN else math.ceil(max(2.0, *np.divide(sample.size, size)))
    inner = np.zeros(sample.size, bool)
    inner[margin:-margin, margin:-margin] = True
    masks = [full_mask(each, *baked.size) for each in baked.segmentations]
    union = np.any([np.zeros(sample.size, bool), *masks], axis=0)
    white = image.min(axis=-1)
    assert not ((white > 200) & inner & ~changed_by(union, margin, cv2.dilate)).any()
    assert not ((white < 90) & inner & changed_by(union, margin, cv2.erode)).any()
    for mask, box in zip(masks, baked.boxes, strict=True):
        sides = box[2:] - box[:2]
        if sides.min() >= 3:  # thin masks and acute corners are shorter in pixels than as polygons
            np.testing.assert_allclose(mask_extent(mask), box, atol=margin + 0.1 * sides.max())


def sample_of_positions(size, seed, number):
    """Returns a sample whose pixels encode their position: red is y, green is x, in units of 1/6 pixel."""
    rows, columns = np.mgrid[: size[0], : size[1]] * 6
    image = np.stack([rows, columns, np.zeros(size, int)], axis=-1).astype("uint8")
    return replace(random_sample(size, seed, number), image=image)


@pytest.mark.parametrize("text", GEOMETRIC)
@EXAMPLES
@given(size=st.tuples(st.integers(8, 40), st.integers(8, 40)), seed=SEEDS)
def test_keypoints_move_with_their_pixels_and_keep_left_and_right(text, size, seed):
    samples, sample = transformed(text, size, seed, sample_of_positions)
    sample = finalize_sample(sample, 20, needs_mask=True)
    image = render(sample, "antialiased_uint8").astype(float)
    for points, class_id in zip(sample.output_keypoints(), sample.class_ids, strict=True):
        source = samples[class_id // 10].keypoints[class_id % 10 - 1]
        at_edge = ((source[:, :2] < 2) | (source[:, :2] > np.subtract(size, 2))).any()
        if (points[:, 2] < 2).any() or at_edge:  # outside or covered; pixels at edges are interpolated
            continue
        # A mirror image reverses the orientation, and swapping left and right reverses it again.
        assert np.sign(turn(points)) == np.sign(turn(source))
        found = np.array([image[int(y), int(x), :2] / 6 + 0.5 for y, x, _ in points])
        expected = source[source_order(text), :2]
        np.testing.assert_allclose(found, expected, atol=1.6)


def source_order(text):
    """Swaps left and right keypoints, numbers 1 and 2, which a mirror image has swapped."""
    return [0, 2, 1] if "_flip" in text else [0, 1, 2]


def turn(points):
    """Returns twice the signed area of the triangle of three keypoints."""
    (y1, x1), (y2, x2), (y3, x3) = points[:, :2]
    return (y2 - y1) * (x3 - x1) - (y3 - y1) * (x2 - x1)


@pytest.mark.parametrize("text", UNCHANGING)
@EXAMPLES
@given(size=SIZES, seed=SEEDS)
def test_parameters_of_no_change_change_nothing(text, size, seed):
    (before, *_), after = transformed(text, size, seed)
    before, after = (finalize_sample(each, 20, needs_mask=True) for each in (before, after))
    assert_same(after, before)


def assert_same(actual, expected):
    np.testing.assert_array_equal(render(actual, "bilinear"), render(expected, "bilinear"))
    for name in ("class_ids", "kinds", "areas"):
        np.testing.assert_array_equal(getattr(actual, name), getattr(expected, name))
    for method in ("output_boxes", "output_keypoints"):
        np.testing.assert_array_equal(getattr(actual, method)(), getattr(expected, method)())
    np.testing.assert_array_equal(actual.output_masks(14), expected.output_masks(14))


@pytest.mark.parametrize("text", GEOMETRIC + PHOTOMETRIC)
def test_a_seed_gives_one_result(text):
    (_, first), (_, again) = transformed(text, (30, 40), 3), transformed(text, (30, 40), 3)
    assert_same(finalize_sample(again, 20, needs_mask=True), finalize_sample(first, 20, needs_mask=True))


@pytest.mark.parametrize("text", GEOMETRIC + PHOTOMETRIC)
def test_an_image_without_objects_stays_without(text):
    _, sample = transformed(text, (30, 40), 3, lambda *args: random_sample(*args, count=0))
    sample = finalize_sample(sample, 20, needs_mask=True)
    assert sample.num_objects == len(sample.boxes) == 0
    assert render(sample, "bilinear").shape == (*sample.size, 3)
