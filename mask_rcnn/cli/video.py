"""Reads and writes video files with OpenCV."""

import contextlib
import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import cv2
import numpy as np

from mask_rcnn.cli.frames import Frame
from mask_rcnn.cli.pictures import mark_video
from mask_rcnn.data.image_io.images import check_regular_file
from mask_rcnn.system.files import atomic_write

CODEC = "mp4v"  # MPEG-4 part 2, which OpenCV's wheels can always write
DEFAULT_RATE = 25.0  # frames per second, for files without a rate
# Containers round their number of frames. A file in which a larger fraction is missing is damaged.
MAX_MISSING_FRACTION = 0.02
FFMPEG_QUIET = "-8"  # suppresses FFmpeg's messages about a file on stderr

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", FFMPEG_QUIET)


def count_frames(path: Path) -> int:
    """Returns the number of frames that a file declares, or 1 if it declares none or is not a video."""
    with contextlib.suppress(OSError, ValueError), _opened(path) as capture:
        return max(1, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
    return 1


def frame_rate(path: Path) -> float:
    """Returns the frame rate of a video file, frames per second. It is DEFAULT_RATE if the file has none."""
    with _opened(path) as capture:
        return capture.get(cv2.CAP_PROP_FPS) or DEFAULT_RATE


def read_frames(path: Path) -> Generator[np.ndarray, None, None]:
    """Yields the frames of a video file, `[H, W, 3]` uint8 RGB.

    Raises:
        ValueError: There are no frames, or the file ends long before the declared number. In that case the
            existing frames have been yielded before.
    """
    num_frames = 0
    with _opened(path) as capture:
        declared = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        while True:
            is_frame, frame = capture.read()
            if not is_frame:
                break
            num_frames += 1
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    if num_frames == 0:
        raise ValueError(
            f"Expected a video file with frames. Received: path={str(path)!r}, in which OpenCV finds none. "
            "Convert it to mp4."
        )
    if num_frames < declared * (1 - MAX_MISSING_FRACTION) - 1:
        raise ValueError(
            f"Expected a complete video file. Received: path={str(path)!r}, which ends after "
            f"{num_frames} of {declared} frames. Copy the file again. The frames before are done."
        )


@contextlib.contextmanager
def open_writer(path: Path, rate: float) -> Iterator[Callable[[np.ndarray], None]]:
    """A context manager that yields a function which appends a frame, `[H, W, 3]` uint8 RGB, to an mp4 file.

    If an error occurs inside the context, the file has the frames before it. Without frames there is no file.

    Args:
        path: Path of the file.
        rate: Frames per second.

    Raises:
        OSError: Not every frame was written. OpenCV itself reports no errors.
        ValueError: The frames have different sizes.
    """
    failure = None
    with atomic_write(path) as new:
        writer, sizes = cv2.VideoWriter(), []

        def write(frame: np.ndarray) -> None:
            sizes.append(frame.shape[:2])
            if sizes[-1] != sizes[0]:  # OpenCV would drop it without an error
                raise ValueError(
                    f"All frames of a video must have one size. Received: {sizes[0]} and {sizes[-1]} "
                    "(height, width). Split the video."
                )
            fourcc = cv2.VideoWriter.fourcc(*CODEC)
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


def writer_of(
    frame: Frame,
) -> contextlib.AbstractContextManager[Callable[[np.ndarray], None] | None]:
    """Returns `open_writer` for the drawn video of a `Frame`, or a context manager that yields None."""
    if frame.number is None or frame.picture is None:
        return contextlib.nullcontext()
    return open_writer(frame.picture, frame_rate(frame.file))


def _write_error(path: Path) -> OSError:
    return OSError(
        f"Expected to write a video. Received: {str(path)!r}, which cannot be written. "
        "Check the disk space and the permissions of the folder, or give --no-pictures."
    )


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[cv2.VideoCapture]:
    check_regular_file(path)
    # FFmpeg only: other backends interpret a `%` in a name as a sequence of files.
    capture = cv2.VideoCapture(os.path.abspath(path), cv2.CAP_FFMPEG)
    try:
        yield capture
    finally:
        capture.release()
