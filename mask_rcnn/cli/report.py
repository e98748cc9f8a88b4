"""`mask-rcnn evaluate --report`: writes a web page that explains a score, with images of the data set."""

from __future__ import annotations

import argparse
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mask_rcnn.cli.options import local_path
from mask_rcnn.cli.progress import track
from mask_rcnn.system.paths import RemotePath, as_path
from mask_rcnn.system.terminal import print_line

if TYPE_CHECKING:
    import numpy as np

    from mask_rcnn.config import Config
    from mask_rcnn.data.findings import Findings
    from mask_rcnn.data.records import ImageLocation
    from mask_rcnn.evaluation.coco_evaluation import CocoContent
    from mask_rcnn.evaluation.metrics import Metrics
    from mask_rcnn.report.analysis import RunDetections

DETECTIONS = "detections.json"  # file with the model's detections in the folder of the report


def add_report(parser: argparse.ArgumentParser) -> None:
    """Adds `--report` and `--compare`."""
    parser.add_argument(
        "--report",
        metavar="DIR",
        type=local_path,
        help="folder for a report that explains the AP: an HTML page with errors, curves and the worst "
        "images, and a JSON file with its numbers (default: none)",
    )
    parser.add_argument(
        "--compare",
        metavar="JSON",
        type=as_path,
        help="COCO results file of another run on the same images; --report shows the difference of AP with "
        "its confidence interval, and the differences per image (default: none)",
    )


def check_report(args: argparse.Namespace) -> None:
    """Raises a ValueError if the options of a report are incompatible."""
    if args.compare and not args.report:
        raise ValueError("--compare needs --report. Received: no --report. Add --report DIR.")
    if args.report and args.report.exists() and not args.report.is_dir():
        raise ValueError(
            f"--report must be a folder. Received: {args.report}, which is a file. Choose another path."
        )


def write_evaluation_report(
    args: argparse.Namespace,
    metrics: Metrics,
    detected: RunDetections,
    *,
    paths: Mapping[int | str, ImageLocation] | None,
    config: Config | None = None,
) -> None:
    """Writes the report of an evaluation, and prints its path.

    Args:
        args: Arguments of the command.
        metrics: `Metrics`.
        detected: `RunDetections` of the evaluated run.
        paths: `{image id: path}`, or None if the image files are not known.
        config: `Config` of the model. Defaults to None, for a results file.
    """
    from mask_rcnn.data.findings import Findings
    from mask_rcnn.evaluation.coco_results import write_json
    from mask_rcnn.report.write import PAGE, write_report

    measurable = tuple(kind for kind in detected.iou_types if metrics[kind]["AP"] is not None)
    detected = dataclasses.replace(detected, iou_types=measurable)
    other, findings = _other_run(args, detected), Findings()
    if not args.detections:
        write_json(args.report / DETECTIONS, detected.entries)
    write_report(
        args.report,
        detected,
        metrics=metrics,
        other=other,
        pixels_of=None if paths is None else _reader(paths, config, findings),
        track=track,
    )
    for line in findings.lines():
        print_line(f"  {line}")
    print_line(f"\nReport: {args.report / PAGE}")


def _other_run(args: argparse.Namespace, detected: RunDetections) -> RunDetections | None:
    """Returns the `RunDetections` of `--compare`, or None."""
    from mask_rcnn.evaluation.coco_evaluation import check_geometry, iou_types_in, read_detections

    if not args.compare:
        return None
    entries, _, warnings = read_detections(args.compare, detected.content, args.shared_classes)
    ids = set(detected.image_ids)
    kept = tuple(entry for entry in entries if entry["image_id"] in ids)
    iou_types = tuple(kind for kind in detected.iou_types if kind in iou_types_in(kept))
    if kept and not iou_types:
        raise ValueError(
            "Two runs need boxes, masks or keypoints in common to be compared. Received: "
            f"{detected.name} with {', '.join(detected.iou_types)}, {args.compare} with "
            f"{', '.join(iou_types_in(kept))}. Compare runs of the same task."
        )
    for iou_type in iou_types:
        check_geometry(kept, detected.content, iou_type)
    for warning in (*warnings, *_differences(detected, kept, iou_types)):
        print_line(f"  {args.compare}: {warning}")
    return dataclasses.replace(detected, name=str(args.compare), entries=kept, iou_types=iou_types)


def _differences(detected: RunDetections, entries: Sequence[dict], iou_types: Sequence[str]) -> list[str]:
    """Returns a list of sentences about what a second run lacks.

    Args:
        detected: `RunDetections` of the first run.
        entries: COCO results entries of the second run.
        iou_types: The IoU types of both runs.
    """
    differences = []
    image_ids = {entry["image_id"] for entry in detected.entries} - {entry["image_id"] for entry in entries}
    if image_ids:
        differences.append(
            f"no detections in {len(image_ids)} images in which the first run has detections; their objects "
            "count as missed. Was it run on the same images?"
        )
    missing = [iou_type for iou_type in detected.iou_types if iou_type not in iou_types]
    if missing:
        differences.append(f"{', '.join(missing)} cannot be compared: only the first run has them")
    return differences


def image_files(content: CocoContent, folder: Path) -> dict[int | str, Path | RemotePath]:
    """Returns `{image id: path}` of the images of annotations.

    Args:
        content: `CocoContent`.
        folder: `Path` of the folder of the images.
    """
    from mask_rcnn.data.findings import Findings
    from mask_rcnn.data.readers.image_files import find_image_files

    if not folder.is_dir():
        raise ValueError(
            f"--images must be the folder of the images. Received: {folder}, which is not a folder. Correct "
            "it."
        )
    return find_image_files(content.images, folder, Findings())


def _reader(
    paths: Mapping[int | str, ImageLocation], config: Config | None, findings: Findings
) -> Callable[[int | str], np.ndarray | None]:
    """Returns a function of an image id that returns its pixels, `[H, W, 3]` uint8, or None.

    Args:
        paths, config: See `write_evaluation_report`.
        findings: `Findings`. Images that cannot be read are added.
    """
    from mask_rcnn.data.image_io.images import read_image
    from mask_rcnn.data.image_io.rgb8 import to_rgb8

    read = read_image
    if config is not None:
        read = functools.partial(
            read_image,
            bit_depth=config.input.bit_depth,
            max_pixels=config.data.max_pixels,
            **config.input.pixel_format,
        )

    @functools.cache  # a comparison draws an image twice
    def pixels_of(id: int | str) -> np.ndarray | None:
        try:
            pixels = read(paths[id])
        except (KeyError, ValueError, OSError) as error:
            findings.repair("images could not be read: their objects are drawn on gray", f"{id}: {error}")
            return None
        return pixels if config is None else to_rgb8(pixels, config.input)

    return pixels_of
