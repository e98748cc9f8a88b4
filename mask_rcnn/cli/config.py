"""`mask-rcnn config list|show|conventions`: lists recipes, prints configs, and compares published models."""

import argparse

from mask_rcnn import config_io, model_zoo
from mask_rcnn.cli.options import Subparsers, add_command, add_set, load_config
from mask_rcnn.cli.quiet import import_tensorflow
from mask_rcnn.shipped_files import shipped_folder
from mask_rcnn.system.terminal import print_line


def add_parser(commands: Subparsers) -> None:
    """Adds the command `config` with its actions."""
    summary = "list the recipes, or print one as YAML, to start your own config from"
    group = commands.add_parser("config", help=summary, description=summary, allow_abbrev=False)
    actions = group.add_subparsers(title="actions", metavar="ACTION", required=True)
    add_command(actions, "list", run_list, summary="list the recipes and what they are for")
    parser = add_command(actions, "show", run_show, summary="print a config with all its fields as YAML")
    parser.add_argument("config", metavar="NAME_OR_YAML", help="a recipe of `config list`, or a YAML file")
    add_set(parser)
    add_command(
        actions,
        "conventions",
        run_conventions,
        summary="print the config fields in which published models differ, as a Markdown table",
    )


def run_list(args: argparse.Namespace) -> None:
    """Prints all recipes, backbones, RoI poolers, heads and transforms with their descriptions."""
    for name in model_zoo.names():
        print_line(name)
        print_line(f"    {model_zoo.describe(name).splitlines()[0]}")
    cards = shipped_folder("model_zoo") / "NAME" / "README.md"
    print_line(f"\n    The cost and the scores of each recipe: {cards}\n")
    import_tensorflow()

    from mask_rcnn.backbones import BACKBONES
    from mask_rcnn.data.augmentation.augment import TRANSFORMS
    from mask_rcnn.heads import HEADS
    from mask_rcnn.poolers import POOLERS

    for registry in (BACKBONES, POOLERS, HEADS, TRANSFORMS):
        print_line(f"{registry.field}:")
        for name, summary in registry.summaries().items():
            print_line(f"    {name}: {summary}")
        print_line("")


def run_conventions(args: argparse.Namespace) -> None:
    """Prints the table of the conventions of published models."""
    from mask_rcnn.model_zoo.conventions import table

    print_line(table())


def run_show(args: argparse.Namespace) -> None:
    """Prints a config as YAML."""
    print_line(config_io.to_yaml(load_config(args.config, args.set)).removesuffix("\n"))
