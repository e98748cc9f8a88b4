"""Tests of the paper's tables: their configs, the runs that they make, and the messages."""

import dataclasses
import importlib.util
import json
import types

import numpy as np
import pytest
from cli_fakes import FakePredictor, run
from PIL import Image

from mask_rcnn import config_io, model_zoo
from mask_rcnn.ablation import compare, trial
from mask_rcnn.ablation.configs import row_configs, with_changes, without_effect
from mask_rcnn.ablation.rows import Row, Table
from mask_rcnn.ablation.run import ablate
from mask_rcnn.ablation.tables import TABLES, find_table
from mask_rcnn.data.readers.coco import read_coco
from mask_rcnn.data.shapes import CLASSES
from mask_rcnn.evaluation.coco_evaluation import evaluate_results
from mask_rcnn.evaluation.coco_results import to_coco
from mask_rcnn.structures import Category, Detections

TINY = config_io.override_all(
    model_zoo.config("shapes"),
    {
        "input.short_side": 64,
        "input.train_short_sides": (64,),
        "input.long_side": 64,
        "data.shapes_train": 8,
        "data.shapes_val": 2,
        "data.shapes_size": (64, 64),
        "train.steps": 10,
    },
)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_row_is_a_config_of_its_own_with_figures(table):
    base = with_changes(model_zoo.config(table.recipe), table.setting)
    configs = row_configs(table, base)
    trained = [
        config_io.to_yaml(configs[row.name]) for row in table.rows if not (row.missing or row.trained_as)
    ]
    assert len(trained) >= 2 and len(set(trained)) == len(trained)
    assert len({row.folder for row in table.rows}) == len(table.rows)
    for row in table.rows:
        assert bool(row.missing) != (row.name in configs)
        assert row.paper.keys() <= set(table.iou_types)
        for ap, ap50, ap75 in row.paper.values():
            assert 20 < ap < 75 and (ap50 is None or ap < ap75 + 10 < ap50 + 10)


@pytest.mark.parametrize("key", ["2b", "2c", "2e", "5", "6", "8"])
def test_a_small_base_keeps_what_a_row_does_not_compare(key):
    base = model_zoo.config("shapes")
    for config in row_configs(find_table(key), base).values():
        assert config.anchors == base.anchors and config.input.short_side == 128
        assert config.mask_head is None or config.mask_head.channels == base.mask_head.channels


def test_the_last_row_of_table_2c_is_the_first_of_table_2a():
    configs = {}
    for key, name in (("2c", "RoIAlign average"), ("2a", "R50-C4")):
        table = find_table(key)
        base = with_changes(model_zoo.config(table.recipe), table.setting)
        configs[key] = row_configs(table, base)[name]
    config = configs["2a"]
    assert config == configs["2c"]
    assert config.fpn is None and config.backbone.last_stage == 4 and config.box_head.nms_iou == 0.3


def test_schedules_and_sides_are_those_of_appendix_a_and_in_proportion_for_another_base():
    table = find_table("8")
    paper = row_configs(table, model_zoo.config(table.recipe))["+ augmentation in training"]
    assert (paper.train.steps, paper.train.milestones) == (260_000, (200_000, 240_000))
    assert (paper.train.batch_size, paper.train.learning_rate) == (8, 0.01)
    assert paper.input.train_short_sides == (640, 672, 704, 736, 768, 800)
    small = row_configs(table, config_io.override_all(TINY, {"train.steps": 16}))
    assert small["+ augmentation in training"].train.steps == 26
    assert max(small["+ augmentation in training"].input.train_short_sides) == 64


def test_the_rpn_of_table_8_shares_features_from_end_to_end_training_on():
    table = find_table("8")
    for shared in (True, False):
        base = config_io.override_all(model_zoo.config(table.recipe), {"rpn.shared_features": shared})
        configs = row_configs(table, base)
        assert [name for name, each in configs.items() if not each.rpn.shared_features] == [
            "baseline",
            "+ updated baseline",
        ]
    assert configs["baseline"].box_head.nms_iou == 0.3
    updated, end_to_end = configs["+ updated baseline"], configs["+ end-to-end training"]
    assert updated.train == end_to_end.train and updated.box_head.nms_iou == 0.5


@pytest.mark.parametrize(
    ("base", "row", "note"),
    [
        (True, True, "shares the features of the heads (rpn.shared_features=true)."),
        (False, False, "has features of its own (rpn.shared_features=false)."),
        (False, True, "has features of its own (rpn.shared_features=false) in a, and shares those of the"),
    ],
)
def test_the_report_says_how_the_rpn_was_trained(base, row, note, trained, tmp_path):
    rows = (
        Row(name="a", paper={"bbox": (1.0, None, None)}),
        Row(name="b", paper={"bbox": (2.0, None, None)}, changes={"rpn.shared_features": row}),
    )
    config = config_io.override_all(TINY, {"rpn.shared_features": base})
    ablate(Table(key="0", title="RPN", rows=rows, iou_types=("bbox",)), config, tmp_path)
    assert f"These runs train both together, and the RPN {note}" in (tmp_path / "report.txt").read_text()


