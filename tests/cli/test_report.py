"""Tests of `mask-rcnn evaluate --report`: written files, and invalid command lines."""

import json
import sys
import types

import cv2
import numpy as np
import pytest
from cli_fakes import CATEGORIES, FakePredictor, run, write_image
from report_scenes import CAT, HEIGHT, WIDTH, random_scene


@pytest.fixture
def scene(tmp_path):
    """A folder with annotations, images and two results files."""
    annotations, entries = random_scene(1)
    (tmp_path / "truth.json").write_text(json.dumps(annotations))
    (tmp_path / "first.json").write_text(json.dumps(entries))
    (tmp_path / "second.json").write_text(json.dumps([each for each in entries if each["score"] > 0.3]))
    for image in annotations["images"][1:]:  # one file is missing
        (tmp_path / "photos").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "photos" / image["file_name"]), np.zeros((HEIGHT, WIDTH, 3), "uint8"))
    return tmp_path


def evaluate(folder, *words, results="first.json"):
    return run("evaluate", "--detections", folder / results, "--annotations", folder / "truth.json", *words)


def test_a_results_file_gets_a_report_with_its_images_and_a_comparison(scene, capsys):
    words = ["--images", scene / "photos", "--report", scene / "out", "--compare", scene / "second.json"]
    assert evaluate(scene, "--json", scene / "score.json", *words) == 0
    numbers = json.loads((scene / "out" / "report.json").read_text())
    score = json.loads((scene / "score.json").read_text())
    assert numbers["metrics"] == score
    for kind in ("bbox", "segm"):
        assert numbers["evaluations"][kind]["summary"] == score["summary"][kind]
    assert sorted(path.name for path in (scene / "out").iterdir()) == ["index.html", "report.json"]
    output = capsys.readouterr().out
    assert "images could not be read: their objects are drawn on gray (1: 1:" in output
    assert f"Report: {scene / 'out' / 'index.html'}" in output


def test_a_model_gets_a_report_and_its_detections_beside_it(scene, monkeypatch):
    monkeypatch.setitem(
        sys.modules, "mask_rcnn.prediction.predict", types.SimpleNamespace(Predictor=FakePredictor)
    )
    write_image(scene / "photos" / "1.png")
    content = {
        "images": [{"id": 5, "file_name": "1.png", "height": 32, "width": 48}],
        "categories": [{"id": category.id, "name": category.name} for category in CATEGORIES],
        "annotations": [
            {"id": 1, "image_id": 5, "category_id": 7, "bbox": [0, 0, 20, 10], "area": 200, "iscrowd": 0,
             "segmentation": [[0, 0, 20, 0, 20, 10, 0, 10]]}
        ],
    }  # fmt: skip
    (scene / "truth.json").write_text(json.dumps(content))
    words = ["--annotations", scene / "truth.json", "--images", scene / "photos"]
    assert run("evaluate", "--weights", "w.h5", "--report", scene / "out", *words) == 0
    numbers = json.loads((scene / "out" / "report.json").read_text())
    assert numbers["evaluations"]["segm"]["summary"]["AP"] == pytest.approx(1)
    assert numbers["evaluations"]["segm"]["errors"]["errors"]["background"]["count"] == 1  # the pear
    page = (scene / "out" / "index.html").read_text()
    assert "is not shown" not in page
    saved = scene / "out" / "detections.json"
    assert evaluate(scene, "--report", scene / "again", results=saved) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--compare", "second.json"], "--compare needs --report"),
        (["--report", "first.json"], "which is a file"),
        (["--report", "out", "--images", "nowhere"], "folder of the images"),
        (["--report", "out", "--compare", "none.json"], "none.json"),
    ],
)
def test_a_wrong_command_line_gives_2(words, message, scene, monkeypatch, capsys):
    monkeypatch.chdir(scene)
    assert evaluate(scene, *words) == 2
    assert message in capsys.readouterr().err
    assert not (scene / "out").exists()


def test_results_of_another_data_set_are_named_with_counts_and_examples(scene, capsys):
    entries = json.loads((scene / "first.json").read_text())
    for entry in entries:
        entry["image_id"] += 1000
    entries[0] |= {"image_id": 1, "category_id": 99}
    (scene / "other.json").write_text(json.dumps(entries))
    assert evaluate(scene, "--report", scene / "out", results="other.json") == 2
    message = capsys.readouterr().err
    assert f"({len(entries) - 1}: entry 1 with image_id=100" in message
    assert f"`category_id` must be in the annotations, which have [{CAT}, 8]" in message


