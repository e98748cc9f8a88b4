"""Tests of `mask-rcnn data preview`."""

import re

import numpy as np
import pytest
from cli_fakes import run, write_image
from PIL import Image
from small_coco import FLIP_PAIRS, NAMES, read_small_coco

from mask_rcnn.cli.preview import GAP
from mask_rcnn.data.shapes import write_shapes

SMALL = ("input.short_side=48", "input.train_short_sides=48", "input.long_side=64", "train.batch_size=2")


def preview(annotations, images, out, *words, settings=SMALL):
    pairs = [word for each in settings for word in ("--set", each)]
    data = ("--annotations", annotations, "--images", images, "--out", out)
    return run("data", "preview", *data, *pairs, *words)


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """The annotations and the folder of six images of shapes."""
    return write_shapes(tmp_path_factory.mktemp("shapes"), 6, (48, 64), seed=1)


def test_a_sheet_shows_the_first_samples_in_rows(shapes, tmp_path, capsys):
    out = tmp_path / "sheet.png"
    assert preview(*shapes, out, "--count", 3, "--tile", 96) == 0
    assert pixels(out).shape == (2 * (72 + GAP) + GAP, 2 * (96 + GAP) + GAP, 3)
    first, second, last = capsys.readouterr().out.splitlines()
    assert first.startswith("row 1: ") and first.count(",") == 1
    assert second.startswith("row 2: ") and "," not in second
    assert last.startswith("3 samples, ") and last.endswith(f" objects, 0 ignored regions: {out}")
    assert (pixels(out)[-20:, -20:] == 255).all()  # no fourth sample


def test_transforms_change_the_sheet_and_an_earlier_sheet_is_replaced(shapes, tmp_path):
    out = tmp_path / "sheet.jpg"
    settings = (*SMALL, "input.horizontal_flip=0.0")
    assert preview(*shapes, out, "--count", 1, settings=settings) == 0
    plain = pixels(out)
    flip = "input.transforms=vertical_flip probability=1.0"
    assert preview(*shapes, out, "--count", 1, settings=(*settings, flip)) == 0
    assert plain.shape == pixels(out).shape
    assert np.abs(plain - pixels(out)).mean() > 5


def test_ignored_regions_are_counted_and_drawn(shapes, tmp_path, capsys):
    out = tmp_path / "sheet.png"
    assert preview(*shapes, out, "--count", 4, settings=(*SMALL, "input.max_instances=1")) == 0
    assert "4 samples, 3 objects, 6 ignored regions" in capsys.readouterr().out
    assert preview(*shapes, tmp_path / "all.png", "--count", 4) == 0
    assert (pixels(out) != pixels(tmp_path / "all.png")).any()


def test_keypoints_are_drawn_without_masks(tmp_path, capsys):
    read_small_coco(tmp_path)
    settings = (
        *SMALL,
        f"keypoint_head.names={','.join(NAMES)}",
        f"keypoint_head.flip_pairs={','.join(FLIP_PAIRS)}",
    )
    words = ("--config", "keypoint_rcnn_lite0_fpn", "--count", 2)
    out = tmp_path / "sheet.png"
    assert preview(tmp_path / "instances.json", tmp_path, out, *words, settings=settings) == 0
    assert "2 samples, 8 objects, 2 ignored regions" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--count", 0), r"--count must be 1 or more. Received: --count 0"),
        (("--tile", -1), r"--tile must be 1 or more"),
        (("--out", "sheet.gif"), r"ends in .png, .jpg, .jpeg. Received: --out sheet.gif"),
        (("--set", "input.transforms=sharpen"), r"registered name.*'sharpen'"),
        (("--annotations", "missing.json"), r"missing.json'.*does not exist"),
    ],
)
def test_wrong_words_are_one_error(shapes, tmp_path, capsys, words, message):
    assert preview(*shapes, tmp_path / "sheet.png", *words) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


def test_other_pictures_are_not_overwritten(shapes, tmp_path, capsys):
    photo = write_image(tmp_path / "photo.png")
    before = photo.read_bytes()
    assert preview(*shapes, photo) == 2
    assert "Choose another name" in capsys.readouterr().err
    assert photo.read_bytes() == before
