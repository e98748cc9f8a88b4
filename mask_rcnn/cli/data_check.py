"""`mask-rcnn data check`: describes a data set, reports its errors, and says how to fix them."""

import argparse
import os

from mask_rcnn.cli.options import Subparsers, add_command, add_set, load_config
from mask_rcnn.cli.progress import track
from mask_rcnn.cli.quiet import import_tensorflow
from mask_rcnn.cli.train import CONFIG_FOR_DATA
from mask_rcnn.system.files import atomic_write
from mask_rcnn.system.paths import as_path
from mask_rcnn.system.terminal import print_line

ERRORS_FOUND = 1
EXIT_STATUS = """\
exit status: 0 without errors, 1 if errors were found (training would stop), 2 for wrong options or missing
files. Warnings and notes do not change it.
"""


def add_parser(actions: Subparsers) -> None:
    """Adds the action `check` with its options."""
    parser = add_command(
        actions,
        "check",
        run,
        summary="find errors of a data set, their effect on training, and how to fix them",
    )
    parser.epilog = EXIT_STATUS
    parser.add_argument(
        "--annotations",
        metavar="JSON",
        type=as_path,
        required=True,
        help="COCO instances, or TFRecord files (a path, or a pattern in quotes)",
    )
    parser.add_argument(
        "--images",
        metavar="DIR",
        type=as_path,
        help="folder of their images (default: none, for TFRecord files)",
    )
    parser.add_argument(
        "--val-annotations",
        metavar="JSON",
        type=as_path,
        help="COCO instances of the validation set, to find images and classes that are in both sets or "
        "only in one (default: none)",
    )
    parser.add_argument(
        "--val-images", metavar="DIR", type=as_path, help="folder of their images (default: none)"
    )
    _add_checks(parser)


def _add_checks(parser: argparse.ArgumentParser) -> None:
    """Adds the options for the depth of the checks and the files to write."""
    parser.add_argument(
        "--config",
        metavar="NAME_OR_YAML",
        default=CONFIG_FOR_DATA,
        help="recipe or YAML file to train with; image sizes, anchors, heads and limits are from it",
    )
    add_set(parser)
    parser.add_argument(
        "--no-decode",
        action="store_true",
        help="read only the headers of the image files; faster, but finds less (default: decode all)",
    )
    parser.add_argument(
        "--json", metavar="FILE", type=as_path, help="also write the report to this JSON file (default: none)"
    )
    parser.add_argument(
        "--html",
        metavar="FILE",
        type=as_path,
        help="write an HTML page with pictures of examples (default: none)",
    )
    parser.add_argument(
        "--fix",
        metavar="JSON",
        type=as_path,
        help="write a repaired copy of --annotations; the original is not changed (default: none)",
    )


def run(args: argparse.Namespace) -> int:
    """Checks the data set, prints the report, and returns 1 if it has errors, else 0."""
    sources = _sources(args)
    config = load_config(args.config, args.set)
    import_tensorflow()

    from mask_rcnn.data_check.check import check_coco
    from mask_rcnn.data_check.html_report import write_page
    from mask_rcnn.data_check.text_report import format_report
    from mask_rcnn.evaluation.coco_results import write_json

    report, sets = check_coco(sources, config, args.config, decode=not args.no_decode, track=track)
    print_line(format_report(report))
    if args.json:
        write_json(args.json, report.as_dict())
    if args.html:
        with atomic_write(args.html) as partial:
            write_page(partial, report, sets, config=config, track=track)
    if args.fix:
        _fix(args, sets)
    return ERRORS_FOUND if report.count("error") else 0


def _sources(args: argparse.Namespace) -> dict:
    """Returns the annotations and image folders to check, `{split: (annotations, images)}`."""
    from mask_rcnn.data.readers.coco import check_images_dir
    from mask_rcnn.data.tfrecords.shards import is_shards

    if args.val_images and not args.val_annotations:
        raise ValueError(
            "`--val-images` needs `--val-annotations`. Received: "
            f"--val-annotations {args.val_annotations}, --val-images {args.val_images}. Give both or neither."
        )
    if args.fix and is_shards(args.annotations):
        raise ValueError(
            f"`--fix` can repair a COCO json only. Received: {args.annotations}. Convert it with "
            "`mask-rcnn data convert` first."
        )
    sources = {"train": (args.annotations, args.images)}
    sources |= {"val": (args.val_annotations, args.val_images)} if args.val_annotations else {}
    originals = [str(annotations) for annotations, _ in sources.values()]
    for annotations, images in sources.values():
        check_images_dir(annotations, images)
    for option, path in (("--fix", args.fix), ("--json", args.json), ("--html", args.html)):
        if path and os.path.realpath(str(path)) in map(os.path.realpath, originals):
            raise ValueError(
                f"`{option}` must be another file than the annotations, which are never changed. "
                f"Received: {option} {path}. Choose another path."
            )
    return sources


def _fix(args: argparse.Namespace, sets: dict) -> None:
    """Writes the repaired copy of the annotations, and prints the changes."""
    from mask_rcnn.data_check.repair import repair_coco

    if "train" not in sets:
        print_line(f"\n{args.fix} was not written, because of the errors above. Correct them first.")
        return
    changes = repair_coco(args.annotations, args.images, args.fix, checked=sets["train"])
    print_line(f"\n{args.fix} was written. {'Changes:' if changes else 'Nothing had to be changed.'}")
    for change in changes:
        print_line(f"  {change}")
