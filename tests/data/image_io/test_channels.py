"""Tests of images with any number of channels and with 16 bits: reading, transforms and errors."""

import dataclasses
import itertools
import json

import cv2
import numpy as np
import pytest
from PIL import Image

from mask_rcnn.config import InputConfig
from mask_rcnn.data.augmentation import affine
from mask_rcnn.data.augmentation.apply_geometry import warp
from mask_rcnn.data.image_io.array_images import checked_image
from mask_rcnn.data.image_io.images import read_image, used_bits
from mask_rcnn.data.image_io.rgb8 import from_rgb8, to_rgb8
from mask_rcnn.data.input_pipeline.pipeline import training_dataset
from mask_rcnn.data.readers.coco import read_coco
from mask_rcnn.data.transforms import resize_image

SIZE = (40, 60)


def pixels(channels, dtype="uint8", seed=0):
    most = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, most, (*SIZE, channels), endpoint=True).astype(dtype)


def channel_input(channels, dtype="uint8", **fields):
    numbers = {"mean": (120.0,) * channels, "std": (60.0,) * channels}
    return InputConfig(channels=channels, dtype=dtype, **{**numbers, **fields})


def write(path, image):
    """Writes an image by its suffix: each channel becomes a page of a TIFF file, or a plane of an array."""
    if path.suffix == ".npy":
        np.save(path, image)
    elif path.suffix == ".tif":
        cv2.imwritemulti(str(path), list(np.ascontiguousarray(image.transpose(2, 0, 1))))
    else:
        Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(path)
    return path


def write_coco(folder, images, suffix):
    """Writes images with one object each; returns the paths of the annotations and of the folder."""
    entries, objects = [], []
    for number, image in enumerate(images, start=1):
        write(folder / f"{number}{suffix}", image)
        entries.append({"id": number, "file_name": f"{number}{suffix}", "height": 40, "width": 60})
        polygon = [10, 5, 40, 5, 40, 30, 10, 30]
        box = {"bbox": [10, 5, 30, 25], "area": 750, "iscrowd": 0, "segmentation": [polygon]}
        objects.append({"id": number, "image_id": number, "category_id": 1, **box})
    content = {"images": entries, "annotations": objects, "categories": [{"id": 1, "name": "cell"}]}
    (folder / "instances.json").write_text(json.dumps(content))
    return folder / "instances.json", folder


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize(
    ("suffix", "channels"), [(".tif", 8), (".tif", 1), (".npy", 2), (".npy", 8), (".png", 1)]
)
def test_files_with_channels_are_read_as_they_are(tmp_path, suffix, channels, dtype):
    image = pixels(channels, dtype)
    found = read_image(write(tmp_path / f"image{suffix}", image), channels=channels, dtype=dtype)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, image)


@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_is_a_channel(tmp_path, channels):
    path = write(tmp_path / "image.png", pixels(channels))
    np.testing.assert_array_equal(read_image(path, channels=channels), pixels(channels))
    assert read_image(path).shape == (*SIZE, 3)  # alpha is dropped


def test_a_png_file_of_16_bits_keeps_its_four_channels(tmp_path):
    image = pixels(4, "uint16")
    cv2.imwrite(str(tmp_path / "image.png"), image[..., [2, 1, 0, 3]])  # from BGRA
    found = read_image(tmp_path / "image.png", channels=4, dtype="uint16")
    np.testing.assert_array_equal(found, image)


@pytest.mark.parametrize("layout", ["contig", "separate"])
def test_samples_of_a_tiff_page_are_channels(tmp_path, layout):
    tifffile = pytest.importorskip("tifffile")
    image = pixels(5)
    stored = image if layout == "contig" else image.transpose(2, 0, 1)
    tifffile.imwrite(tmp_path / "image.tif", stored, photometric="minisblack", planarconfig=layout)
    np.testing.assert_array_equal(read_image(tmp_path / "image.tif", channels=5), image)


@pytest.mark.parametrize("order", [">u2", "<u2"])
def test_arrays_of_any_byte_order_and_memory_order(tmp_path, order):
    image = pixels(3, "uint16")
    np.save(tmp_path / "image.npy", np.asfortranarray(image.astype(order)))
    found = read_image(tmp_path / "image.npy", channels=3, dtype="uint16")
    assert found.dtype == np.uint16  # in the byte order of this machine
    np.testing.assert_array_equal(found, image)


