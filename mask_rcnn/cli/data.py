"""`mask-rcnn data`: checks a data set before training, draws its samples, and converts annotations."""

from mask_rcnn.cli import convert, data_check, preview
from mask_rcnn.cli.options import Subparsers


def add_parser(commands: Subparsers) -> None:
    """Adds the command `data` with its actions."""
    summary = "check, preview or convert a data set"
    group = commands.add_parser("data", help=summary, description=summary, allow_abbrev=False)
    actions = group.add_subparsers(title="actions", metavar="ACTION", required=True)
    data_check.add_parser(actions)
    preview.add_parser(actions)
    convert.add_parser(actions)
