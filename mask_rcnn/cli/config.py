"""`mask-rcnn config list|show|conventions`: lists recipes, prints configs, and compares published models."""

from mask_rcnn import config_io, model_zoo
from mask_rcnn.cli.options import add_command, add_set, load_config
from mask_rcnn.cli.quiet import import_tensorflow
from mask_rcnn.shipped_files import shipped_folder
from mask_rcnn.system.terminal import print_line


def add_parser(commands):
    summary = "list the recipes, or print one as YAML to start a config of your own from"
    group = commands.add_parser("config", help=summary, description=summary, allow_abbrev=False)
    actions = group.add_subparsers(title="actions", metavar="ACTION", required=True)
    add_command(actions, "list", run_list, "name each recipe and say what it is for")
    parser = add_command(actions, "show", run_show, "print a config with all its fields as YAML")
    parser.add_argument("config", metavar="NAME_OR_YAML", help="a recipe of `config list`, or a YAML file")
    add_set(parser)
    add_command(
        actions, "conventions", run_conventions, "print in which fields published models differ, as Markdown"
    )


def run_list(args):
    for name in model_zoo.names():
        print_line(name)
        print_line(f"    {model_zoo.describe(name).splitlines()[0]}")
    cards = shipped_folder("model_zoo") / "NAME" / "README.md"
    print_line(f"\n    The cost and the scores of each recipe: {cards}\n")
    import_tensorflow()

    from mask_rcnn.backbones import BACKBONES
    from mask_rcnn.data.augment import TRANSFORMS
    from mask_rcnn.heads import HEADS
    from mask_rcnn.poolers import POOLERS

    for registry in (BACKBONES, POOLERS, HEADS, TRANSFORMS):
        print_line(f"{registry.field}:")
        for name, summary in registry.summaries().items():
            print_line(f"    {name}: {summary}")
        print_line("")


def run_conventions(args):
    from mask_rcnn.model_zoo.conventions import table

    print_line(table())


def run_show(args):
    print_line(config_io.to_yaml(load_config(args.config, args.set)).removesuffix("\n"))
