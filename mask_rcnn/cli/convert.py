"""`mask-rcnn data convert`: converts annotation formats of other tools to COCO instances, and back."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mask_rcnn.cli.options import Subparsers, add_command, local_path
from mask_rcnn.cli.progress import track
from mask_rcnn.cli.tiling import add_tiles, tiling_of
from mask_rcnn.system.paths import as_path
from mask_rcnn.system.terminal import print_line

if TYPE_CHECKING:
    from mask_rcnn.formats.conversion import Selection
    from mask_rcnn.formats.tile_writer import Cutting

DESCRIPTION = "convert annotations of other tools to COCO instances, and back"


def add_parser(actions: Subparsers) -> None:
    """Adds the action `convert` with its options."""
    parser = add_command(actions, "convert", run_convert, summary=DESCRIPTION)
    parser.add_argument(
        "input",
        metavar="INPUT",
        type=as_path,
        help="file or folder of annotations; for TFRecord files also a pattern in quotes",
    )
    parser.add_argument(
        "out", metavar="OUT", type=local_path, help="COCO json file or folder to write; must not exist"
    )
    parser.add_argument(
        "--from",
        dest="source_format",
        metavar="FORMAT",
        help="format of INPUT: cityscapes, coco, coco_results, cvat, label_studio, labelme, lvis, masks, "
        "tfrecord, via, voc or yolo (default: detected)",
    )
    parser.add_argument(
        "--to",
        dest="target_format",
        metavar="FORMAT",
        default="coco",
        help="format of OUT: coco, cvat, label_studio, labelme, masks, tfrecord, voc or yolo",
    )
    parser.add_argument(
        "--images",
        metavar="DIR",
        type=local_path,
        help="folder of the images; those in TFRecord files are written to it (default: the folder of INPUT)",
    )
    _add_reading(parser)
    _add_predictions(parser)
    _add_selection(parser)
    _add_cutting(parser)


def _add_reading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--subset", metavar="NAME", help="read only this subset, as in --subset train (default: all)"
    )
    parser.add_argument(
        "--boxes-as-masks",
        action="store_true",
        help="convert boxes to rectangular masks (default: boxes without masks)",
    )
    parser.add_argument(
        "--class-attribute",
        metavar="NAME",
        help="attribute of VIA annotations that contains the class (default: the only attribute)",
    )
    parser.add_argument(
        "--skip-errors",
        action="store_true",
        help="skip images that cannot be read (default: an error that names them)",
    )


def _add_predictions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--annotations",
        metavar="FILE",
        type=as_path,
        help="COCO json with the images and classes of a COCO results file (default: those in the results)",
    )
    parser.add_argument(
        "--score-threshold",
        metavar="SCORE",
        type=float,
        default=0.5,
        help="skip predictions with a lower score",
    )
    parser.add_argument(
        "--model-version",
        metavar="NAME",
        default="mask-rcnn",
        help="name of the model that Label Studio shows with its predictions",
    )


def _add_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--classes",
        metavar="A,B",
        type=_names,
        default=(),
        help="keep only these classes (default: all)",
    )
    parser.add_argument(
        "--merge",
        metavar="NEW=A,B",
        action="append",
        default=[],
        help="merge classes A and B into the class NEW, before --classes is applied; repeat for more "
        "(default: none)",
    )
    parser.add_argument(
        "--split",
        metavar="FRACTION",
        type=float,
        help="fraction of the images for training, as in --split 0.8; the others are for validation "
        "(default: no split)",
    )
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="random seed of --split")
    parser.add_argument(
        "--polygons",
        metavar="PIXELS",
        type=float,
        help="convert masks to polygons with about this maximum distance to their outlines, such as 0.5; 0 "
        "is exact (default: keep masks)",
    )
    parser.add_argument(
        "--shards",
        metavar="N",
        type=int,
        help="with --to tfrecord: number of files of each subset (default: one per 100 MB)",
    )


def _add_cutting(parser: argparse.ArgumentParser) -> None:
    add_tiles(
        parser, "cut the images into overlapping square tiles with sides of PIXELS; OUT must be a folder"
    )
    parser.add_argument(
        "--min-visible",
        metavar="FRACTION",
        type=float,
        help="with --tile: ignore objects of which a smaller fraction is in the tile (default: 0.1)",
    )
    parser.add_argument(
        "--keep-empty", action="store_true", help="with --tile: also write tiles without objects"
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def run_convert(args: argparse.Namespace) -> None:
    """Converts the annotations, and prints the repairs, the counts and the written files."""
    from mask_rcnn.data.findings import Findings
    from mask_rcnn.formats.conversion import output_paths, read, write
    from mask_rcnn.formats.registry import WRITERS
    from mask_rcnn.formats.tile_writer import IMAGES, write_tiles

    selection = _selection(args)
    cutting = _cutting(args)
    WRITERS.find(args.target_format)
    if not cutting:
        _check_name(args.out, args.target_format)
    output_paths(args.target_format, args.out, args.split is not None)
    findings, notes = Findings(), []
    content = read(
        args.source_format or _detected_format(args.input),
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
    options: dict[str, Any] = {"selection": selection, "findings": findings, "track": track}
    if cutting:
        parts, paths = write_tiles(content, images_dir, args.out, cutting=cutting, **options)
        images_dir = args.out / IMAGES
    else:
        parts, paths = write(args.target_format, content, images_dir, out=args.out, **options)
    _print_notes([*notes, *findings.lines()])
    _print_written(args, parts, paths, images_dir)


def _detected_format(path: Path) -> str:
    """Returns the name of the format of the annotations, and prints it."""
    from mask_rcnn.formats.detection import detect_format

    source_format = detect_format(path)
    print_line(f"{path} is read as {source_format}")
    return source_format


def _check_name(out: Path, target_format: str) -> None:
    """Raises a ValueError if a COCO json would get another suffix, because `--to` is missing."""
    from mask_rcnn.formats.conversion import COCO

    if target_format == COCO and out.suffix.lower() != ".json":
        raise ValueError(
            f"With --to coco, which is the default, OUT must end in .json. Received: {str(out)!r}. "
            "Change the name, or add --to with the format to write, such as --to cvat."
        )


def _selection(args: argparse.Namespace) -> Selection:
    """Returns the `Selection` of the options."""
    from mask_rcnn.formats.conversion import Selection

    return Selection(
        classes=args.classes,
        merges=_merges(args.merge),
        train_fraction=args.split,
        seed=args.seed,
        num_shards=args.shards,
        polygon_tolerance=args.polygons,
        model_version=args.model_version,
    )


def _print_notes(notes: Iterable[str]) -> None:
    for line in notes:
        print_line(f"note: {line}", file=sys.stderr)


def _print_written(
    args: argparse.Namespace, parts: Mapping[str, dict], paths: Iterable[Path], images_dir: Path
) -> None:
    """Prints the counts of each subset, and the written files."""
    from mask_rcnn.formats.conversion import COCO

    for part, content in parts.items():
        print_line(_summary(part, content))
    relative = f"; `file_name`s are relative to {images_dir}" if args.target_format == COCO else ""
    print_line(f"written: {', '.join(map(str, paths))}{relative}")


def _cutting(args: argparse.Namespace) -> Cutting | None:
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
            f"Received: --to {args.target_format} {args.out}. Give a folder, and then convert its json."
        )
    options = {} if args.min_visible is None else {"min_visible": args.min_visible}
    return Cutting(tiling=tiling, keep_empty=args.keep_empty, **options)


def _merges(texts: Sequence[str]) -> dict[str, list[str]]:
    """Returns `{new name: list of the classes to merge}` of the values of `--merge`."""
    merges: dict[str, list[str]] = {}
    for text in texts:
        new, equals, old = text.partition("=")
        if not (new.strip() and equals and _names(old)):
            raise ValueError(
                f"`--merge` needs NEW=A,B, as in vehicle=car,truck. Received: {text!r}. Correct it."
            )
        merges.setdefault(new.strip(), []).extend(_names(old))
    return merges


def _summary(part: str, content: dict) -> str:
    crowds = sum(annotation["iscrowd"] for annotation in content["annotations"])
    objects = len(content["annotations"]) - crowds
    counts = (
        f"{len(content['images'])} images, {objects} objects, {crowds} crowd regions, "
        f"{len(content['categories'])} classes"
    )
    return f"{part}: {counts}" if part else counts
