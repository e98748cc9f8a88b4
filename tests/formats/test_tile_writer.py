"""Tests of `mask-rcnn data convert --tile`: the tiles, and exactly the pixels of each object in them."""

import json
import re

import annotation_samples as samples
import cv2
import numpy as np
import pytest
from cli_fakes import run
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mask_rcnn.data.findings import Findings
from mask_rcnn.data.image_io.images import read_image, read_samples
from mask_rcnn.data.masks import encode_mask, full_mask, mask_extent
from mask_rcnn.data.readers.coco import read_coco
from mask_rcnn.data.segmentations import pixel_area
from mask_rcnn.formats.conversion import Selection
from mask_rcnn.formats.tile_annotations import cut_annotation
from mask_rcnn.formats.tile_writer import Cutting, write_tiles
from mask_rcnn.prediction.tiles import Tiling

SIZE = (96, 128)
TILING = Tiling(size=32, overlap=0)  # 3 x 4 tiles without overlap
EVERYTHING = Cutting(tiling=TILING, min_visible=0, keep_empty=True)


def annotation(segmentation, box=None, size=SIZE, **fields):
    if segmentation:
        y1, x1, y2, x2 = mask_extent(full_mask(segmentation, *size))
        box, area = [x1, y1, x2 - x1, y2 - y1], pixel_area(segmentation, size)
    else:
        area = box[2] * box[3]
    return {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "bbox": box,
        "area": area,
        "iscrowd": 0,
        "segmentation": segmentation,
        **fields,
    }


def content_of(*annotations, name="a.png", size=SIZE, count=1):
    images = [
        {"id": number, "file_name": name if number == 1 else f"{number}{name}"}
        for number in range(1, count + 1)
    ]
    return {
        "images": [{**image, "height": size[0], "width": size[1]} for image in images],
        "categories": [{"id": 1, "name": "cup"}],
        "annotations": [{**each, "id": id} for id, each in enumerate(annotations, start=1)],
    }


def picture(folder, name="a.png", size=SIZE, dtype="uint8"):
    highest = np.iinfo(dtype).max
    pixels = np.random.default_rng(0).integers(0, highest, (*size, 3), dtype)
    cv2.imwrite(str(folder / name), pixels[..., ::-1])
    return pixels


def star(seed, corners=12):
    """Returns a concave polygon, [x, y, ...], inside the image."""
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    radii, (y, x) = rng.uniform(5, 45, corners), rng.uniform([46, 46], [50, 82])
    points = np.stack([x + radii * np.cos(angles), y + radii * np.sin(angles)], axis=1)
    return np.round(points, 2).ravel().tolist()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans(), st.booleans())
def test_each_tile_has_exactly_the_pixels_of_the_object_in_it(seed, as_runs, several):
    polygons = [star(seed), *([star(seed + 1)] if several else [])]
    mask = full_mask(polygons, *SIZE)
    one = annotation(encode_mask(mask) if as_runs else polygons)
    windows, total = TILING.windows(SIZE), 0
    parts = {number: (share, part) for number, share, part in cut_annotation(one, windows, SIZE)}
    for number, (y1, x1, y2, x2) in enumerate(windows.tolist()):
        expected = mask[y1:y2, x1:x2]
        assert (number in parts) == expected.any()
        if number not in parts:
            continue
        share, part = parts[number]
        found = full_mask(part["segmentation"], 32, 32)
        if isinstance(part["segmentation"], list):  # inside the tile; the shift changes how ties are rounded
            assert share == 1 and (found != expected).sum() <= 0.02 * expected.sum()
            total += part["area"]
            continue
        np.testing.assert_array_equal(found, expected)
        assert share == pytest.approx(expected.sum() / mask.sum())
        x, y, width, height = part["bbox"]
        assert [y, x, y + height, x + width] == mask_extent(found).tolist()
        assert part["area"] == expected.sum()
        total += part["area"]
    assert total == mask.sum()


