"""Tests of windows of TIFF files: every layout gives the same pixels, and memory stays constant."""

import json
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from blob_predictor import TILING, BlobPredictor, as_set, scene
from cli_fakes import run
from locations import HELPERS

from mask_rcnn.data.image_io.image_windows import open_image
from mask_rcnn.data.image_io.images import read_header
from mask_rcnn.data.image_io.tiff import TiffImage
from mask_rcnn.formats.tile_writer import Cutting, write_tiles
from mask_rcnn.prediction.tiled_predictor import TiledPredictor

tifffile = pytest.importorskip("tifffile")

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 255, (150, 230, 3), "uint8")
LAYOUTS = {
    "one_strip": {},
    "strips": {"rowsperstrip": 7},
    "compressed_strips": {"rowsperstrip": 16, "compression": "zlib"},
    "tiles": {"tile": (32, 48)},
    "compressed_tiles": {"tile": (64, 64), "compression": "zlib", "predictor": True},
    "lzw": {"tile": (64, 64), "compression": "lzw"},
    "big_endian": {"byteorder": ">", "rowsperstrip": 50},
    "big_tiff": {"bigtiff": True, "tile": (16, 16)},
}
WINDOWS = [(0, 0, 64, 64), (37, 61, 101, 125), (86, 166, 150, 230), (149, 229, 150, 230), (0, 0, 150, 230)]


def write_tiff(path, pixels, **options):
    tifffile.imwrite(path, pixels, photometric="rgb" if pixels.shape[-1] > 2 else "minisblack", **options)
    return path


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_window_of_any_layout_is_its_pixels(layout, dtype, tmp_path):
    if layout == "lzw":
        pytest.importorskip("imagecodecs")
    pixels = PIXELS.astype(dtype) * (1 if dtype == "uint8" else 257)
    image = open_image(write_tiff(tmp_path / "a.tif", pixels, **LAYOUTS[layout]))
    assert isinstance(image, TiffImage) and image.size == (150, 230)
    for window in WINDOWS:
        y1, x1, y2, x2 = window
        found = image.read(window)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, pixels[y1:y2, x1:x2])
    np.testing.assert_array_equal(image.read(), pixels)


@pytest.mark.parametrize("options", [{}, {"tile": (32, 32)}])
def test_gray_alpha_and_planes_become_rgb(options, tmp_path):
    alpha = np.dstack([PIXELS, PIXELS[..., :1]])
    path = write_tiff(tmp_path / "alpha.tif", alpha, extrasamples=["unassalpha"], **options)
    np.testing.assert_array_equal(open_image(path).read(), PIXELS)
    tifffile.imwrite(tmp_path / "gray.tif", PIXELS[..., 0], photometric="minisblack", **options)
    np.testing.assert_array_equal(open_image(tmp_path / "gray.tif").read(), PIXELS[..., [0, 0, 0]])
    planes = np.ascontiguousarray(PIXELS.transpose(2, 0, 1))
    path = tmp_path / "planes.tif"
    tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate", **options)
    np.testing.assert_array_equal(open_image(path).read(WINDOWS[1]), PIXELS[37:101, 61:125])


def test_segments_that_are_not_in_the_file_are_black(tmp_path):
    tiles = (None if number % 2 else np.full((64, 64, 3), number, "uint8") for number in range(4))
    options = {"shape": (128, 128, 3), "dtype": "uint8", "tile": (64, 64), "photometric": "rgb"}
    tifffile.imwrite(tmp_path / "a.tif", tiles, **options)
    found = open_image(tmp_path / "a.tif").read((32, 0, 96, 128))
    assert [int(found[y, x].mean()) for y in (0, 63) for x in (0, 127)] == [0, 0, 2, 0]


def test_what_cannot_be_read_is_one_error_that_names_the_file(tmp_path, monkeypatch):
    cases = {
        "float": ({"data": PIXELS.astype("float32"), "photometric": "rgb"}, "samples of 32 bits, float32"),
        "inks": ({"data": np.dstack([PIXELS, PIXELS[..., 0]]), "photometric": "separated"}, "colors are"),
        "turned": (
            {"data": PIXELS, "photometric": "rgb", "extratags": [(274, 3, 1, 6, True)]},
            "orientation 6",
        ),
    }
    for name, (options, reason) in cases.items():
        tifffile.imwrite(tmp_path / f"{name}.tif", **options)
        with pytest.raises(ValueError, match=rf"Received: .*{name}.tif' \({reason}.*Convert it to RGB"):
            open_image(tmp_path / f"{name}.tif")
    path = write_tiff(tmp_path / "cut_off.tif", PIXELS, tile=(64, 64), compression="zlib")
    path.write_bytes(path.read_bytes()[:60_000])
    with pytest.raises(ValueError, match="cut_off.tif"):
        open_image(path).read()
    strip = write_tiff(tmp_path / "strip.tif", PIXELS, compression="zlib", rowsperstrip=150)
    with pytest.raises(ValueError, match="a strip of .* at most 0.03 million are decoded at once.*tiles of"):
        open_image(strip, max_pixels=30_000).read(WINDOWS[0])
    with pytest.raises(ValueError, match="million are decoded.*a TIFF file with tiles, which `detect"):
        read_header(strip, max_pixels=30_000)
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(ValueError, match=r"need the package tifffile.*pip install mask-rcnn\[tiff\]"):
        open_image(strip)


