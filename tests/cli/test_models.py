"""Tests of `mask-rcnn models` and `--weights NAME`, with test entries of published weights."""

import json
import subprocess
import sys

import numpy as np
import pytest

from mask_rcnn.cli.main import main
from mask_rcnn.model_zoo import cache, pretrained
from mask_rcnn.model_zoo.entries.entry import Entry
from mask_rcnn.model_zoo.preset import Preset
from mask_rcnn.model_zoo.registry import ENTRIES
from mask_rcnn.prediction import predict
from mask_rcnn.structures import Category
from mask_rcnn.weights import read_arrays, read_header, variables

NAME = "tests/tiny"
CATEGORIES = (Category(7, "apple"), Category(9, "pear"), Category(80, "fig"))


def run(*words):
    """Runs `mask-rcnn` in this process and returns its exit code."""
    with pytest.raises(SystemExit) as stop:
        main(["mask-rcnn", *map(str, words)])
    return stop.value.code


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MASK_RCNN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MASK_RCNN_OFFLINE", "1")
    return tmp_path / "home"


@pytest.fixture
def published(home, monkeypatch, tiny_config):
    """An entry whose system names its arrays "theirs.NAME". Its file is not in the cache."""

    class TinyEntry(Entry):
        @property
        def preset(self):
            table = ((r"theirs\.(.*)", r"\1", "same"),)
            return Preset(config=lambda: tiny_config, table=table, categories=CATEGORIES)

    facts = dict.fromkeys(("description", "license", "source", "published"), "")
    entry = TinyEntry(name=NAME, url="https://example.org/tiny.npz", file_format="npz", **facts)
    monkeypatch.setitem(ENTRIES, NAME, entry)
    return entry


@pytest.fixture
def checkpoint(tmp_path, tiny_parts):
    path = tmp_path / "theirs.npz"
    np.savez(path, **{f"theirs.{name}": np.asarray(v) for name, v in variables(tiny_parts).items()})
    return path


def put_into_cache(entry, checkpoint):
    path = cache.path_of(entry)
    path.parent.mkdir(parents=True)
    path.write_bytes(checkpoint.read_bytes())


def test_list_names_all_with_what_is_published_and_what_is_here(home, capsys):
    assert run("models", "list") == 0
    lines = capsys.readouterr().out.splitlines()
    row = {name: next(line for line in lines if line.startswith(f"{name} ")).split() for name in ENTRIES}
    assert row["torchvision/maskrcnn_resnet50_fpn"][1:] == ["37.9", "34.6", "sha256:8", "no"]
    assert row["detectron2/keypoint_rcnn_R_50_FPN_1x"][1:] == ["53.6", "64.0", "md5:6", "no"]
    assert row["matterport/mask_rcnn_coco"][1:] == ["34.7", "29.6", "none", "no", "?"]
    assert row["efficientnet_lite0/imagenet"][1:] == ["sha256", "yes", "?"]


def test_list_as_json_has_every_field(home, capsys):
    assert run("models", "list", "--json") == 0
    facts = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert facts.keys() == ENTRIES.keys()
    entry = facts["torchvision/maskrcnn_resnet50_fpn"]
    assert (entry["sha256"], entry["box_ap"], entry["cached"]) == ("bf2d0c1e", 37.9, False)


@pytest.mark.parametrize("words", [["list"], ["show", "detectron2/mask_rcnn_R_50_FPN_3x"], ["--help"]])
def test_looking_imports_no_tensorflow(words):
    program = (
        "import sys; from mask_rcnn.cli.main import main\n"
        f"try: main(['mask-rcnn', 'models', *{words}])\n"
        "except SystemExit: pass\n"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)


def test_show_tells_the_recipe_and_what_is_not_confirmed(home, capsys):
    assert run("models", "show", "detectron2/mask_rcnn_R_50_FPN_3x") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "box_ap 41.0, mask_ap 37.2 (detectron2, MODEL_ZOO.md, COCO val2017)" in shown
    assert "short side 800, long side at most 1333, antialiased_uint8 resize" in shown
    assert "80: person, bicycle, car" in shown
    assert "md5 f10217... (no more is published)" in shown
    assert run("models", "show", "detectron2/MSRA/R-50") == 0
    assert "hash: none is published" in " ".join(capsys.readouterr().out.split())


