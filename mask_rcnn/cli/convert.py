"""`mask-rcnn data convert`: converts annotation formats of other tools to COCO instances, and back."""

import sys

from mask_rcnn.cli.options import add_command, local_path
from mask_rcnn.cli.progress import track
from mask_rcnn.cli.tiling import add_tiles, tiling_of
from mask_rcnn.system.paths import as_path
from mask_rcnn.system.terminal import print_line

DESCRIPTION = "convert annotations of other tools to COCO instances, and back"


def add_parser(actions):
    parser = add_command(actions, "convert", run_convert, DESCRIPTION)
    parser.add_argument(
        "input",
        metavar="INPUT",
        type=as_path,
        help="file or folder of annotations; of TFRecord files also a pattern in quotes",
    )
    parser.add_argument(
        "out", metavar="OUT", type=local_path, help="json file of COCO, or folder; must not exist"
    )
    parser.add_argument(
        "--from",
        dest="source_format",
        metavar="FORMAT",
        help="cityscapes, coco, coco_results, cvat, label_studio, labelme, lvis, masks, tfrecord, via, voc, "
        "yolo (default: detected)",
    )
    parser.add_argument(
        "--to",
        dest="target_format",
        metavar="FORMAT",
        default="coco",
        help="coco, cvat, label_studio, labelme, masks, tfrecord, voc or yolo",
    )
    parser.add_argument(
        "--images",
        metavar="DIR",
        type=local_path,
        help="folder of the images; those of TFRecord files are written to it (default: the folder of INPUT)",
    )
    _add_reading(parser)
    _add_predictions(parser)
    _add_selection(parser)
    _add_cutting(parser)


def _add_reading(parser):
    parser.add_argument(
        "--subset", metavar="NAME", help="read this part, as in --subset train (default: all)"
    )
    parser.add_argument(
        "--boxes-as-masks",
        action="store_true",
        help="make masks of rectangles (default: boxes without a mask)",
    )
    parser.add_argument(
        "--class-attribute",
        metavar="NAME",
        help="attribute of VIA that holds the class (default: the only one)",
    )
    parser.add_argument(
        "--skip-errors",
        action="store_true",
        help="leave out images that cannot be read (default: an error that names them)",
    )


def _add_predictions(parser):
    parser.add_argument(
        "--annotations",
        metavar="FILE",
        type=as_path,
        help="COCO json with the images and classes of a COCO results file (default: those that it names)",
    )
    parser.add_argument(
        "--score-threshold",
        metavar="SCORE",
        type=float,
        default=0.5,
        help="leave out predictions that are less sure",
    )
    parser.add_argument(
        "--model-version",
        metavar="NAME",
        default="mask-rcnn",
        help="name of the model, for predictions in Label Studio",
    )


def _add_selection(parser):
    parser.add_argument(
        "--classes",
        metavar="A,B",
        type=_names,
        default=(),
        help="keep these classes only (default: all)",
    )
    parser.add_argument(
        "--merge",
        metavar="NEW=A,B",
        action="append",
        default=[],
        help="give classes one name, before --classes; repeat for more (default: none)",
    )
    parser.add_argument(
        "--split",
        metavar="FRACTION",
        type=float,
        help="divide the images into train and val, as in --split 0.8 (default: one part)",
    )
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of --split")
    parser.add_argument(
        "--polygons",
        metavar="PIXELS",
        type=float,
        help="make polygons of masks, at most about this far from their outlines, such as 0.5; 0 is exact "
        "(default: keep masks)",
    )
    parser.add_argument(
        "--shards",
        metavar="N",
        type=int,
        help="files of each part, for --to tfrecord (default: one for every 100 MB)",
    )


def _add_cutting(parser):
    add_tiles(parser, "cut the images into overlapping square tiles of this side; OUT is a folder then")
    parser.add_argument(
        "--min-visible",
        metavar="SHARE",
        type=float,
        help="an object of which a tile shows less is ignored there in training (default: 0.1)",
    )
    parser.add_argument("--keep-empty", action="store_true", help="write tiles without objects too")


def _names(text):
    return tuple(name.strip() for name in text.split(",") if name.strip())


