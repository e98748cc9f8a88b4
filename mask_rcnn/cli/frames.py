"""Yields the images of files and the frames of videos in order."""

import argparse
import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mask_rcnn.cli.inputs import is_video
from mask_rcnn.cli.outcome import Outcome
from mask_rcnn.config import InputConfig


@dataclass(frozen=True, eq=False, kw_only=True)
class Frame:
    """An image to detect objects in: an image file or a frame of a video.

    Args:
        file: `Path` of the image or video.
        name: Name of the file in the results.
        picture: `Path` of the drawn picture or video. Defaults to None, which draws nothing.
        number: Index of the frame in its video, from 0. Defaults to None, for an image file.
        pixels: `[H, W, 3]` uint8 RGB of a video frame. Defaults to None, for an image file.
        error: Exception that explains why there is no image. Defaults to None.
    """

    file: Path
    name: str
    picture: Path | None = None
    number: int | None = None
    pixels: np.ndarray | None = None
    error: Exception | None = None


def list_frames(files: Mapping[Path, str], args: argparse.Namespace, outcome: Outcome) -> Iterator[Frame]:
    """Yields a `Frame` for each image and each frame of a video. An error becomes a `Frame` with `error`.

    Args:
        files: `{path: name}` of the files.
        args: Arguments of `detect`.
        outcome: `Outcome`. Skipped files and renamed pictures are added. If a video is in `outcome.failed`,
            the rest of it is not read.
    """
    from mask_rcnn.cli.pictures import is_drawn, picture_path

    taken = {os.path.realpath(file) for file in files}
    for file, name in files.items():
        if is_drawn(file):
            outcome.skipped.add("pictures that `detect` drew", file)
            continue
        frame = Frame(file=file, name=name)
        try:
            if not args.no_pictures:
                picture = picture_path(file, args.out, taken)
                frame = replace(frame, picture=picture)
                if picture.stem != file.stem:
                    outcome.renamed.append(f"{file} -> {picture}")
            yield from _video_frames(frame, outcome) if is_video(file) else [frame]
        except Exception as error:  # continues with the other files
            yield replace(frame, error=error)


def _video_frames(frame: Frame, outcome: Outcome) -> Iterator[Frame]:
    from mask_rcnn.cli.video import read_frames

    with contextlib.closing(read_frames(frame.file)) as images:
        for number, pixels in enumerate(images):
            if frame.file in outcome.failed:
                return
            yield replace(frame, number=number, pixels=pixels)


def image_of_frame(
    frame: Frame, *, outcome: Outcome, settings: InputConfig, in_tiles: bool
) -> np.ndarray | Path:
    """Returns the image of a frame for `predict_many`, an array or a path, or raises its error.

    Args:
        frame: `Frame`.
        outcome: `Outcome`. The number of bits that a 16-bit file uses is added.
        settings: `InputConfig` of the model.
        in_tiles: Whether TIFF files are read in windows. Then they may have any size.
    """
    if frame.error is not None:
        raise frame.error
    if frame.pixels is not None:
        return frame.pixels
    from mask_rcnn.data.image_io.images import check_regular_file, read_header, used_bits
    from mask_rcnn.data.image_io.tiff import is_tiff

    check_regular_file(frame.file)
    channels = settings.channels
    if in_tiles and channels == 3 and is_tiff(frame.file):
        _check_drawable(frame, outcome.max_pixels)
    elif frame.file not in outcome.used_bits:
        header = read_header(frame.file, outcome.max_pixels, channels)
        if header.bits == 16 and (bits := used_bits(frame.file, channels)) is not None:
            outcome.used_bits[frame.file] = bits
    return frame.file


def _check_drawable(frame: Frame, max_pixels: int) -> None:
    """Raises a ValueError if a picture of a TIFF file is to be drawn, and the file is too large for that."""
    from mask_rcnn.data.image_io.tiff import TiffImage

    if frame.picture and not TiffImage(frame.file, max_pixels).has_whole:
        raise ValueError(
            f"Detections can be drawn on images of at most {max_pixels / 1e6:g} million pixels. "
            f"Received: {frame.file}, which has more. Give --no-pictures, or raise --max-pixels."
        )