def test_an_object_inside_of_a_tile_keeps_its_form():
    polygon, runs = [34.5, 35, 60, 35.25, 50, 62], encode_mask(np.ones((6, 4), bool), (40, 40), SIZE)
    for segmentation in ([polygon], runs):
        one = annotation(segmentation, keypoints=[40, 50, 2, 10, 10, 1], num_keypoints=2)
        ((number, share, part),) = cut_annotation(one, TILING.windows(SIZE), SIZE)
        assert (number, share) == (5, 1)  # the tile that begins at y = 32, x = 32
        assert part["bbox"] == [one["bbox"][0] - 32, one["bbox"][1] - 32, *one["bbox"][2:]]
        assert part["area"] == one["area"]
        assert part["keypoints"] == [8, 18, 2, 0, 0, 0] and part["num_keypoints"] == 1
        assert isinstance(part["segmentation"], type(segmentation))
    assert part["segmentation"]["size"] == [32, 32]


def test_an_object_without_a_pixel_is_kept_if_a_tile_holds_it():
    for x, count in ((10, 1), (31.9, 0)):
        thin = [x, 10.2, x + 0.3, 10.2, x + 0.3, 10.3]
        one = annotation([[2, 2, 34, 2, 34, 30, 2, 30]]) | {
            "segmentation": [thin],
            "bbox": [x, 10.2, 0.3, 0.1],
        }
        assert not full_mask([thin], *SIZE).any()
        assert len(list(cut_annotation(one, TILING.windows(SIZE), SIZE))) == count


def test_boxes_without_masks_are_cut():
    one = annotation(None, [20.5, 10, 20, 12])
    found = list(cut_annotation(one, TILING.windows(SIZE), SIZE))
    assert [(number, part["bbox"], part["area"]) for number, _, part in found] == [
        (0, [20.5, 10, 11.5, 12], 138),
        (1, [0, 10, 8.5, 12], 102),
    ]
    assert sum(share for _, share, _ in found) == pytest.approx(1)


def test_the_tiles_of_an_image_are_its_pixels(tmp_path):
    for number, (name, dtype) in enumerate((("a.png", "uint8"), ("b.png", "uint16"))):
        pixels = picture(tmp_path, name, dtype=dtype)
        out = tmp_path / str(number)
        tiles, (path,) = write_tiles(content_of(name=name), tmp_path, out, cutting=EVERYTHING)
        assert json.loads(path.read_text()) == tiles[""]
        assert path == out / "instances.json" and len(tiles[""]["images"]) == 12
        for image in tiles[""]["images"]:
            x, y = image["tile_origin"]
            assert image["tile_of"] == name and image["file_name"] == f"{name[0]}_x{x}_y{y}.png"
            tile = read_samples(out / "images" / image["file_name"])
            assert tile.dtype == dtype
            np.testing.assert_array_equal(tile, pixels[y : y + 32, x : x + 32])