def test_tiles_of_a_tiff_file_are_detected_and_the_whole_only_if_it_is_small_enough(tmp_path):
    path = write_tiff(tmp_path / "a.tif", scene(), tile=(32, 32))
    for max_pixels, count in ((10**6, 1), (10**4, 0)):
        predictor = BlobPredictor()
        predictor.max_pixels = max_pixels
        found = TiledPredictor(predictor, TILING).predict(path)
        assert as_set(found) == as_set(BlobPredictor().predict(scene()))
        assert predictor.shapes.count((150, 230)) == count


def test_detect_draws_small_tiff_files_and_refuses_to_draw_large_ones(blobs, tmp_path, capsys):  # noqa: F811
    (tmp_path / "in").mkdir()
    write_tiff(tmp_path / "in" / "a.tif", scene())
    words = ["detect", tmp_path / "in", "--weights", "w.h5", "--score-threshold", "0"]
    assert run(*words, "--out", tmp_path / "whole") == 0
    words += ["--tile", "64"]
    assert run(*words, "--out", tmp_path / "out") == 0
    assert cv2.imread(str(tmp_path / "out" / "a.jpg")).shape == (150, 230, 3)
    capsys.readouterr()
    assert run(*words, "--out", tmp_path / "out", "--max-pixels", "10000") == 3
    assert "Give --no-pictures, or raise --max-pixels" in capsys.readouterr().err
    found = tmp_path / "found.json"
    assert run(*words, "--no-pictures", "--max-pixels", "10000", "--json", found) == 0
    assert len(json.loads(found.read_text())) == len(BlobPredictor().predict(scene()))


def test_tiff_files_are_cut_into_tiles_for_training(tmp_path):
    pixels = PIXELS.astype("uint16") * 257
    write_tiff(tmp_path / "a.tif", pixels, tile=(32, 32))
    content = {
        "images": [{"id": 1, "file_name": "a.tif", "height": 150, "width": 230}],
        "categories": [{"id": 1, "name": "cup"}],
        "annotations": [],
    }
    tiles, _ = write_tiles(
        content, tmp_path, tmp_path / "out", cutting=Cutting(tiling=TILING, keep_empty=True)
    )
    image = tiles[""]["images"][4]
    (x, y), name = image["tile_origin"], image["file_name"]
    tile = cv2.imread(str(tmp_path / "out" / "images" / name), cv2.IMREAD_UNCHANGED)[..., ::-1]
    assert name.endswith(".png")
    np.testing.assert_array_equal(tile, pixels[y : y + 64, x : x + 64])
    wrong = content | {"images": [{**content["images"][0], "width": 200}]}
    with pytest.raises(ValueError, match=r"\(150, 200\) in the annotations, \(150, 230\) in .*a.tif"):
        write_tiles(wrong, tmp_path, tmp_path / "wrong", cutting=Cutting(tiling=TILING))


PEAK = """
import resource, sys
sys.path.insert(0, sys.argv[2])
from blob_predictor import BlobPredictor, scene
from mask_rcnn.prediction.tiled_predictor import TiledPredictor
from mask_rcnn.prediction.tiles import Tiling
tiled = TiledPredictor(BlobPredictor(), Tiling(size=1024))
tiled.predict(scene())  # imports all that is needed
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = tiled.predict(sys.argv[1])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(len(found), (peak - before) // 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("layout", [{"tile": (512, 512)}, {"rowsperstrip": 50}])
def test_an_image_of_400_million_pixels_takes_less_than_400_mb(layout, tmp_path):
    def segments():
        height, width = layout.get("tile", (50, 20_000))
        pixels = np.zeros((2, height, width, 3), "uint8")
        pixels[1, 20:60, 100:180] = 1
        empty, filled = (zlib.compress(each.tobytes()) for each in pixels)
        for y in range(0, 20_000, height):
            for x in range(0, 20_000, width):
                yield empty if (y // height + x // width) % 10 else filled

    path, options = tmp_path / "large.tif", {"shape": (20_000, 20_000, 3), "dtype": "uint8"}
    tifffile.imwrite(path, segments(), **options, photometric="rgb", compression="zlib", **layout)
    words = [sys.executable, "-c", PEAK, path, HELPERS]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    count, megabytes = map(int, done.stdout.split())
    assert count == (156 if "tile" in layout else 40)  # four are in the part of tiles outside the image
    assert megabytes < 400  # all pixels need 1200
