"""`mask-rcnn ablate`: trains the rows of a table of the paper, and prints *paper / measured*."""

from __future__ import annotations

import argparse
import dataclasses
import functools
from typing import TYPE_CHECKING, Any

from mask_rcnn.cli.options import Subparsers, add_command, add_set, assign, load_config, local_path
from mask_rcnn.cli.quiet import import_tensorflow
from mask_rcnn.cli.ray_option import add_ray, import_in_worker
from mask_rcnn.cli.train import add_budget, add_data, add_devices, assignments_of
from mask_rcnn.config import Config
from mask_rcnn.system.parallel import require_ray
from mask_rcnn.system.terminal import print_line

if TYPE_CHECKING:
    from mask_rcnn.ablation.rows import Table


def add_parser(commands: Subparsers) -> None:
    """Adds the command `ablate` with its options."""
    parser = add_command(
        commands,
        "ablate",
        run,
        summary="train the rows of a table of the Mask R-CNN paper, one after the other, and compare them",
    )
    parser.add_argument(
        "table",
        metavar="TABLE",
        nargs="?",
        help="a table of the paper, such as 2c; --list prints all of them",
    )
    parser.add_argument(
        "--list",
        action="store_true",
        help="print the tables, their rows with the paper's AP, and which rows cannot be trained",
    )
    parser.add_argument(
        "--run",
        metavar="DIR",
        dest="run_dir",
        type=local_path,
        help="folder for the runs of all rows and the table; the same command continues an interrupted run "
        "(default: none; training needs it)",
    )
    parser.add_argument(
        "--base",
        metavar="NAME_OR_YAML",
        help="the config whose fields the rows change: a recipe of `mask-rcnn config list`, or a YAML file "
        "(default: network and training of the paper's table)",
    )
    _add_training(parser)


def _add_training(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the trainings."""
    parser.add_argument(
        "--seeds",
        metavar="N",
        type=int,
        default=1,
        help="number of runs per row; their seeds are train.seed and the numbers after it",
    )
    parser.add_argument(
        "--steps",
        metavar="N",
        type=int,
        help="training steps of the base config; the schedule and rows that train longer are scaled "
        "accordingly (default: the base's train.steps)",
    )
    add_ray(
        parser,
        "run the trainings in parallel, each as a task of a Ray cluster with these resources, such as GPU=1 "
        "(default: one after the other in this process)",
    )
    add_budget(parser, "time limit of each run with its evaluation")
    add_data(parser)
    add_devices(parser)
    add_set(parser)


def run(args: argparse.Namespace) -> None:
    """Trains and compares the rows of a table, or prints the tables (`--list`)."""
    from mask_rcnn.ablation.tables import TABLES, find_table

    if args.list:
        for table in [find_table(args.table)] if args.table else TABLES.values():
            _print_table(table)
        return
    _check(args)
    table = find_table(args.table)
    base = _base(args, table)
    import_tensorflow()

    from mask_rcnn.ablation.run import ablate
    from mask_rcnn.training.budget import scale_schedule

    if args.steps:
        base = dataclasses.replace(base, train=scale_schedule(base.train, args.steps))
    ablate(table, base, args.run_dir, seeds=args.seeds, **_launch(args))


def _launch(args: argparse.Namespace) -> dict[str, Any]:
    """Returns the keyword argument `launch` of `ablate` for runs on Ray, or an empty dict."""
    if args.ray is None:
        return {}
    require_ray()
    from mask_rcnn.ablation.ray_trials import run_on_ray

    setup = functools.partial(import_in_worker, args.imports)
    return {"launch": functools.partial(run_on_ray, setup=setup, **args.ray)}


def _check(args: argparse.Namespace) -> None:
    """Raises a ValueError if the options are incompatible."""
    if args.table is None or args.run_dir is None:
        raise ValueError(
            f"Training needs a table and a folder. Received: TABLE={args.table}, --run {args.run_dir}. "
            "Give both, as in `mask-rcnn ablate 2c --run runs/2c`, or see `mask-rcnn ablate --list`."
        )
    if args.steps is not None and args.budget is not None:
        raise ValueError(
            f"Give --steps or --budget, not both. Received: --steps {args.steps} and --budget. Remove one."
        )
    for name in ("seeds", "steps"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name} must be at least 1. Received: --{name} {value}.")


def _base(args: argparse.Namespace, table: Table) -> Config:
    """Returns the `Config` whose fields the rows change, and prints which `--set` options have no effect."""
    from mask_rcnn.ablation.configs import with_changes, without_effect

    assignments = [*assignments_of(args), *args.set]
    base = load_config(args.base or table.recipe, [])
    base = base if args.base else with_changes(base, table.setting)
    base = assign(base, assignments)
    names = [assignment.partition("=")[0].strip() for assignment in args.set]
    for name, rows in without_effect(table, base, names).items():
        print_line(
            f"--set {name} has no effect in {', '.join(rows)}: these rows set the field or its section."
        )
    return base


def _print_table(table: Table) -> None:
    print_line(f"{table.key}  {table.title} (COCO {table.split}, {', '.join(table.iou_types)})")
    for row in table.rows:
        figures = "; ".join(
            f"{metric} " + "/".join("–" if value is None else f"{value:.1f}" for value in values)
            for metric, values in row.paper.items()
        )
        reason = f"; not trained: {row.missing}" if row.missing else f" ({row.note})" if row.note else ""
        print_line(f"    {row.name}: {figures}{reason}")
    print_line()