@pytest.mark.parametrize(("dtype", "expected"), [("uint8", [0, 1, 255]), ("uint16", [7, 16, 4095])])
def test_the_declared_bits_decide_what_is_kept(tmp_path, dtype, expected):
    image = np.array([7, 16, 4095], "uint16").reshape(1, 3, 1)
    path = write(tmp_path / "image.png", image)
    assert read_image(path, 12, channels=1, dtype=dtype).ravel().tolist() == expected
    assert used_bits(path, channels=1) == 12


def test_samples_of_8_bits_are_as_bright_among_those_of_12(tmp_path):
    path = write(tmp_path / "image.png", np.full((2, 2, 1), 255, "uint8"))
    assert read_image(path, 12, channels=1, dtype="uint16").max() == 255 * 16


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("rgb.png", pixels(3), "3 channels of 40 x 60 pixels, where 4 are expected.*Set `input.channels`"),
        ("planes.npy", pixels(4).transpose(2, 0, 1), "60 channels of 4 x 40 pixels, where 4"),
        ("objects.npy", np.array([[None, {}]]), "array of object"),
        ("floats.npy", np.zeros((*SIZE, 4), "float32"), "array of float32, where uint8 or uint16"),
        ("batch.npy", np.zeros((1, *SIZE, 4), "uint8"), r"shape \(1, 40, 60, 4\)"),
    ],
)
def test_other_files_are_refused_by_name(tmp_path, name, content, reason):
    path = tmp_path / name
    np.save(path, content, allow_pickle=True) if path.suffix == ".npy" else write(path, content)
    with pytest.raises(ValueError, match=f"(?s)Received: path='.*{name}' .*{reason}"):
        read_image(path, channels=4)


@pytest.mark.parametrize("name", ["image.npy", "image.tif"])
@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_file_that_is_cut_off_is_refused_by_name(tmp_path, name, kept):
    path = write(tmp_path / name, pixels(4, "uint16"))
    contents = path.read_bytes()
    path.write_bytes(contents[: int(kept * len(contents))])
    with pytest.raises(ValueError, match=f"complete image file.*TIFF, NPY.*Received: path='.*{name}'"):
        read_image(path, channels=4, dtype="uint16")


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_gray_and_colors_of_tiff_files_are_rgb(tmp_path, channels, dtype):
    tifffile = pytest.importorskip("tifffile")
    image = pixels(channels, dtype)
    kind = {"photometric": "rgb" if channels > 2 else "minisblack"}
    alpha = {} if channels % 2 else {"extrasamples": ["unassalpha"], "planarconfig": "contig"}
    tifffile.imwrite(tmp_path / "image.tif", image.squeeze(-1) if channels == 1 else image, **kind, **alpha)
    expected = image[..., [0, 1, 2] if channels > 2 else [0, 0, 0]]
    np.testing.assert_array_equal(read_image(tmp_path / "image.tif", dtype=dtype), expected)
    np.testing.assert_array_equal(read_image(tmp_path / "image.tif"), expected >> (expected.itemsize * 8 - 8))


