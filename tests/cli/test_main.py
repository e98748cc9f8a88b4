import argparse
import json
import re
import subprocess
import sys
import types

import pytest
from cli_fakes import CATEGORIES, FakePredictor, run, write_image

from mask_rcnn.cli.main import COMMANDS
from mask_rcnn.config_io import from_yaml, to_yaml
from mask_rcnn.model_zoo import config, names
from mask_rcnn.model_zoo.registry import find


def parsers(parser, name="mask-rcnn"):
    """Yields (name, parser) of a parser and of all commands below it."""
    yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, child in action.choices.items():
                yield from parsers(child, f"{name} {word}")


def all_options():
    root = argparse.ArgumentParser(prog="mask-rcnn")
    commands = root.add_subparsers()
    for command in COMMANDS:
        command.add_parser(commands)
    for name, parser in parsers(root):
        for action in parser._actions:
            if action.option_strings and "--help" not in action.option_strings:
                yield pytest.param(parser, action, id=f"{name} {action.option_strings[-1]}")


@pytest.mark.parametrize("parser, action", list(all_options()))
def test_every_option_shows_its_default_or_is_required(parser, action):
    shown = parser._get_formatter()._get_help_string(action)
    assert action.required or "(default: " in shown and "None" not in shown


def test_help_does_not_import_tensorflow():
    program = (
        "import sys; from mask_rcnn.cli.main import main\n"
        "try: main(['mask-rcnn', 'train', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'tensorflow', 'keras', 'cv2', 'pycocotools', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)


def test_module_and_command_are_the_same():
    words = [sys.executable, "-m", "mask_rcnn", "--version"]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "mask-rcnn 0.1.0\n"


@pytest.mark.parametrize("words", [[], ["trian"], ["train"], ["detect"], ["config", "show"], ["data"]])
def test_a_wrong_command_line_exits_with_2(words, capsys):
    assert run(*words) == 2
    assert "usage: mask-rcnn" in capsys.readouterr().err


def test_an_error_is_one_message_without_traceback(capsys):
    assert run("config", "show", "shape") == 2
    assert capsys.readouterr().err.startswith("mask-rcnn: error: The recipe must be one of ")


def test_verbose_adds_the_traceback(capsys):
    assert run("config", "show", "shape", "-v", "1") == 2
    assert "Traceback" in capsys.readouterr().err
    assert run("config", "show", "shape", "-v", "0") == 2
    assert "Traceback" not in capsys.readouterr().err


def test_config_list_names_every_recipe_and_every_registered_part(capsys):
    assert run("config", "list") == 0
    printed = capsys.readouterr().out
    titles = [line for line in printed.splitlines() if line and not line.startswith(" ")]
    assert titles == [*names(), "backbone.name:", "roi_align.method:", "heads:", "input.transforms:"]
    for part in (
        "resnet50:",
        "keras.applications/NAME:",
        "keras_hub/NAME:",
        "crop_and_resize:",
        "mask:",
        "scale_jitter:",
    ):
        assert f"\n    {part} " in printed


def test_config_show_prints_yaml_that_can_be_read_back(capsys):
    assert run("config", "show", "shapes", "--set", "train.steps=3", "--set", "input.pad_multiple=64") == 0
    shown = from_yaml(capsys.readouterr().out)
    assert (shown.train.steps, shown.input.pad_multiple) == (3, 64)


@pytest.mark.parametrize("text", ["train.steps", "=3"])
def test_set_without_field_or_value_is_an_error(text, capsys):
    assert run("config", "show", "shapes", f"--set={text}") == 2
    assert "--set needs FIELD=VALUE" in capsys.readouterr().err


def test_set_of_an_unknown_field_names_the_nearest(capsys):
    assert run("config", "show", "shapes", "--set", "train.step=3") == 2
    assert "Did you mean train.steps" in capsys.readouterr().err


@pytest.fixture
def trained(monkeypatch):
    """Replaces `training.train`. Returns the list of the arguments of its calls."""
    calls = []

    def train(config, run_dir, resume=False):
        calls.append((config, run_dir, resume))

    fake = types.SimpleNamespace(train=train, check=lambda *arguments, **options: calls.append("check"))
    monkeypatch.setitem(sys.modules, "mask_rcnn.training.train", fake)
    return calls


def test_train_without_anything_is_the_shapes(trained, tmp_path):
    assert run("train", "--run", tmp_path / "run") == 0
    assert trained == [(config("shapes"), tmp_path / "run", False)]


def test_check_does_not_train(trained, tmp_path):
    assert run("train", "--run", tmp_path / "run", "--check") == 0
    assert trained == ["check"]


def test_resume_of_a_folder_without_a_run_is_an_error_that_says_so(trained, tmp_path, capsys):
    assert run("train", "--run", tmp_path, "--resume") == 2
    assert "holds no run" in capsys.readouterr().err and not trained


def test_train_with_data_puts_the_paths_into_the_config(trained, tmp_path):
    options = ["--train-annotations", "a.json", "--train-images", "photos", "--precision", "mixed_bfloat16"]
    assert run("train", "--run", tmp_path, *options, "--set", "num_classes=2") == 0
    ((given, _, _),) = trained
    assert (given.data.train_annotations, given.data.train_images) == ("a.json", "photos")
    assert given.train.precision == "mixed_bfloat16"
    assert given.backbone == config("mask_rcnn_lite0_fpn").backbone


def test_train_resumes_with_the_config_of_the_run(trained, tmp_path):
    saved = config("fine_tune")
    (tmp_path / "config.yaml").write_text(to_yaml(saved))
    (tmp_path / "run.json").write_text('{"run": "a"}')
    assert run("train", "--run", tmp_path, "--resume") == 0
    assert trained == [(saved, tmp_path, True)]


def test_train_with_weights_has_their_network_and_the_quick_recipe(trained, tmp_path):
    name = "torchvision/maskrcnn_resnet50_fpn"
    options = ["--train-annotations", "a.json", "--train-images", "photos", "--set", "train.steps=9"]
    assert run("train", "--run", tmp_path, "--weights", name, *options) == 0
    ((given, _, _),) = trained
    theirs = find(name).config
    assert (given.backbone, given.anchors, given.input) == (theirs.backbone, theirs.anchors, theirs.input)
    assert (given.num_classes, given.train.init_weights, given.train.steps) == (0, name, 9)
    assert given.train.learning_rate == config("fine_tune").train.learning_rate


def test_train_with_weights_and_a_config_takes_the_config(trained, tmp_path):
    assert run("train", "--run", tmp_path, "--weights", "a.weights.h5", "--config", "shapes") == 0
    ((given, _, _),) = trained
    assert given.backbone == config("shapes").backbone and given.train.init_weights == "a.weights.h5"


def test_train_with_an_unknown_strategy_is_an_error(trained, tmp_path, capsys):
    assert run("train", "--run", tmp_path, "--strategy", "mirrors") == 2
    assert "'none', 'mirrored'" in capsys.readouterr().err and not trained


@pytest.fixture
def predictor(monkeypatch):
    monkeypatch.setitem(
        sys.modules, "mask_rcnn.prediction.predict", types.SimpleNamespace(Predictor=FakePredictor)
    )


@pytest.fixture
def truth(tmp_path):
    """The folder of one image with two objects, and its annotations."""
    write_image(tmp_path / "photos" / "a.png")
    objects = [(7, [0, 0, 20, 10]), (9, [0, 10, 20, 10])]
    annotations = []
    for index, (category_id, (x, y, width, height)) in enumerate(objects, start=1):
        polygon = [x, y, x + width, y, x + width, y + height, x, y + height]
        annotations.append(
            {
                "id": index,
                "image_id": 5,
                "category_id": category_id,
                "bbox": [x, y, width, height],
                "area": width * height,
                "iscrowd": 0,
                "segmentation": [polygon],
            }
        )
    content = {
        "images": [{"id": 5, "file_name": "a.png", "height": 32, "width": 48}],
        "categories": [{"id": category.id, "name": category.name} for category in CATEGORIES],
        "annotations": annotations,
    }
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    return path


def test_evaluate_scores_a_model(predictor, truth, tmp_path, capsys):
    words = ["--annotations", truth, "--images", tmp_path / "photos", "--json", tmp_path / "score.json"]
    assert run("evaluate", "--weights", "w.h5", *words) == 0
    score = json.loads((tmp_path / "score.json").read_text())
    assert score["summary"]["bbox"]["AP"] == pytest.approx(1.0)
    assert score["summary"]["segm"]["AP"] == pytest.approx(1.0)
    assert "apple" in capsys.readouterr().out


def test_evaluate_scores_a_results_file(truth, tmp_path):
    results = [{"image_id": 5, "category_id": 7, "bbox": [0, 0, 20, 10], "score": 0.5}]
    (tmp_path / "results.json").write_text(json.dumps(results))
    words = ["--annotations", truth, "--json", tmp_path / "score.json"]
    assert run("evaluate", "--detections", tmp_path / "results.json", *words) == 0
    summary = json.loads((tmp_path / "score.json").read_text())["summary"]
    assert list(summary) == ["bbox"]
    assert summary["bbox"]["AP"] == pytest.approx(0.5)  # the apple is found, the pear is not


def test_what_detect_writes_scores_as_the_model_does_whatever_the_numbers(predictor, truth, tmp_path):
    content = json.loads(truth.read_text())
    content["images"].insert(0, {"id": 1, "file_name": "other.png", "height": 32, "width": 48})
    for category, annotation in zip(content["categories"], content["annotations"], strict=True):
        category["id"] = annotation["category_id"] = 16 - category["id"]  # swaps 7 and 9
    truth.write_text(json.dumps(content))
    found = ["--no-pictures", "--json", tmp_path / "found.json", "--score-threshold", "0.05"]
    assert run("detect", tmp_path / "photos", "--weights", "w.h5", *found) == 0
    words = ["--annotations", truth, "--json", tmp_path / "score.json"]
    assert run("evaluate", "--detections", tmp_path / "found.json", *words) == 0
    summary = json.loads((tmp_path / "score.json").read_text())["summary"]
    assert summary["bbox"]["AP"] == summary["segm"]["AP"] == pytest.approx(1)


def test_evaluate_finds_classes_by_name(predictor, truth, tmp_path, capsys):
    content = json.loads(truth.read_text())
    content["categories"][0]["name"] = "plum"
    truth.write_text(json.dumps(content))
    words = ["--annotations", truth, "--images", tmp_path / "photos"]
    assert run("evaluate", "--weights", "w.h5", *words) == 2
    message = capsys.readouterr().err
    assert "Received: 'apple' only in the model, 'plum' only in the annotations" in message
    assert run("evaluate", "--weights", "w.h5", "--shared-classes", *words) == 0
    report = capsys.readouterr().out
    assert "1 object" in report and "pear" in report
    assert "classes that only the model has are left out: 'apple'" in report
    assert "classes that only the annotations have are left out: 'plum'" in report


def test_evaluate_refuses_annotations_without_objects_before_it_detects(
    predictor, truth, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(FakePredictor, "detect", None)  # a call would fail
    content = {**json.loads(truth.read_text()), "annotations": []}
    truth.write_text(json.dumps(content))
    words = ["--annotations", truth, "--images", tmp_path / "photos"]
    assert run("evaluate", "--weights", "w.h5", *words) == 2
    assert "none of the 1 images has an object" in capsys.readouterr().err


def test_evaluate_of_a_model_needs_images(predictor, truth, capsys):
    assert run("evaluate", "--weights", "w.h5", "--annotations", truth) == 2
    assert "Add --images DIR" in capsys.readouterr().err


def test_data_check_counts_the_classes(truth, tmp_path, capsys):
    words = ["--annotations", truth, "--images", tmp_path / "photos", "--json", tmp_path / "report.json"]
    assert run("data", "check", *words) == 0
    assert re.search(r"images +1\n(.*\n){2} +objects +2\n", capsys.readouterr().out)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["sets"]["train"]["objects_per_class"] == {"apple": 1, "pear": 1}