def test_tiles_of_a_photograph_are_photographs_and_small_images_are_copied(tmp_path):
    smooth = cv2.resize(picture(tmp_path, size=(6, 8)), SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored rotated
    Image.fromarray(np.rot90(smooth)).save(tmp_path / "a.JPG", exif=exif, quality=95)
    tiles, _ = write_tiles(content_of(name="a.JPG"), tmp_path, tmp_path / "out", cutting=EVERYTHING)
    upright = read_image(tmp_path / "a.JPG").astype(int)
    for image in tiles[""]["images"]:
        x, y = image["tile_origin"]
        tile = read_image(tmp_path / "out" / "images" / image["file_name"]).astype(int)
        assert image["file_name"].endswith(".JPG")
        assert np.abs(tile - upright[y : y + 32, x : x + 32]).mean() < 3
    whole = Cutting(tiling=Tiling(size=200), keep_empty=True)
    tiles, _ = write_tiles(content_of(name="a.JPG"), tmp_path, tmp_path / "copy", cutting=whole)
    assert tiles[""]["images"][0]["file_name"] == "a.JPG"
    assert (tmp_path / "copy" / "images" / "a.JPG").read_bytes() == (tmp_path / "a.JPG").read_bytes()


def test_hardly_visible_objects_are_ignored_and_empty_tiles_left_out(tmp_path):
    picture(tmp_path)
    square = annotation([[2, 2, 34, 2, 34, 30, 2, 30]])  # 30 of 32 columns are in the first tile
    findings = Findings()
    cutting = Cutting(tiling=TILING)
    content, _ = write_tiles(
        content_of(square), tmp_path, tmp_path / "out", cutting=cutting, findings=findings
    )
    (image,), (one,) = content[""]["images"], content[""]["annotations"]
    assert image["tile_origin"] == [0, 0] and one["iscrowd"] == 0
    assert sorted(path.name for path in (tmp_path / "out" / "images").iterdir()) == ["a_x0_y0.png"]
    assert findings.lines() == [
        "masks that a tile cuts became run lengths (2: annotation 1, annotation 1)",
        "objects of which a tile shows less than 0.1 became crowd regions there, which training ignores "
        "(1: annotation 1)",
        "tiles without objects were left out (`--keep-empty` keeps them) (11: "
        + ", ".join(f"a.png at {[x, y]}" for y in (0, 32, 64) for x in (0, 32, 64, 96) if (x, y) != (0, 0))[
            :-19
        ]
        + ", ...)",
    ]
    for kept in (Cutting(tiling=TILING, keep_empty=True), Cutting(tiling=TILING, min_visible=0.01)):
        out = tmp_path / f"kept{kept.keep_empty}"
        content, _ = write_tiles(content_of(square), tmp_path, out, cutting=kept)
        crowds = [each["iscrowd"] for each in content[""]["annotations"]]
        assert crowds == [0, int(kept.keep_empty)]
        assert len(content[""]["images"]) == (12 if kept.keep_empty else 2)


def test_tiles_of_an_image_stay_in_one_part_of_a_split(tmp_path):
    for name in ("a.png", "2a.png", "3a.png"):
        picture(tmp_path, name)
    content = content_of(annotation([[2, 2, 120, 2, 120, 90]]), count=3)
    parts, paths = write_tiles(
        content,
        tmp_path,
        tmp_path / "out",
        cutting=EVERYTHING,
        selection=Selection(train_fraction=0.7, seed=1),
    )
    assert [path.name for path in paths] == ["instances_train.json", "instances_val.json"]
    files = [{image["tile_of"] for image in part["images"]} for part in parts.values()]
    assert [len(each) for each in files] == [2, 1] and not files[0] & files[1]
    assert [len(part["images"]) for part in parts.values()] == [24, 12]


def test_the_command_writes_what_the_reader_takes(tmp_path, capsys):
    path = samples.write_coco(tmp_path)
    words = ["data", "convert", path, tmp_path / "out", "--tile", "40", "--tile-overlap", "0.5"]
    assert run(*words, "--min-visible", "0.3") == 0
    said = capsys.readouterr()
    assert f"`file_name`s are relative to {tmp_path / 'out' / 'images'}" in said.out
    assert "crowd regions there, which training ignores" in said.err and "without objects" in said.err
    dataset = read_coco(tmp_path / "out" / "instances.json", tmp_path / "out" / "images")
    assert not dataset.warnings and len(dataset) > 5
    assert {category.name for category in dataset.categories} == {"cat", "dog", "bus"}
    assert any(one.crowd for image in dataset.images for one in image.annotations)
    assert all((image.height, image.width) <= (40, 40) for image in dataset.images)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--keep-empty"], "--keep-empty and --min-visible need --tile"),
        (["--min-visible", "0.2"], "--keep-empty and --min-visible need --tile"),
        (["--tile-overlap", "0.2"], "--tile-overlap needs --tile"),
        (["--tile", "40", "--to", "yolo"], "--tile writes a folder.*Received: --to yolo"),
        (["--tile", "40", "--min-visible", "20"], "`--min-visible` must be the fraction.*Received: 20"),
        (["--tile", "40", "--classes", "cow"], "`--classes` takes names of classes"),
    ],
)
def test_a_wrong_option_is_one_message(words, message, tmp_path, capsys):
    path = samples.write_coco(tmp_path)
    assert run("data", "convert", path, tmp_path / "out", *words) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten_and_no_half_folder_is_left(tmp_path, capsys):
    path = samples.write_coco(tmp_path)
    (tmp_path / "there").mkdir()
    assert run("data", "convert", path, tmp_path / "there", "--tile", "40") == 2
    assert run("data", "convert", path, tmp_path / "out.json", "--tile", "40") == 2
    (tmp_path / "b.jpg").unlink(missing_ok=True)
    for image in tmp_path.rglob("a.png"):
        image.write_bytes(image.read_bytes()[:500])
    assert run("data", "convert", path, tmp_path / "out", "--tile", "40") == 2
    assert "a.png" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="Expected objects in the tiles. Received: 1 images without"):
        picture(tmp_path, "empty.png")
        write_tiles(content_of(name="empty.png"), tmp_path, tmp_path / "out", cutting=Cutting(tiling=TILING))
