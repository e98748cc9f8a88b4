"""`mask-rcnn data`: looks at a data set before a model sees it, draws samples, and converts annotations."""

from pathlib import Path

from mask_rcnn.cli import convert, preview
from mask_rcnn.cli.options import add_command, load_config
from mask_rcnn.cli.quiet import import_tensorflow
from mask_rcnn.terminal import say


def add_parser(commands):
    summary = "look at a data set before training, or convert it"
    group = commands.add_parser("data", help=summary, description=summary, allow_abbrev=False)
    actions = group.add_subparsers(title="actions", metavar="ACTION", required=True)
    parser = add_command(
        actions, "inspect", run_inspect, "count classes and sizes, and name what is suspicious"
    )
    parser.add_argument("--annotations", metavar="JSON", type=Path, required=True, help="COCO instances")
    parser.add_argument("--images", metavar="DIR", type=Path, required=True, help="folder of their images")
    limit = parser.add_mutually_exclusive_group()
    limit.add_argument(
        "--max-instances",
        metavar="N",
        type=int,
        default=100,
        help="`input.max_instances` of the training: objects of an image that are trained on",
    )
    limit.add_argument(
        "--config", metavar="NAME_OR_YAML", help="take it from a recipe or config file (default: none)"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the counts here too (default: none)")
    preview.add_parser(actions)
    convert.add_parser(actions)


def run_inspect(args):
    import_tensorflow()

    from mask_rcnn.data.coco import read_coco
    from mask_rcnn.data.inspect import dataset_report, format_report

    limit = load_config(args.config, []).input.max_instances if args.config else args.max_instances
    report = dataset_report(read_coco(args.annotations, args.images, max_bad_images=1.0), limit)
    say(format_report(report))
    if args.json:
        from mask_rcnn.coco_results import write_json

        write_json(args.json, report)
