"""Trains the rows of a table one after the other, each in its own run directory, and compares them."""

import dataclasses
import gc
import json
import shutil

import keras

from mask_rcnn import config_io
from mask_rcnn.ablation.compare import compare, read_validation_set
from mask_rcnn.ablation.configs import row_configs, with_seed
from mask_rcnn.ablation.report import write_report
from mask_rcnn.augmented_predictor import AugmentedPredictor
from mask_rcnn.coco_results import write_json
from mask_rcnn.data.shapes import write_shapes
from mask_rcnn.files import atomic_write
from mask_rcnn.model_evaluation import evaluate_model
from mask_rcnn.paths import local_path
from mask_rcnn.predict import Predictor
from mask_rcnn.terminal import say
from mask_rcnn.training.run_folder import CONFIG, FINAL_WEIGHTS, config_changes
from mask_rcnn.training.train import train

MARKER = "ablation.json"  # table and configs of the folder, so that no row is compared with one of another
FINISHED = ("results.json", "detections.json")  # a run writes them last


def ablate(table, base, run_dir, *, seeds=1):
    """Trains all rows of a table that a config can express, and compares them.

    Row R with seed S has the run directory `run_dir/R/seed_S`, see `train`. A run that is finished is not
    repeated, and one that was interrupted goes on. Then `run_dir` gets `report.json`, `report.txt` and
    `report.png`.

    Args:
        table: `Table`, see `find_table`.
        base: `Config` whose fields the rows change. Without training data all rows get the same synthetic
            shapes.
        run_dir: Folder; made if it does not exist.
        seeds: Number of runs of each row, with `train.seed` and the integers after it. Defaults to 1.

    Returns:
        `Comparison`.

    Raises:
        ValueError: There is nothing to evaluate on, a row does not fit the base, or the folder belongs to
            another comparison.
    """
    run_dir = local_path(run_dir)
    _check_data(base.data)
    _check_folder(run_dir)
    draw = base.data.train_annotations is None
    base = _with_shapes(base, run_dir) if draw else base
    configs = row_configs(table, base)
    _claim(run_dir, table, configs)
    if draw:
        _draw_shapes(base, run_dir)
    folders = {name: [] for name in configs}
    for number, (name, config) in enumerate(configs.items(), start=1):
        row = next(row for row in table.rows if row.name == name)
        for index in range(seeds):
            seed = config.train.seed + index
            folders[name].append(run_dir / row.folder / f"seed_{seed}")
            trained = folders[row.trained_as][index] if row.trained_as else None
            title = f"Row {number} of {len(configs)}: {name}, seed {seed}"
            _run_once(row, with_seed(config, seed), folders[name][-1], trained, title)
    comparison = compare(table, base, folders)
    write_report(comparison, run_dir)
    return comparison


def _check_data(data):
    if data.overfit or (data.train_annotations is not None and data.val_annotations is None):
        raise ValueError(
            "Rows are compared on images that they are not trained on. Received: "
            f"data.val_annotations={data.val_annotations!r}, data.overfit={data.overfit}. "
            "Set `data.val_annotations` and `data.val_images` (`--val-annotations`, `--val-images`), and "
            "`data.overfit` to 0."
        )


def _check_folder(run_dir):
    if run_dir.exists() and not (run_dir / MARKER).exists() and any(run_dir.iterdir()):
        raise ValueError(
            "The runs of a table need a new folder, or one of an earlier call. "
            f"Received: {str(run_dir)!r}, which holds other files. Choose another folder."
        )


def _with_shapes(base, run_dir):
    """Returns a `Config` with the paths of shapes that all rows and seeds share; see `_draw_shapes`."""
    paths = {}
    for split in ("train", "val"):
        folder = run_dir / "data" / split
        paths |= {
            f"{split}_annotations": str(folder / "instances.json"),
            f"{split}_images": str(folder / "images"),
        }
    return dataclasses.replace(base, data=dataclasses.replace(base.data, **paths))


def _draw_shapes(base, run_dir):
    data, seed = base.data, 2 * base.train.seed  # as in a run of its own
    write_shapes(run_dir / "data/train", data.shapes_train, data.shapes_size, seed)
    write_shapes(run_dir / "data/val", data.shapes_val, data.shapes_size, seed + 1)


def _claim(run_dir, table, configs):
    """Marks a folder as that of a table and its configs; raises a ValueError if it is of others."""
    path = run_dir / MARKER
    content = {
        "table": table.key,
        "configs": {name: config_io.to_yaml(each) for name, each in configs.items()},
    }
    if not path.exists():
        with atomic_write(path) as partial:
            partial.write_text(json.dumps(content), encoding="utf-8")
        return
    saved = json.loads(path.read_text(encoding="utf-8"))
    if saved["table"] != table.key:
        changes = [f"table {saved['table']} -> {table.key}"]
    else:
        olds = {name: config_io.from_text(text) for name, text in saved["configs"].items()}
        changes = [
            f"{name}: {change}"
            for name, new in configs.items()
            for change in (config_changes(olds[name], new) if name in olds else ["a new row"])
        ]
    if changes:
        listing = "\n  ".join(changes)
        raise ValueError(
            "A folder holds the runs of one table with one base. Received, as before -> now:\n  "
            f"{listing}\nUndo these changes, or choose another folder."
        )


def _run_once(row, config, folder, trained, title):
    """Trains a row, or evaluates the weights of the run `trained`, unless this was finished before."""
    if all((folder / name).exists() for name in FINISHED):
        say(f"{title}: finished before, {folder}")
        return
    say(f"{title}: {folder}")
    if trained is None:
        train(config, folder, resume=True)
    else:
        _evaluate_views(row, config, folder, trained)
    keras.backend.clear_session()  # the models of all rows would not fit into memory
    gc.collect()


def _evaluate_views(row, config, folder, trained):
    """Evaluates the weights of a run with test-time augmentation, and writes what a training writes of it."""
    predictor = Predictor.load(trained / FINAL_WEIGHTS, config.train.precision)
    annotations = config.data.val_annotations
    metrics, entries = evaluate_model(
        AugmentedPredictor(predictor, row.scales), read_validation_set(config), annotations
    )
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(trained / CONFIG, folder / CONFIG)
    write_json(folder / "detections.json", entries)
    write_json(folder / "results.json", metrics.to_json())
    say(metrics.table())
