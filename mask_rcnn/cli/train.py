"""`mask-rcnn train`: trains a model from a config and COCO annotations, and writes a run directory."""

import argparse
import dataclasses
import re

from mask_rcnn.cli.options import (
    WEIGHTS_METAVAR,
    Subparsers,
    add_command,
    add_set,
    assign,
    load_config,
    local_path,
)
from mask_rcnn.cli.quiet import import_tensorflow
from mask_rcnn.config import PRECISIONS, STRATEGIES, Config

# Default configs for the user's own data, and for synthetic shapes. Their trainings are short.
CONFIG_FOR_DATA = "fine_tune"
CONFIG_WITHOUT_DATA = "shapes"

# Options that are short forms of `--set`, and the field that each one changes.
FIELDS = {
    "train_annotations": "data.train_annotations",
    "train_images": "data.train_images",
    "val_annotations": "data.val_annotations",
    "val_images": "data.val_images",
    "overfit": "data.overfit",
    "weights": "train.init_weights",
    "strategy": "train.strategy",
    "precision": "train.precision",
    "budget": "train.budget",
}
SECONDS = {"s": 1, "m": 60, "h": 3600}
SAVED_CONFIG = "config.yaml"  # `training.run_folder` writes it


def add_parser(commands: Subparsers) -> None:
    """Adds the command `train` with its options."""
    parser = add_command(
        commands, "train", run, summary="train a model, and write its files to a run directory"
    )
    parser.add_argument(
        "--config",
        metavar="NAME_OR_YAML",
        help="a recipe of `mask-rcnn config list`, or a YAML file "
        f"(default: {CONFIG_FOR_DATA} with --train-annotations, else {CONFIG_WITHOUT_DATA}; "
        "with --resume, the config of the run; with --weights, their network, and data and training of "
        f"{CONFIG_FOR_DATA})",
    )
    parser.add_argument(
        "--weights",
        metavar=WEIGHTS_METAVAR,
        help="initial weights of a whole detector: a weights file, or a name of `mask-rcnn models list`; if "
        "its classes differ from those of the data, the layers that depend on the classes start from random "
        "weights (default: the config's train.init_weights)",
    )
    parser.add_argument(
        "--run", metavar="DIR", dest="run_dir", type=local_path, required=True, help="run directory"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue the run in the run directory from its last checkpoint. SIGTERM, SIGHUP and Ctrl-C "
        "save a checkpoint after the current step, and exit with code 143, 129 and 130; a second Ctrl-C "
        "exits immediately",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="only do the checks before a run: of data, config, weights and disk space; do not train",
    )
    add_data(parser)
    _add_settings(parser)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """Adds the short forms of `--set`."""
    parser.add_argument(
        "--overfit",
        metavar="N",
        help="train and validate on the same N training images, without augmentation; if the model does not "
        "overfit them, data or settings are wrong (default: the config's data.overfit; 0: all images)",
    )
    add_devices(parser)
    add_budget(parser, "time limit of the whole run with its last evaluation")
    add_set(parser)


def add_data(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the data sets; `assignments_of` reads them."""
    data = "(default: the config's; without any, synthetic shapes)"
    parser.add_argument("--train-annotations", metavar="JSON", help=f"COCO instances to train on {data}")
    parser.add_argument("--train-images", metavar="DIR", help=f"folder of their images {data}")
    parser.add_argument("--val-annotations", metavar="JSON", help=f"COCO instances to evaluate on {data}")
    parser.add_argument("--val-images", metavar="DIR", help=f"folder of their images {data}")


def add_devices(parser: argparse.ArgumentParser) -> None:
    """Adds `--strategy` and `--precision`; `assignments_of` reads them."""
    parser.add_argument(
        "--strategy",
        metavar="|".join(STRATEGIES),
        help="devices and processes to train on; auto: the processes of TF_CONFIG if it is set, else all "
        "GPUs (default: the config's train.strategy)",
    )
    parser.add_argument(
        "--precision",
        metavar="|".join(PRECISIONS),
        help="dtype policy (default: the config's train.precision)",
    )


def add_budget(parser: argparse.ArgumentParser, purpose: str) -> None:
    """Adds `--budget`; `assignments_of` reads it.

    Args:
        parser: Parser of the command.
        purpose: Start of the help text: the time that is limited.
    """
    parser.add_argument(
        "--budget",
        metavar="20m",
        type=_seconds,
        help=f"{purpose}, such as 90s, 20m or 2h: some steps are timed, and the number of steps and the "
        "schedule are scaled to the limit (default: no limit, the config's train.steps)",
    )


def _seconds(text: str) -> float:
    """Returns the seconds of a text such as "20m", a float."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if not match:
        raise argparse.ArgumentTypeError(
            f"expected a number and s, m or h, as in 90s, 20m or 2h. Received: {text!r}"
        )
    return float(match[1]) * SECONDS[match[2]]


def run(args: argparse.Namespace) -> None:
    """Trains a model, or only does the checks before a training (`--check`)."""
    from mask_rcnn.training.run_folder import check_has_run, check_run_folder

    check_run_folder(args.run_dir, args.resume)
    if args.resume:
        check_has_run(args.run_dir)
    config = _config(args)
    import_tensorflow()

    from mask_rcnn.training.train import check, train

    (check if args.check else train)(config, args.run_dir, resume=args.resume)


def _config(args: argparse.Namespace) -> Config:
    """Returns the `Config` that the options describe."""
    assignments = [*assignments_of(args), *args.set]
    if not args.weights or args.config or args.resume:
        return load_config(_config_name(args), assignments)

    from mask_rcnn.model_zoo.pretrained import config_of

    recipe = load_config(CONFIG_FOR_DATA, [])
    network = dataclasses.replace(
        config_of(args.weights), num_classes=0, data=recipe.data, train=recipe.train
    )
    return assign(network, assignments)


def _config_name(args: argparse.Namespace) -> str:
    """Returns the recipe or the path of the YAML file to start from."""
    if args.config:
        return args.config
    if args.resume:
        return str(args.run_dir / SAVED_CONFIG)
    return CONFIG_FOR_DATA if args.train_annotations else CONFIG_WITHOUT_DATA


def assignments_of(args: argparse.Namespace) -> list[str]:
    """Returns the options of FIELDS that the user gave as texts for `--set`, such as "train.steps=1000"."""
    values = {field: getattr(args, option, None) for option, field in FIELDS.items()}
    return [f"{field}={value}" for field, value in values.items() if value is not None]
