"""`mask-rcnn detect`: detects objects in images, folders and videos, draws them, and writes COCO results."""

from __future__ import annotations

import argparse
import collections
import contextlib
import functools
import itertools
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from mask_rcnn.cli.errors import describe_error
from mask_rcnn.cli.frames import Frame, image_of_frame, list_frames
from mask_rcnn.cli.inputs import find_files, is_video, local_inputs
from mask_rcnn.cli.options import Subparsers, add_command, local_path
from mask_rcnn.cli.outcome import Outcome
from mask_rcnn.cli.output_file import check_output_file
from mask_rcnn.cli.predictor import add_predictor, add_tiling, add_tta, augmented, load_predictor, tiled
from mask_rcnn.cli.progress import track
from mask_rcnn.cli.quiet import import_tensorflow
from mask_rcnn.cli.ranking import add_ranking, lowest_score, uncertainty_row, write_ranking
from mask_rcnn.cli.ray_option import add_ray
from mask_rcnn.data.image_io.image_headers import MAX_PIXELS
from mask_rcnn.errors import PartialFailure, is_out_of_memory
from mask_rcnn.system.files import remove_leftovers
from mask_rcnn.system.paths import as_path
from mask_rcnn.system.terminal import print_line

if TYPE_CHECKING:
    from mask_rcnn.prediction.image_predictor import ImagePredictor
    from mask_rcnn.prediction.tiled_predictor import TiledPredictor

MAX_EXAMPLES = 3
EPILOG = (
    "If a file fails, the other files are still processed: failures are listed at the end, and the exit code "
    "is 3. If the command is interrupted, the results of the files before are written."
)


def add_parser(commands: Subparsers) -> None:
    """Adds the command `detect` with its options."""
    parser = add_command(commands, "detect", run, summary="detect objects in images and videos")
    parser.epilog = EPILOG
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        type=as_path,
        help="image, video, or folder with images and videos",
    )
    add_predictor(parser)
    add_tta(parser)
    add_tiling(parser)
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=local_path,
        default=Path("detections"),
        help="folder for images and videos with the drawn detections",
    )
    parser.add_argument("--no-pictures", action="store_true", help="do not draw the detections")
    parser.add_argument(
        "--json",
        metavar="FILE",
        type=as_path,
        help="write the detections as a COCO results file (default: none)",
    )
    add_ranking(parser)
    _add_more_outputs(parser)


def _add_more_outputs(parser: argparse.ArgumentParser) -> None:
    """Adds the options for Parquet files, and the limits of detection and drawing."""
    parser.add_argument(
        "--parquet",
        metavar="DIR",
        type=as_path,
        help="write a row per image to Parquet files in this folder, and draw nothing; the same command "
        "continues an interrupted run (default: none)",
    )
    add_ray(
        parser,
        "with --parquet: detect on a Ray cluster, in as many workers as it has room for, each with these "
        "resources, such as CPU=4 (default: in this process)",
    )
    parser.add_argument(
        "--score-threshold",
        metavar="SCORE",
        type=float,
        default=0.5,
        help="skip detections with a lower score; to compute AP, use 0.05 or less",
    )
    parser.add_argument(
        "--max-pixels",
        metavar="PIXELS",
        type=int,
        default=MAX_PIXELS,
        help="reject images with more pixels; each pixel takes 3 to 7 bytes of memory",
    )
    parser.add_argument(
        "--font",
        metavar="FILE",
        type=local_path,
        help="TrueType or OpenType font for class names (default: a system font with their characters)",
    )


def run(args: argparse.Namespace) -> None:
    """Detects objects in the inputs, and writes the pictures and files of the options."""
    if args.parquet or args.ray:
        from mask_rcnn.cli import detect_parquet

        detect_parquet.run(args)
        return
    with local_inputs(args.inputs) as inputs:
        _run(args, inputs)


def _run(args: argparse.Namespace, inputs: list[Path]) -> None:
    outcome = Outcome(max_pixels=args.max_pixels)
    files = find_files(inputs, args.out, outcome.skipped)
    _check_outputs(args, files)
    import_tensorflow()

    predictor = load_predictor(args)
    predictor.max_pixels = args.max_pixels
    predictor = tiled(augmented(predictor, args), args)
    if not args.no_pictures:
        _prepare_pictures(args, predictor)
    try:
        _detect_files(predictor, files, args, outcome)
    finally:
        _finish(args, predictor, outcome)
    if outcome.failures:
        listed = "\n  ".join(outcome.failures)
        raise PartialFailure(
            f"{len(outcome.failures)} of {len(files)} files failed, the others are done:\n  {listed}"
        )


def _check_outputs(args: argparse.Namespace, files: Mapping[Path, str]) -> None:
    """Raises a ValueError before the detection starts if results could not be written."""
    check_output_file("--json", args.json, files)
    check_output_file("--rank-uncertain", args.rank_uncertain, files)
    if not args.no_pictures and args.out.exists() and not args.out.is_dir():
        raise ValueError(f"--out must be a folder. Received: {args.out}, a file. Choose another path.")


def _prepare_pictures(args: argparse.Namespace, predictor: ImagePredictor | TiledPredictor) -> None:
    """Creates the folder of the pictures, and reports an invalid font and names that no font can show."""
    from mask_rcnn.visualization.fonts import label_names

    label_names(predictor.categories, args.font)
    args.out.mkdir(parents=True, exist_ok=True)
    remove_leftovers(args.out)


