"""`mask-rcnn data inspect`: what is in a data set, and what is wrong with it, before a model sees it."""

from pathlib import Path

from mask_rcnn.cli.options import add_command


def add_parser(commands):
    summary = "look at a data set before training"
    group = commands.add_parser("data", help=summary, description=summary, allow_abbrev=False)
    actions = group.add_subparsers(title="actions", metavar="ACTION", required=True)
    parser = add_command(
        actions, "inspect", run_inspect, "count classes and sizes, and name what is suspicious"
    )
    parser.add_argument("--annotations", metavar="JSON", type=Path, required=True, help="COCO instances")
    parser.add_argument("--images", metavar="DIR", type=Path, required=True, help="folder of their images")


def run_inspect(args):
    from mask_rcnn.data.coco import read_coco
    from mask_rcnn.data.inspect import dataset_report

    print(dataset_report(read_coco(args.annotations, args.images, max_bad_images=1.0)))
