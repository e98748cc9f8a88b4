"""`mask-rcnn detect --parquet`: writes a row per image. Resumable, in this process or on a Ray cluster."""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import importlib.util
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mask_rcnn.cli.inputs import Skipped, find_files, is_image
from mask_rcnn.cli.output_file import check_output_file
from mask_rcnn.cli.pictures import is_drawn
from mask_rcnn.cli.predictor import augmented, load_predictor, tiled
from mask_rcnn.cli.progress import track
from mask_rcnn.cli.quiet import import_tensorflow
from mask_rcnn.cli.ray_option import import_in_worker
from mask_rcnn.errors import PartialFailure
from mask_rcnn.system.parallel import require_ray
from mask_rcnn.system.paths import RemotePath, is_remote
from mask_rcnn.system.terminal import print_line

if TYPE_CHECKING:
    from mask_rcnn.prediction.image_predictor import ImagePredictor
    from mask_rcnn.prediction.tiled_predictor import TiledPredictor
    from mask_rcnn.scale.rows import ImageFile

# Options that change the detections.
OPTIONS = (
    *("score_threshold", "precision", "bit_depth", "max_pixels", "tta", "tta_scales", "tta_flip"),
    *("tile", "tile_overlap", "tile_whole_image"),
)
MAX_FAILURES = 100  # number of failed images that are printed; the column `error` has all


def run(args: argparse.Namespace) -> None:
    """Detects objects in the images of the inputs, and writes the folder of `--parquet`."""
    _check(args)
    from mask_rcnn.scale.parquet_folder import ParquetFolder, detect_in_parts, write_results

    images = _find_images(args)
    check_output_file("--json", args.json, [os.fsdecode(image.path) for image in images])
    with ParquetFolder(args.parquet, _settings(args)) as parts:
        if parts.done:
            print_line(f"{args.parquet} has {len(parts.done)} images already.")
        total = sum(image.name not in parts.done for image in images)
        with contextlib.closing(detect_in_parts(images, parts, _launch(args))) as tables:
            for _ in track(tables, total, "Detecting", size=len):
                pass
    if args.json:
        write_results(args.parquet, args.json)
        print_line(f"Detections: {args.json}")
    _report(args)


def _check(args: argparse.Namespace) -> None:
    """Raises a ValueError if the options are incompatible, or a package is missing."""
    if args.parquet is None:
        raise ValueError("--ray needs --parquet. Received: no --parquet. Add --parquet DIR.")
    if args.rank_uncertain:
        raise ValueError(
            "--parquet writes no ranking. Received: --parquet and --rank-uncertain. Leave one of them out."
        )
    if importlib.util.find_spec("pyarrow") is None:
        raise ValueError(
            "pyarrow must be installed. Received: --parquet, and no package `pyarrow`. "
            "Run `pip install mask-rcnn[parquet]`, or leave --parquet out."
        )
    if args.ray:
        require_ray()


def _find_images(args: argparse.Namespace) -> list[ImageFile]:
    """Returns a list of `ImageFile` of the inputs, and prints which files were skipped."""
    from mask_rcnn.scale.rows import ImageFile

    skipped = Skipped()
    remote = [path for path in args.inputs if isinstance(path, RemotePath)]
    local = [path for path in args.inputs if isinstance(path, Path)]
    files: dict[Path | RemotePath, str] = {}
    files |= find_files(local, args.out, skipped) if local else {}
    # The name of a remote file is its URL. Names of local files are relative to their common folder.
    files |= {file: str(file) for path in remote for file in sorted(_remote_files(path), key=str)}
    images = []
    for file, name in files.items():
        if not is_image(file):
            skipped.add("files that are not images", file)
        elif isinstance(file, Path) and is_drawn(file):
            skipped.add("pictures that `detect` drew", file)
        else:
            path = os.path.abspath(file) if isinstance(file, Path) else str(file)
            text = name.encode("utf-8", "backslashreplace").decode()  # Parquet has valid text only
            images.append(ImageFile(os.fsencode(path), text))
    for line in skipped.lines():
        print_line(line)
    if not images:
        inputs = ", ".join(map(str, args.inputs))
        raise ValueError(
            f"The inputs must contain images. Received: {inputs}, which contain none. Check the path."
        )
    return images


def _remote_files(path: RemotePath) -> Iterable[RemotePath]:
    return path.files() if path.is_dir() else [path]


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    """Returns the settings that two runs must share to fill one folder, `{name: value}`."""
    inputs = [str(path if is_remote(path) else os.path.abspath(path)) for path in args.inputs]
    return {
        "inputs": inputs,
        "model": _digest(_model_path(args)),
        **{name: getattr(args, name) for name in OPTIONS},
    }


def _model_path(args: argparse.Namespace) -> Path:
    from mask_rcnn.model_zoo.pretrained import weights_file

    return weights_file(args.weights) if args.weights else args.model


def _digest(path: Path) -> str:
    """Returns the SHA-256 of a file, or of all files in a folder."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    digests = []
    for file in files:
        with open(file, "rb") as content:
            digests.append(hashlib.file_digest(content, "sha256").hexdigest())
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _launch(args: argparse.Namespace) -> Callable:
    """Returns the function of a list of images that yields tables with their rows."""
    from mask_rcnn.scale.rows import Detector

    detector = Detector(
        load=functools.partial(_load, args),
        batch_size=args.batch_size,
        threads=args.threads,
        score_threshold=args.score_threshold,
        in_tiles=args.tile is not None,
    )
    if args.ray is None:
        from mask_rcnn.scale.parquet_folder import detect_in_process

        return functools.partial(detect_in_process, detector=detector)
    from mask_rcnn.scale.ray_detect import detect_on_ray

    return functools.partial(detect_on_ray, detector=detector, **args.ray)


def _load(args: argparse.Namespace) -> ImagePredictor | TiledPredictor:
    """Returns the predictor of the options, in this process or in a Ray worker."""
    import_in_worker(args.imports)
    import_tensorflow()
    predictor = load_predictor(args)
    predictor.max_pixels = args.max_pixels
    return tiled(augmented(predictor, args), args)


def _report(args: argparse.Namespace) -> None:
    """Prints a summary of the folder. Raises a `PartialFailure` if images failed."""
    from mask_rcnn.data.bit_depth import bit_depth_warning
    from mask_rcnn.scale.parquet_folder import part_files, read_rows

    num_images, num_objects, used, failures = 0, 0, {}, []
    for row in read_rows(args.parquet, ["file", "scores", "used_bits", "error"]):
        num_images += 1
        num_objects += len(row["scores"] or [])
        if row["used_bits"] is not None:
            used[row["file"]] = row["used_bits"]
        if row["error"] is not None:
            failures.append(f"{row['file']}: {row['error']}")
    print_line(
        f"Rows: {args.parquet}, {num_images:,} images with {num_objects:,} objects in "
        f"{len(part_files(args.parquet))} files"
    )
    if warning := bit_depth_warning(used, args.bit_depth):
        print_line(f"Warning: {warning} The option of this command is --bit-depth.")
    if failures:
        listed = "\n  ".join(failures[:MAX_FAILURES])
        more = f"\n  and {len(failures) - MAX_FAILURES} more" if len(failures) > MAX_FAILURES else ""
        raise PartialFailure(
            f"{len(failures)} of {num_images} images failed, the others are done. "
            f"The same command tries these again:\n  {listed}{more}"
        )