def test_a_tiff_file_with_jpeg_compression_has_its_colors(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    pytest.importorskip("imagecodecs")
    image = np.full((64, 64, 3), (200, 100, 30), "uint8")
    tifffile.imwrite(tmp_path / "image.tif", image, photometric="rgb", compression="jpeg")
    with tifffile.TiffFile(tmp_path / "image.tif") as file:
        assert file.pages[0].photometric == tifffile.PHOTOMETRIC.YCBCR
    assert np.abs(read_image(tmp_path / "image.tif").astype(int) - image).max() <= 2


@pytest.mark.parametrize("shape", [SIZE, (*SIZE, 3)])
def test_arrays_of_gray_and_rgb_are_rgb(tmp_path, shape):
    image = np.random.default_rng(0).integers(0, 255, shape, "uint8")
    np.save(tmp_path / "image.npy", image)
    expected = np.broadcast_to(image.reshape(*SIZE, -1), (*SIZE, 3))
    np.testing.assert_array_equal(read_image(tmp_path / "image.npy"), expected)


@pytest.mark.parametrize(("name", "channels"), [("bands.tif", 2), ("bands.tif", 4), ("bands.npy", 4)])
def test_channels_that_are_no_colors_do_not_become_rgb(tmp_path, name, channels):
    tifffile = pytest.importorskip("tifffile")
    if name.endswith(".npy"):
        np.save(tmp_path / name, pixels(channels))
    else:
        tifffile.imwrite(tmp_path / name, pixels(channels), photometric="minisblack", planarconfig="contig")
    with pytest.raises(ValueError, match=f"{name}' .{channels} channels .* where 3 are expected"):
        read_image(tmp_path / name)


def test_pages_of_different_sizes_are_refused(tmp_path):
    pages = [np.zeros((4, 6), "uint8"), np.zeros((2, 3), "uint8")]
    cv2.imwritemulti(str(tmp_path / "pyramid.tif"), pages)
    with pytest.raises(ValueError, match=r"pyramid\.tif' \(its 2 pages differ"):
        read_image(tmp_path / "pyramid.tif", channels=2)


def test_a_data_set_with_other_channels_is_one_error_before_training(tmp_path):
    paths = write_coco(tmp_path, [pixels(3)] * 3, ".png")
    assert len(read_coco(*paths)) == 3
    with pytest.raises(ValueError, match=r"(?s)3 of 3:\n.*'1\.png'.*3 channels .* 4 are expected"):
        read_coco(*paths, channels=4)


@pytest.mark.parametrize("method", ["bilinear", "antialiased_uint8", "uint8"])
@pytest.mark.parametrize("size", [(23, 31), (70, 90)])
def test_channels_are_resized_like_those_of_rgb(method, size):
    image = pixels(5)
    found = resize_image(image, size, method)
    np.testing.assert_array_equal(found[..., :3], resize_image(image[..., :3].copy(), size, method))
    np.testing.assert_array_equal(found[..., 2:], resize_image(image[..., 2:].copy(), size, method))


@pytest.mark.parametrize("method", ["bilinear", "antialiased_uint8", "uint8"])
def test_16_bits_are_resized_in_their_own_range(method):
    image = pixels(3).astype("uint16")
    expected = resize_image(image.astype("uint8"), (23, 31), method)
    found = resize_image(image, (23, 31), method)
    np.testing.assert_allclose(found, expected, atol=1 if method == "antialiased_uint8" else 0)
    assert resize_image(image * 256, (23, 31), method).max() > 255


@pytest.mark.parametrize("channels", [1, 2, 4, 5, 8])
def test_channels_are_turned_like_those_of_rgb(channels):
    image, matrix = pixels(8), affine.around((20, 30), [[0.8, -0.3], [0.3, 0.8]])
    fill = tuple(range(10, 90, 10))
    found = warp(image[..., :channels], matrix, SIZE, fill=fill[:channels])
    for channel, value in zip(range(channels), fill, strict=False):
        expected = warp(np.repeat(image[..., channel, None], 3, axis=-1), matrix, SIZE, fill=(value,) * 3)
        np.testing.assert_array_equal(found[..., channel], expected[..., 0])


GEOMETRIC = (
    "scale_jitter low=0.5 high=1.5",
    "vertical_flip probability=1.0",
    "rotate degrees=20",
    "blur probability=1.0",
    "mosaic probability=1.0",
    "copy_paste blend=1.0",
)


def batches(tmp_path, tiny_config, image_config, images, suffix, steps=2):
    paths = write_coco(tmp_path, images, suffix)
    dataset = read_coco(*paths, **image_config.pixel_format)
    config = dataclasses.replace(
        tiny_config,
        num_classes=1,
        input=image_config,
        train=dataclasses.replace(tiny_config.train, batch_size=2, reference_batch_size=2, steps=steps),
    )
    return [each["images"].numpy() for each in training_dataset(dataset, config)]


SIDES = {"short_side": 40, "train_short_sides": (40,), "long_side": 60, "pad_multiple": 20}


@pytest.mark.parametrize("suffix", [".tif", ".npy"])
def test_batches_of_tiff_files_and_arrays_are_those_of_png_files(tmp_path, tiny_config, suffix):
    images, found = [pixels(3, seed=seed) for seed in range(4)], []
    for each in (suffix, ".png"):
        folder = tmp_path / each[1:]
        folder.mkdir()
        found.append(batches(folder, tiny_config, channel_input(3, **SIDES), images, each))
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(("channels", "dtype", "suffix"), [(4, "uint16", ".tif"), (1, "uint8", ".png")])
def test_all_transforms_that_know_no_colors_take_any_channels(tmp_path, tiny_config, channels, dtype, suffix):
    images = [pixels(channels, dtype, seed) for seed in range(4)]
    kind = channel_input(channels, dtype, transforms=GEOMETRIC, **SIDES)
    for batch in batches(tmp_path, tiny_config, kind, images, suffix):
        assert batch.shape[-1] == channels and batch.dtype == np.float32
        assert (batch.max() > 255) == (dtype == "uint16")


def test_a_difference_of_one_count_reaches_the_batch(tmp_path, tiny_config):
    images = [np.full((*SIZE, 2), 30_000, "uint16"), np.full((*SIZE, 2), 30_001, "uint16")]
    (batch,) = batches(tmp_path, tiny_config, channel_input(2, "uint16", **SIDES), images, ".npy", steps=1)
    assert set(np.unique(batch)) == {30_000, 30_001}


def test_pixels_without_an_image_have_the_mean(tmp_path, tiny_config):
    kind = channel_input(
        2, "uint16", bit_depth=12, mean=(10.0, 20.0), transforms=("scale_jitter low=0.5 high=0.5 side=60",)
    )
    images = [np.full((*SIZE, 2), 4000, "uint16")] * 2
    (batch,) = batches(tmp_path, tiny_config, dataclasses.replace(kind, **SIDES), images, ".npy", steps=1)
    assert batch[0, -1, -1].tolist() == [160, 320]  # 16 steps of 12 bits are one of 8 bits


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"channels": 4}, "`input.mean` must be a tuple of 4 items.*or null"),
        ({"channels": 1, "mean": (118.0,)}, "`input.std` must be a tuple of 1 items"),
        ({"channels": 0}, "`input.channels` must be an int from 1"),
        ({"dtype": "float32"}, "`input.dtype` must be one of 'uint8', 'uint16'"),
        (
            {"dtype": "uint16", "transforms": ("rotate", "hue degrees=3", "noise")},
            r"color_jitter, .*, noise do not support.*transforms=\('hue degrees=3', 'noise'\)",
        ),
    ],
)
def test_a_config_says_what_does_not_fit_its_channels(fields, message):
    with pytest.raises(ValueError, match=message):
        InputConfig(**fields)


