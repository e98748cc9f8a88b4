"""`mask-rcnn data`: checks a data set before training, draws its samples, and converts annotations."""

from mask_rcnn.cli import convert, data_check, preview


def add_parser(commands):
    summary = "look at a data set before training, or convert it"
    group = commands.add_parser("data", help=summary, description=summary, allow_abbrev=False)
    actions = group.add_subparsers(title="actions", metavar="ACTION", required=True)
    data_check.add_parser(actions)
    preview.add_parser(actions)
    convert.add_parser(actions)