def test_a_mistyped_name_is_corrected(home, capsys):
    assert run("models", "show", "detectron2/mask_rcnn_R50_FPN_3x") == 2
    assert "Did you mean 'detectron2/mask_rcnn_R_50_FPN_3x'" in capsys.readouterr().err


def test_fetch_offline_says_what_to_put_where(home, capsys):
    assert run("models", "fetch", "torchvision/maskrcnn_resnet50_fpn") == 2
    message = capsys.readouterr().err
    assert "MASK_RCNN_OFFLINE" in message and "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth" in message
    assert f"file: {home}" in message


def test_verify_needs_the_file_and_says_whether_it_is_the_published_one(published, checkpoint, capsys):
    assert run("models", "verify", NAME) == 2
    assert f"`mask-rcnn models fetch {NAME}`" in capsys.readouterr().err
    put_into_cache(published, checkpoint)
    assert run("models", "verify", NAME) == 0
    assert "the source publishes no hash to compare it with" in capsys.readouterr().out
    assert run("models", "verify", "efficientnet_lite0/imagenet") == 0
    assert "as published" in capsys.readouterr().out


def test_a_converted_checkpoint_carries_its_config_and_categories(
    published, checkpoint, tiny_config, tiny_parts, tmp_path, capsys
):
    out = tmp_path / "new" / "a.weights.h5"
    assert run("models", "convert", checkpoint, "--as", NAME, "--out", out) == 0
    assert str(out) in capsys.readouterr().out
    assert read_header(out) == (tiny_config, CATEGORIES)
    arrays = read_arrays(out)
    assert arrays.keys() == variables(tiny_parts).keys()
    for name, variable in variables(tiny_parts).items():
        np.testing.assert_array_equal(arrays[name], variable)


def test_converting_as_another_model_lists_both_sides(published, checkpoint, tmp_path, capsys):
    out = tmp_path / "a.weights.h5"
    assert (
        run("models", "convert", checkpoint, "--as", "torchvision/fasterrcnn_resnet50_fpn", "--out", out) == 2
    )
    message = capsys.readouterr().err
    assert f"The weights of {checkpoint}, read as torchvision/fasterrcnn_resnet50_fpn, do not fit" in message
    assert "missing in the file:\n    backbone/stem/kernel" in message
    assert "unknown to the model:\n    theirs.backbone/" in message
    assert not out.exists()


def test_converting_as_a_backbone_says_how_to_use_one(checkpoint, tmp_path, capsys):
    out = tmp_path / "a.weights.h5"
    assert run("models", "convert", checkpoint, "--as", "torchvision/resnet50", "--out", out) == 2
    assert "--set backbone.weights=torchvision/resnet50" in capsys.readouterr().err


def test_detect_takes_a_name_and_reports_the_ids_of_the_data_set(published, checkpoint, tmp_path, capsys):
    put_into_cache(published, checkpoint)
    import cv2

    image = np.random.default_rng(0).integers(0, 255, (60, 80, 3), "uint8")
    cv2.imwrite(str(tmp_path / "a.png"), image)
    results = tmp_path / "out.json"
    words = ["--weights", NAME, "--json", results, "--no-pictures", "--score-threshold", "0.05"]
    assert run("detect", tmp_path / "a.png", *words) == 0, capsys.readouterr().err
    found = json.loads(results.read_text())
    assert found and {entry["category_id"] for entry in found} <= {7, 9, 80}


def test_published_weights_are_converted_once(published, checkpoint, monkeypatch):
    put_into_cache(published, checkpoint)
    first = pretrained.weights_file(NAME)
    monkeypatch.setattr(pretrained, "convert_file", None)
    cache.path_of(published).unlink()
    assert pretrained.weights_file(NAME) == first
    assert predict.load(NAME).categories == CATEGORIES


def test_a_path_that_is_not_there_and_no_name_is_an_error(capsys):
    assert run("detect", __file__, "--weights", "torchvision/maskrcnn_resnet50") == 2
    message = capsys.readouterr().err
    assert "Expected a weights file, or the name of published weights" in message
    assert "Did you mean 'torchvision/maskrcnn_resnet50_fpn'" in message


def test_a_file_that_is_called_like_published_weights_comes_first(published, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tests").mkdir()
    (tmp_path / NAME).touch()
    assert pretrained.weights_file(NAME).samefile(tmp_path / NAME)


def test_the_config_of_published_weights_is_known_without_fetching(published, tiny_config):
    assert pretrained.config_of(NAME) == tiny_config