def test_a_picture_shows_the_first_three_channels_or_gray():
    deep = pixels(4, "uint16")
    kind = channel_input(4, "uint16", bit_depth=16)
    np.testing.assert_array_equal(to_rgb8(deep, kind), deep[..., :3] >> 8)
    gray = to_rgb8(pixels(2), channel_input(2))
    np.testing.assert_array_equal(gray, pixels(2)[..., [0, 0, 0]])
    image = pixels(3)
    assert to_rgb8(image, InputConfig()) is image


def test_arrays_of_users_are_checked():
    assert checked_image(pixels(1)[..., 0], channel_input(1)).shape == (*SIZE, 1)
    twelve = channel_input(2, "uint16", bit_depth=12)
    for image, message in (
        (pixels(3), r"array \[H, W, 2\] of uint16.*Received: shape=\(40, 60, 3\), dtype=uint8"),
        (np.full((*SIZE, 2), 4096, "uint16"), "at most 4095, as `input.bit_depth` says. Received: 4096"),
    ):
        with pytest.raises(ValueError, match=message):
            checked_image(image, twelve)


def test_the_refused_transforms_exist():
    from mask_rcnn.config.input import RGB_TRANSFORMS, UINT8_TRANSFORMS
    from mask_rcnn.data.augmentation.augment import TRANSFORMS

    names = {text.split()[0] for text in itertools.chain(GEOMETRIC, RGB_TRANSFORMS, UINT8_TRANSFORMS)}
    assert names <= set(TRANSFORMS.names())


@pytest.mark.parametrize(("channels", "dtype"), [(3, "uint8"), (4, "uint16"), (8, "uint8")])
def test_a_picture_becomes_an_image_of_the_model_and_back(channels, dtype):
    kind = channel_input(channels, dtype, bit_depth=12 if dtype == "uint16" else None)
    image = from_rgb8(pixels(3), kind)
    assert image.shape == (*SIZE, channels) and image.dtype == dtype
    np.testing.assert_array_equal(checked_image(image, kind), image)
    np.testing.assert_array_equal(to_rgb8(image, kind), pixels(3))