def test_an_empty_results_file_is_scored_but_not_explained(scene, capsys):
    (scene / "empty.json").write_text("[]")
    assert evaluate(scene, results="empty.json") == 0
    assert evaluate(scene, "--report", scene / "out", results="empty.json") == 2
    assert "empty.json without a detection" in capsys.readouterr().err


def test_a_comparison_with_results_of_another_data_set_is_refused(scene, capsys):
    entries = json.loads((scene / "first.json").read_text())
    (scene / "other.json").write_text(json.dumps([{**each, "image_id": 77} for each in entries]))
    assert evaluate(scene, "--report", scene / "out", "--compare", scene / "other.json") == 2
    message = capsys.readouterr().err
    assert f"Received: {scene / 'other.json'}, in which" in message
    assert f"({len(entries)}: entry 0 with image_id=77" in message
    (scene / "other.json").write_text(json.dumps([{**entries[0], "category_id": 77}]))
    assert evaluate(scene, "--report", scene / "out", "--compare", scene / "other.json") == 2
    assert "`category_id` must be in the annotations" in capsys.readouterr().err


def test_a_comparison_says_which_images_and_masks_the_second_run_lacks(scene, capsys):
    entries = json.loads((scene / "first.json").read_text())
    boxes = [{name: each[name] for name in each if name != "segmentation"} for each in entries]
    (scene / "boxes.json").write_text(json.dumps([each for each in boxes if each["image_id"] < 3]))
    assert evaluate(scene, "--report", scene / "out", "--compare", scene / "boxes.json") == 0
    output = capsys.readouterr().out
    assert "boxes.json: no detections in 2 images in which the first run has detections" in output
    assert "boxes.json: segm cannot be compared: only the first run has them" in output
    numbers = json.loads((scene / "out" / "report.json").read_text())
    assert list(numbers["evaluations"]) == ["bbox", "segm", "boundary"]
    assert list(numbers["comparison"]["evaluations"]) == ["bbox"]
    masks = [{name: each[name] for name in each if name != "bbox"} for each in entries]
    (scene / "mixed.json").write_text(json.dumps([*boxes[:1], *masks[1:]]))
    assert evaluate(scene, "--report", scene / "out", "--compare", scene / "mixed.json") == 2
    assert "each entry needs 'segmentation'. Received: 1 of" in capsys.readouterr().err


def test_a_comparison_needs_something_in_common(scene, capsys):
    entries = json.loads((scene / "first.json").read_text())
    points = [
        {**each, "keypoints": [1, 2, 1]}
        for each in ({**one, "bbox": None, "segmentation": None} for one in entries)
    ]
    (scene / "points.json").write_text(json.dumps(points))
    assert evaluate(scene, "--report", scene / "out", "--compare", scene / "points.json") == 2
    assert "with bbox, segm, " in capsys.readouterr().err


def test_boxes_outside_of_their_images_are_reported(scene, capsys):
    entries = json.loads((scene / "first.json").read_text())
    wrong = [{**each, "bbox": [500, 400, 9, 9]} for each in entries]
    (scene / "large.json").write_text(json.dumps(wrong))
    assert evaluate(scene, results="large.json") == 0
    assert f"lies outside of its image: are these the right annotations? ({len(wrong)}: " in (
        capsys.readouterr().out
    )


def test_a_file_of_lvis_is_recognized(scene, capsys):
    truth = json.loads((scene / "truth.json").read_text())
    for image in truth["images"]:
        image |= {"neg_category_ids": [CAT], "not_exhaustive_category_ids": []}
    for category, frequency in zip(truth["categories"], "rf", strict=True):
        category["frequency"] = frequency
    (scene / "truth.json").write_text(json.dumps(truth))
    assert evaluate(scene, "--report", scene / "out") == 0
    output = capsys.readouterr().out
    assert "at most 300 detections per image" in output and output.count("LVIS's rules") == 1
    numbers = json.loads((scene / "out" / "report.json").read_text())
    assert numbers["federated"]
    page = (scene / "out" / "index.html").read_text()
    assert "LVIS&#x27;s rules" in page and "AP rare" in page and "AP common" in page