def run_convert(args):
    from mask_rcnn.data.findings import Findings
    from mask_rcnn.formats.conversion import Selection, output_paths, read, write
    from mask_rcnn.formats.detection import detect_format
    from mask_rcnn.formats.registry import WRITERS
    from mask_rcnn.formats.tile_writer import IMAGES, write_tiles

    selection = Selection(
        classes=args.classes,
        merges=_merges(args.merge),
        train_fraction=args.split,
        seed=args.seed,
        num_shards=args.shards,
        polygon_tolerance=args.polygons,
        model_version=args.model_version,
    )
    cutting = _cutting(args)
    WRITERS.find(args.target_format)
    if not cutting:
        _check_name(args.out, args.target_format)
    output_paths(args.target_format, args.out, args.split is not None)
    source_format = args.source_format
    if source_format is None:
        source_format = detect_format(args.input)
        print_line(f"{args.input} is read as {source_format}")
    findings, notes = Findings(), []
    content = read(
        source_format,
        args.input,
        args.images,
        findings=findings,
        notes=notes,
        subset=args.subset,
        boxes_as_masks=args.boxes_as_masks,
        class_attribute=args.class_attribute,
        skip_errors=args.skip_errors,
        annotations=args.annotations,
        score_threshold=args.score_threshold,
        track=track,
    )
    images_dir = args.images or (args.input if args.input.is_dir() else args.input.parent)
    if cutting:
        parts, paths = write_tiles(
            content,
            images_dir,
            args.out,
            cutting=cutting,
            selection=selection,
            findings=findings,
            track=track,
        )
        images_dir = args.out / IMAGES
    else:
        parts, paths = write(
            args.target_format,
            content,
            images_dir,
            out=args.out,
            selection=selection,
            findings=findings,
            track=track,
        )
    _say_result(args, parts, paths, images_dir, [*notes, *findings.lines()])


def _check_name(out, target_format):
    """Raises a ValueError if a COCO json would get another suffix, because `--to` is missing."""
    from mask_rcnn.formats.conversion import COCO

    if target_format == COCO and out.suffix.lower() != ".json":
        raise ValueError(
            f"With --to coco, which is the default, OUT must end in .json. Received: {str(out)!r}. "
            "Change the name, or add --to with the format to write, such as --to cvat."
        )


def _say_result(args, parts, paths, images_dir, notes):
    """Prints what was repaired, what was written, and where."""
    from mask_rcnn.formats.conversion import COCO

    for line in notes:
        print_line(f"note: {line}", file=sys.stderr)
    for part, each in parts.items():
        print_line(_summary(part, each))
    relative = f"; `file_name`s are relative to {images_dir}" if args.target_format == COCO else ""
    print_line(f"written: {', '.join(map(str, paths))}{relative}")


def _cutting(args):
    """Returns the `Cutting` of `--tile`, or None without it."""
    from mask_rcnn.formats.conversion import COCO
    from mask_rcnn.formats.tile_writer import Cutting

    tiling = tiling_of(args)
    if tiling is None:
        if args.keep_empty or args.min_visible is not None:
            raise ValueError(
                "--keep-empty and --min-visible need --tile. Received: no --tile. Add --tile 1024."
            )
        return None
    if args.target_format != COCO or args.out.suffix == ".json":
        raise ValueError(
            "--tile writes a folder with the tiles and a COCO json. "
            f"Received: --to {args.target_format} {args.out}. Give a folder, and convert its json after that."
        )
    shares = {} if args.min_visible is None else {"min_visible": args.min_visible}
    return Cutting(tiling=tiling, keep_empty=args.keep_empty, **shares)


def _merges(words):
    merges = {}
    for word in words:
        new, equals, old = word.partition("=")
        if not (new.strip() and equals and _names(old)):
            raise ValueError(
                f"`--merge` needs NEW=A,B, as in vehicle=car,truck. Received: {word!r}. Correct it."
            )
        merges.setdefault(new.strip(), []).extend(_names(old))
    return merges


def _summary(part, content):
    crowds = sum(each["iscrowd"] for each in content["annotations"])
    objects = len(content["annotations"]) - crowds
    counts = (
        f"{len(content['images'])} images, {objects} objects, {crowds} crowd regions, "
        f"{len(content['categories'])} classes"
    )
    return f"{part}: {counts}" if part else counts