def test_a_row_that_does_not_fit_the_base_is_named():
    with pytest.raises(ValueError, match="Row 'softmax' of table 2b .*mask_head"):
        row_configs(find_table("2b"), model_zoo.config("faster_rcnn_resnet50_fpn"))


def test_fields_that_a_row_sets_or_removes_have_no_effect_in_it():
    base = config_io.override_all(TINY, {"roi_align.pooling": "max", "fpn.channels": 8})
    assert without_effect(find_table("2c"), base, ["roi_align.pooling", "rpn.channels"]) == {
        "roi_align.pooling": ["RoIWarp average", "RoIAlign average"]
    }
    assert list(without_effect(find_table("2a"), base, ["fpn.channels"])["fpn.channels"]) == [
        "R50-C4",
        "R101-C4",
    ]


def test_an_unknown_table_is_answered_with_the_known_ones(tmp_path, capsys):
    assert run("ablate", "2f", "--run", tmp_path) == 2
    message = capsys.readouterr().err
    assert "2a, 2b, 2c, 2d, 2e, 3, 4, 5, 6, 8" in message and "Did you mean 2" in message


def test_the_list_has_every_row_and_why_one_is_not_trained(capsys):
    assert run("ablate", "--list") == 0
    text = capsys.readouterr().out
    for table in TABLES.values():
        for row in table.rows:
            assert row.name in text and row.missing in text
    assert "segm 30.3/51.2/31.5" in text and "not trained: there is no ResNeXt-152" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["2c"], "needs a table and a folder"),
        (["--run", "runs/x"], "needs a table and a folder"),
        (
            ["2c", "--run", "runs/x", "--steps", "3", "--budget", "1m"],
            "not both. Received: --steps 3 and --budget. Remove one",
        ),
        (["2c", "--run", "runs/x", "--seeds", "0"], "--seeds must be at least 1"),
        (["2c", "--run", "runs/x", "--ray", "GPUs=1"], "expected CPU=N, GPU=N or both"),
        (["2c", "--run", "runs/x", "--ray", "CPU=0"], "needs at least one CPU or GPU"),
    ],
)
def test_wrong_options_are_an_error(words, message, capsys):
    assert run("ablate", *words) == 2
    assert message in capsys.readouterr().err


@pytest.fixture
def trained(monkeypatch):
    """Replaces training. A row finds the correct boxes, or only halves of them, or is interrupted.

    Returns the list of the folders of its calls.
    """
    folders = []

    def train(config, folder, resume):
        assert resume
        folders.append(folder)
        if config.roi_align.method == "roi_warp" and len(folders) < 5:
            raise KeyboardInterrupt
        dataset = read_coco(config.data.val_annotations, config.data.val_images)
        cut = 2 if config.roi_align.method == "roi_pool" else 1
        entries = [entry for each in dataset.images for entry in _found(each, dataset.categories, cut)]
        metrics = evaluate_results(entries, config.data.val_annotations)
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(config_io.to_yaml(config))
        (folder / "detections.json").write_text(json.dumps(entries))
        (folder / "results.json").write_text(json.dumps(metrics.to_json()))

    monkeypatch.setattr(trial, "train", train)
    monkeypatch.setattr(compare, "NUM_RESAMPLES", 50)
    return folders


def _found(record, categories, cut):
    boxes = np.array([annotation.box for annotation in record.annotations])
    boxes[:, 2] -= (1 - 1 / cut) * (boxes[:, 2] - boxes[:, 0])
    masks = [np.ones([max(1, int(y2 - y1)), max(1, int(x2 - x1))], bool) for y1, x1, y2, x2 in boxes]
    detections = Detections(
        boxes=boxes,
        scores=np.linspace(0.9, 0.5, len(boxes)),
        class_ids=[annotation.class_id for annotation in record.annotations],
        image_size=(record.height, record.width),
        masks=masks,
        mask_origins=boxes[:, :2].astype(int),
    )
    return to_coco(detections, record.id, categories)


