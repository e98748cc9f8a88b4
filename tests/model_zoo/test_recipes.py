"""Tests of the folders of `model_zoo/`: configs, cards, results of runs, and the table of all recipes."""

import argparse
import json
import re

import pytest
from locations import ROOT

from mask_rcnn import config_io, model_zoo
from mask_rcnn.cli.config import run_list, run_show
from mask_rcnn.cli.options import load_config
from mask_rcnn.shipped_files import shipped_folder

SECTIONS = ["Use", "Cost", "Published score", "Our score", "Command"]
WITH_RESULTS = ("shapes", "fine_tune", "nuclei")
MAX_BYTES = 100_000  # of a file: the wheel has these folders, too
SCORE = re.compile(r"(?:(segm|box) )?AP(50)? (\d\.\d+)")


def card(name):
    return (model_zoo.folder(name) / "README.md").read_text(encoding="utf-8")


def section(name, title):
    return card(name).split(f"\n## {title}\n")[1].split("\n## ")[0].strip()


def scores(text):
    """Returns `{name: text of the number}`, such as `{"segm/AP": "0.849"}`, of a text or a table row."""
    found, kind = {}, None
    for word, fifty, number in SCORE.findall(text):
        kind = word or kind
        found.setdefault(f"{kind}/AP{fifty}", number)
    return found


def row_of(name, page):
    """Returns the only row of the tables of a page that links to the card of a recipe."""
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    (row,) = [line for line in lines if line.startswith("| ") and f"{name}/README.md)" in line]
    return row


def test_each_folder_is_a_recipe_and_has_small_files_only():
    root = shipped_folder("model_zoo")
    assert {path.name for path in root.iterdir() if path.is_dir()} == set(model_zoo.names())
    allowed = {"config.yaml", "README.md", "results.json", "train.log"}
    for path in (path for path in root.rglob("*") if path.is_file()):
        assert path.name in allowed and path.stat().st_size < MAX_BYTES, path


@pytest.mark.parametrize("name", model_zoo.names())
def test_config_yaml_is_what_config_show_prints(name, capsys):
    run_show(argparse.Namespace(config=name, set=[]))
    assert capsys.readouterr().out == (model_zoo.folder(name) / "config.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", model_zoo.names())
def test_the_commands_read_the_config_of_a_recipe_by_its_name(name):
    assert load_config(name, []) == config_io.from_yaml(model_zoo.folder(name) / "config.yaml")


@pytest.mark.parametrize("name", model_zoo.names())
def test_a_card_has_its_title_and_all_sections(name):
    text = card(name)
    assert text.startswith(f"# {name}\n\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS
    assert all(section(name, title) for title in SECTIONS)
    cost = section(name, "Cost")
    assert "- Time: " in cost and "- Memory: " in cost
    assert "mask-rcnn train " in section(name, "Command")
    assert ("results.json" in text) == (name in WITH_RESULTS)


@pytest.mark.parametrize("name", model_zoo.names())
def test_a_recipe_without_results_says_that_it_was_not_measured(name):
    folder, ours = model_zoo.folder(name), section(name, "Our score")
    has_results = (folder / "results.json").is_file()
    assert has_results == (folder / "train.log").is_file() == (name in WITH_RESULTS)
    assert ours.startswith("Not measured yet.") != has_results
    assert row_of(name, "model_zoo/README.md").endswith("| not measured yet |") != has_results


@pytest.mark.parametrize("name", WITH_RESULTS)
def test_the_scores_of_card_and_pages_are_those_of_the_results(name):
    text = (model_zoo.folder(name) / "results.json").read_text(encoding="utf-8")
    summary = json.loads(text)["summary"]
    measured = {
        f"{kind}/{metric}": summary[key][metric]
        for kind, key in (("segm", "segm"), ("box", "bbox"))
        for metric in ("AP", "AP50")
    }
    texts = [section(name, "Our score"), row_of(name, "docs/results.md"), row_of(name, "model_zoo/README.md")]
    for text in texts:
        named = scores(text)
        assert {"segm/AP", "box/AP"} <= set(named), text
        for score, number in named.items():
            assert float(number) == round(measured[score], 3), (score, text)


@pytest.mark.parametrize("name", WITH_RESULTS)
def test_the_log_of_a_run_ends_with_its_scores_and_has_no_path_of_a_machine(name):
    folder = model_zoo.folder(name)
    log = (folder / "train.log").read_text(encoding="utf-8")
    summary = json.loads((folder / "results.json").read_text(encoding="utf-8"))["summary"]
    steps = model_zoo.config(name).train.steps
    assert f"step {steps}/{steps}  segm/AP {summary['segm']['AP']:.4f}" in log
    assert not re.search(r"(?:^|\s)/\w", log)


def test_the_table_of_the_model_zoo_has_all_recipes_in_their_order():
    text = (ROOT / "model_zoo/README.md").read_text(encoding="utf-8")
    assert tuple(re.findall(r"^\| \[(\w+)\]\(\1/README\.md\)", text, re.MULTILINE)) == model_zoo.names()


def test_config_list_prints_the_summary_of_each_card(capsys, monkeypatch):
    monkeypatch.setattr("mask_rcnn.cli.config.import_tensorflow", lambda: None)
    run_list(None)
    printed = capsys.readouterr().out
    for name in model_zoo.names():
        assert f"{name}\n    {card(name).splitlines()[2]}\n" in printed