def _count(files: Mapping[Path, str]) -> int:
    """Returns the number of frames of all files. An image counts as one frame."""
    from mask_rcnn.cli.video import count_frames

    return sum(count_frames(file) if is_video(file) else 1 for file in files)


def _detect_files(
    predictor: ImagePredictor | TiledPredictor,
    files: dict[Path, str],
    args: argparse.Namespace,
    outcome: Outcome,
) -> None:
    """Detects objects in all files. A file that fails becomes a line of `outcome.failures`."""
    results = predictor.predict_many(
        list_frames(files, args, outcome),
        batch_size=args.batch_size,
        threads=args.threads,
        image_of=functools.partial(
            image_of_frame, outcome=outcome, settings=predictor.config.input, in_tiles=args.tile is not None
        ),
        finish=functools.partial(_finish_frame, predictor=predictor, args=args),
        keep_images=not args.no_pictures,
        score_threshold=lowest_score(args),
    )
    with contextlib.closing(results):
        tracked = track(results, _count(files), "Detecting")
        for _, frames in itertools.groupby(tracked, lambda pair: pair[0].file):
            _collect_file(frames, args, outcome)


def _finish_frame(frame, detections, pixels, predictor, args):
    """Draws a frame, and writes the picture of an image file. It runs in a thread beside the model.

    Returns:
        Names of the detected classes; entries of a COCO results file, empty without `--json`; the drawn frame
        of a video, or None; and the row of the ranking, or None.
    """
    from mask_rcnn.cli.pictures import save_picture
    from mask_rcnn.data.image_io.rgb8 import to_rgb8
    from mask_rcnn.evaluation.coco_results import to_coco
    from mask_rcnn.visualization.drawing import draw

    row = uncertainty_row(frame, detections, args.score_threshold) if args.rank_uncertain else None
    detections = detections.select(~(detections.scores < args.score_threshold))
    names = [predictor.categories[class_id - 1].name for class_id in detections.class_ids]
    entries = to_coco(detections, 0, predictor.categories) if args.json else []  # `_collect_file` sets the id
    drawn = None
    if frame.picture:
        picture = to_rgb8(pixels(), predictor.config.input)
        drawn = draw(picture, detections, predictor.categories, font=args.font)
        if frame.number is None:
            save_picture(frame.picture, drawn)
            drawn = None
    return names, entries, drawn, row


def _collect_file(frames: Iterator[tuple[Frame, Any]], args: argparse.Namespace, outcome: Outcome) -> None:
    """Collects the results of one file.

    Args:
        frames: Iterator of `(Frame, result)`. A result is that of `_finish_frame`, or an exception.
        args: Arguments of the command.
        outcome: `Outcome` to add to.
    """
    from mask_rcnn.cli.video import writer_of

    pair = next(frames)
    first, _ = pair
    counts = collections.Counter()
    try:
        with writer_of(first) as write:
            for frame, result in itertools.chain([pair], frames):
                if isinstance(result, Exception):
                    raise result
                names, entries, drawn, row = result
                if drawn is not None and write is not None:
                    write(drawn)
                outcome.num_frames += 1
                outcome.ranking += [row] if row else []
                counts.update(names)
                source = {"file_name": frame.name} | ({} if frame.number is None else {"frame": frame.number})
                outcome.results += [
                    {**entry, "image_id": outcome.num_frames, "category_name": name, **source}
                    for entry, name in zip(entries, names, strict=bool(args.json))
                ]
    except Exception as error:  # continues with the other files
        outcome.failed.add(first.file)
        outcome.failures.append(f"{first.file}: {_failure(error)}")
        if flags.FLAGS.verbosity > 0:
            print_line("".join(traceback.format_exception(error)))
        return
    objects = ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "nothing"
    print_line(f"{first.file}: {objects}" + (f" -> {first.picture}" if first.picture else ""))


def _failure(error: Exception) -> str:
    """Returns the message of an error as one line."""
    if is_out_of_memory(error):
        return "There is not enough memory for this file. Scale it down, or detect in tiles (`--tile`)."
    return " ".join(describe_error(error)[0].split())


def _finish(args: argparse.Namespace, predictor: ImagePredictor | TiledPredictor, outcome: Outcome) -> None:
    """Writes the results so far, and prints each kind of message once."""
    from mask_rcnn.data.bit_depth import bit_depth_warning
    from mask_rcnn.evaluation.coco_results import write_json

    for line in outcome.skipped.lines():
        print_line(line)
    if outcome.renamed:
        examples = "; ".join(outcome.renamed[:MAX_EXAMPLES])
        print_line(
            f"{len(outcome.renamed)} pictures got another name, because a file of that name exists: "
            f"{examples}"
        )
    if warning := bit_depth_warning(outcome.used_bits, predictor.config.input.bit_depth):
        print_line(f"Warning: {warning} The option of this command is --bit-depth.")
    if args.json:
        write_json(args.json, outcome.results)
        print_line(f"Detections: {args.json}")
    if args.rank_uncertain:
        write_ranking(args.rank_uncertain, outcome.ranking)
    if not args.no_pictures:
        print_line(f"Pictures: {args.out}")