def test_rows_run_once_and_an_interrupted_table_goes_on(trained, tmp_path, capsys):
    table = find_table("2c")
    table = dataclasses.replace(table, rows=(*table.rows[:2], table.rows[-1]))
    with pytest.raises(KeyboardInterrupt):
        ablate(table, TINY, tmp_path, seeds=2)
    assert [folder.relative_to(tmp_path).as_posix() for folder in trained] == [
        "roipool_max/seed_0",
        "roipool_max/seed_1",
        "roiwarp_max/seed_0",
    ]
    trained.extend([None] * 4)
    comparison = ablate(table, TINY, tmp_path, seeds=2)
    names = [folder.relative_to(tmp_path).as_posix() for folder in trained[7:]]
    assert names == [
        "roiwarp_max/seed_0",
        "roiwarp_max/seed_1",
        "roialign_average/seed_0",
        "roialign_average/seed_1",
    ]
    assert "RoIPool max, seed 1: already finished" in capsys.readouterr().out
    assert list(comparison.rows) == [row.name for row in table.rows]

    report = json.loads((tmp_path / "report.json").read_text())
    first, last = report["rows"][0], report["rows"][-1]
    assert last["paper"] == {"segm": {"AP": 30.3, "AP50": 51.2, "AP75": 31.5}} and last["steps"] == [10, 10]
    gain = last["differences"]["segm"]["AP"]
    assert gain == pytest.approx(last["measured"]["segm"]["AP"] - first["measured"]["segm"]["AP"])
    low, high = last["difference_intervals"]["segm"]["AP"]
    assert 0 < low <= gain <= high and first["differences"] == {}
    published = json.loads((tmp_path / "roipool_max/seed_0/results.json").read_text())["summary"]["segm"]
    assert first["measured"]["segm"]["AP50"] == pytest.approx(100 * published["AP50"], abs=1e-9)
    text = (tmp_path / "report.txt").read_text()
    assert "minus RoIPool max" in text and "30.3  51.2  31.5" in text and f"{gain:+.1f} [" in text
    with Image.open(tmp_path / "report.png") as picture:
        assert picture.size[0] > 300


def test_a_folder_is_not_continued_with_another_table_or_base(trained, tmp_path):
    trained.extend([None] * 5)
    ablate(find_table("2c"), TINY, tmp_path)
    with pytest.raises(ValueError, match="table 2c -> 6"):
        ablate(find_table("6"), TINY, tmp_path)
    changed = config_io.override_all(TINY, {"train.steps": 11})
    with pytest.raises(ValueError, match="RoIPool max: train.steps: 10 -> 11"):
        ablate(find_table("2c"), changed, tmp_path)


def test_rows_need_images_that_they_are_not_trained_on(tmp_path):
    overfit = config_io.override_all(TINY, {"data.overfit": 2})
    with pytest.raises(ValueError, match="not trained on"):
        ablate(find_table("2c"), overfit, tmp_path)


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ValueError, match="holds other files"):
        ablate(find_table("2c"), TINY, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_row_that_is_not_trained_is_in_the_table_with_its_reason(trained, tmp_path):
    rows = (
        Row(name="a", paper={}, changes={"roi_align.method": "roi_pool"}),
        Row(name="b", paper={"bbox": (2.0, None, None)}, missing="nobody can"),
    )
    ablate(Table(key="0", title="nothing", rows=rows, iou_types=("bbox",)), TINY, tmp_path)
    text = (tmp_path / "report.txt").read_text()
    assert "Not run: b: nobody can." in text and "\nb  2.0   –" in text and "\na  –" in text


def test_weights_of_a_row_are_evaluated_with_views(trained, tmp_path, monkeypatch):
    class Squares(FakePredictor):
        categories = tuple(Category(number, name) for number, name in enumerate(CLASSES, start=1))

        def scaled(self, scale):
            return self

    def load(path, precision):
        assert path == tmp_path / "a/seed_0/final.weights.h5"
        return Squares()

    monkeypatch.setattr(trial, "Predictor", types.SimpleNamespace(load=load))
    rows = (
        Row(name="a", paper={"bbox": (1.0, None, None)}),
        Row(name="b", paper={"bbox": (2.0, None, None)}, trained_as="a", scales=(0.5, 1.0)),
    )
    comparison = ablate(Table(key="0", title="views", rows=rows, iou_types=("bbox",)), TINY, tmp_path)
    assert len(trained) == 1 and list(comparison.rows["b"].differences) == ["bbox"]
    entries = json.loads((tmp_path / "b/seed_0/detections.json").read_text())
    assert len(entries) == 2 * 4  # two images of two objects, and their mirror images


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="the extra `ray` is installed")
def test_runs_on_ray_need_ray(tmp_path, capsys):
    assert run("ablate", "2c", "--run", tmp_path, "--ray", "GPU=1") == 2
    assert "pip install mask-rcnn[ray]" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_trains_a_table_and_a_second_call_trains_nothing(tmp_path, capsys):
    from training_run import TINY as base

    (tmp_path / "tiny.yaml").write_text(config_io.to_yaml(base))
    words = ["ablate", "2b", "--base", tmp_path / "tiny.yaml", "--run", tmp_path / "runs", "--steps", "3"]
    assert run(*words) == 0
    assert "Row 3 of 3: class-agnostic, seed 0" in capsys.readouterr().out
    before = (tmp_path / "runs/report.json").read_text()
    assert json.loads(before)["rows"][0]["steps"] == [3]
    assert run(*words) == 0
    assert capsys.readouterr().out.count("already finished") == 3
    assert (tmp_path / "runs/report.json").read_text() == before
