"""Frames from video files and into them, by OpenCV."""

import contextlib
import os

import cv2
import numpy as np

from mask_rcnn.cli.pictures import mark_video
from mask_rcnn.data.images import check_regular_file
from mask_rcnn.files import atomic_write

CODEC = "mp4v"  # MPEG-4 part 2: the one that OpenCV's wheels can always write
DEFAULT_RATE = 25.0  # frames per second, for files that do not say
# Containers round the number of their frames; a file that lacks more of them than this is damaged.
MISSING_SHARE = 0.02
FFMPEG_QUIET = "-8"  # FFmpeg writes what it thinks of a file on stderr otherwise

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", FFMPEG_QUIET)


def count_frames(path):
    """Returns how many frames the file says it has; 1 if it does not say, or is no video."""
    with contextlib.suppress(OSError, ValueError), _opened(path) as capture:
        return max(1, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
    return 1


def frame_rate(path):
    """Returns the frames per second."""
    with _opened(path) as capture:
        return capture.get(cv2.CAP_PROP_FPS) or DEFAULT_RATE


def read_frames(path):
    """Yields the frames of a video file, uint8 `[H, W, 3]`, RGB.

    Raises:
        ValueError: there are no frames, or the file ends long before the last one; after those that are
            there.
    """
    num_frames = 0
    with _opened(path) as capture:
        declared = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        while True:
            found, frame = capture.read()
            if not found:
                break
            num_frames += 1
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    if num_frames == 0:
        raise ValueError(
            f"Expected a video file with frames. Received: path={str(path)!r}, in which OpenCV finds none. "
            "Convert it to mp4."
        )
    if num_frames < declared * (1 - MISSING_SHARE) - 1:
        raise ValueError(
            f"Expected a complete video file. Received: path={str(path)!r}, which breaks off after "
            f"{num_frames} of {declared} frames. Copy the file again; the frames before are done."
        )


@contextlib.contextmanager
def open_writer(path, rate):
    """Gives a function that appends a frame, uint8 `[H, W, 3]` RGB, to the mp4 file at `path`.

    An error inside the context ends the file with the frames before. Without any frame there is no file.

    Raises:
        OSError: not every frame arrived in the file; OpenCV itself reports nothing.
    """
    failure = None
    with atomic_write(path) as new:
        writer, sizes = cv2.VideoWriter(), []

        def write(frame):
            sizes.append(frame.shape[:2])
            if sizes[-1] != sizes[0]:  # OpenCV would drop it without a word
                raise ValueError(
                    f"All frames of a video must have one size. Received: {sizes[0]} and {sizes[-1]} "
                    "(height, width). Split the video."
                )
            fourcc = cv2.VideoWriter_fourcc(*CODEC)
            if not writer.isOpened() and not writer.open(str(new), fourcc, rate, sizes[0][::-1]):
                raise _write_error(path)
            writer.write(np.ascontiguousarray(frame[..., ::-1]))

        try:
            yield write
        except BaseException as error:
            if not new.is_file():
                raise
            failure = error
        finally:
            writer.release()
        complete = [size for size in sizes if size == sizes[0]]
        if not new.is_file() or count_frames(new) < len(complete):
            raise _write_error(path) from failure
        mark_video(new)
    if failure is not None:
        raise failure


def writer_of(frame):
    """Returns the context of `open_writer` for the drawn video of a `Frame`, or one that gives None."""
    if frame.number is None or frame.picture is None:
        return contextlib.nullcontext()
    return open_writer(frame.picture, frame_rate(frame.file))


def _write_error(path):
    return OSError(
        f"Expected to write a video. Received: {str(path)!r}, which cannot be written. "
        "Check the disk space and the permissions of the folder, or give --no-pictures."
    )


@contextlib.contextmanager
def _opened(path):
    check_regular_file(path)
    # By FFmpeg alone: other backends take a `%` in a name for a sequence of files.
    capture = cv2.VideoCapture(os.path.abspath(path), cv2.CAP_FFMPEG)
    try:
        yield capture
    finally:
        capture.release()
