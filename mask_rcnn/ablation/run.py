"""Trains the rows of a table, each in its own run folder, and compares them."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from mask_rcnn import config_io
from mask_rcnn.ablation.compare import Comparison, compare
from mask_rcnn.ablation.configs import row_configs, with_seed
from mask_rcnn.ablation.report import write_report
from mask_rcnn.ablation.rows import Row, Table
from mask_rcnn.ablation.trial import Trial, run_sequentially
from mask_rcnn.config import Config, DataConfig
from mask_rcnn.system.files import atomic_write
from mask_rcnn.system.paths import local_path
from mask_rcnn.training.run_folder import config_changes
from mask_rcnn.training.training_data import draw_shapes

MARKER = "ablation.json"  # holds table and configs of the folder, so that only matching runs are compared


def ablate(
    table: Table,
    base: Config,
    run_dir: str | Path,
    *,
    seeds: int = 1,
    launch: Callable[[list[Trial]], None] = run_sequentially,
) -> Comparison:
    """Trains all rows of a table that can be trained, and compares them.

    The run folder of row R with seed S is `run_dir/R/seed_S`, see `train`. Finished runs are not repeated,
    and interrupted runs continue. At the end, `run_dir` gets `report.json`, `report.txt` and `report.png`.

    Args:
        table: `Table`, see `find_table`.
        base: `Config` whose fields the rows change. Without training data, all rows use the same synthetic
            shapes.
        run_dir: Path of the folder. It is created if it does not exist.
        seeds: Number of runs per row. They use `train.seed` and the next integers as seeds. Defaults to 1.
        launch: Function that runs a list of `Trial`. `ray_trials.run_on_ray` runs them in parallel. Defaults
            to `run_sequentially`.

    Returns:
        `Comparison`.

    Raises:
        ValueError: There is no validation set, a row does not fit the base, or the folder belongs to another
            comparison.
    """
    run_dir = local_path(run_dir)
    _check_data(base.data)
    _check_folder(run_dir)
    draws_shapes = base.data.train_annotations is None
    base = _with_shapes(base, run_dir) if draws_shapes else base
    configs = row_configs(table, base)
    _check_or_write_marker(run_dir, table, configs)
    if draws_shapes:
        for split in ("train", "val"):
            draw_shapes(base, run_dir / "data", split)
    trials = list(_trials(table, configs, run_dir, seeds=seeds))
    launch(trials)
    folders = {name: [trial.folder for trial in trials if trial.row == name] for name in configs}
    comparison = compare(table, base, folders)
    write_report(comparison, run_dir)
    return comparison


def _trials(table: Table, configs: Mapping[str, Config], run_dir: Path, *, seeds: int) -> Iterator[Trial]:
    """Yields the `Trial`s of all rows. A trial that evaluates the weights of another one comes after it."""
    rows = {row.name: row for row in table.rows}
    for number, (name, config) in enumerate(configs.items(), start=1):
        row = rows[name]
        trained = rows.get(row.trained_as)
        for seed in range(config.train.seed, config.train.seed + seeds):
            yield Trial(
                row=name,
                title=f"Row {number} of {len(configs)}: {name}, seed {seed}",
                config=with_seed(config, seed),
                folder=_folder(run_dir, row, seed),
                trained=trained and _folder(run_dir, trained, seed),
                scales=row.scales,
            )


def _folder(run_dir: Path, row: Row, seed: int) -> Path:
    return run_dir / row.folder / f"seed_{seed}"


def _check_data(data: DataConfig) -> None:
    if data.overfit or (data.train_annotations is not None and data.val_annotations is None):
        raise ValueError(
            "Rows are compared on images that they are not trained on. Received: "
            f"data.val_annotations={data.val_annotations!r}, data.overfit={data.overfit}. "
            "Set `data.val_annotations` and `data.val_images` (`--val-annotations`, `--val-images`), and "
            "`data.overfit` to 0."
        )


def _check_folder(run_dir: Path) -> None:
    if run_dir.exists() and not (run_dir / MARKER).exists() and any(run_dir.iterdir()):
        raise ValueError(
            "The runs of a table need a new folder, or one of an earlier call. "
            f"Received: {str(run_dir)!r}, which holds other files. Choose another folder."
        )


def _with_shapes(base: Config, run_dir: Path) -> Config:
    """Returns a `Config` with the paths of the synthetic shapes for all runs; see `draw_shapes`."""
    paths = {}
    for split in ("train", "val"):
        folder = run_dir / "data" / split
        paths |= {
            f"{split}_annotations": str(folder / "instances.json"),
            f"{split}_images": str(folder / "images"),
        }
    return dataclasses.replace(base, data=dataclasses.replace(base.data, **paths))


def _check_or_write_marker(run_dir: Path, table: Table, configs: Mapping[str, Config]) -> None:
    """Writes the marker with table and configs; raises a ValueError if the folder has another marker."""
    path = run_dir / MARKER
    content = {
        "table": table.key,
        "configs": {name: config_io.to_yaml(config) for name, config in configs.items()},
    }
    if not path.exists():
        with atomic_write(path) as partial:
            partial.write_text(json.dumps(content), encoding="utf-8")
        return
    saved = json.loads(path.read_text(encoding="utf-8"))
    if saved["table"] != table.key:
        changes = [f"table {saved['table']} -> {table.key}"]
    else:
        saved_configs = {name: config_io.from_text(text) for name, text in saved["configs"].items()}
        changes = [
            f"{name}: {change}"
            for name, new in configs.items()
            for change in (
                config_changes(saved_configs[name], new) if name in saved_configs else ["a new row"]
            )
        ]
    if changes:
        listing = "\n  ".join(changes)
        raise ValueError(
            "A folder holds the runs of one table with one base. Received, as before -> now:\n  "
            f"{listing}\nUndo these changes, or choose another folder."
        )
