"""Frames from video files and into them, by OpenCV."""

import contextlib

import cv2
import numpy as np

CODEC = "mp4v"  # MPEG-4 part 2: the one that OpenCV's wheels can always write
DEFAULT_RATE = 25.0  # frames a second, where the file does not tell


def count_frames(path):
    """How many frames the file says it has; 1 where it does not say."""
    with _open(path) as capture:
        return max(1, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))


def frame_rate(path):
    """Frames a second."""
    with _open(path) as capture:
        return capture.get(cv2.CAP_PROP_FPS) or DEFAULT_RATE


def read_frames(path):
    """Yields the frames of a video file, uint8 `[H, W, 3]`, RGB."""
    num_frames = 0
    with _open(path) as capture:
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


@contextlib.contextmanager
def open_writer(path, rate):
    """Gives a function that appends a frame, uint8 `[H, W, 3]` RGB, to the mp4 file at `path`."""
    writer = cv2.VideoWriter()

    def write(frame):
        if not writer.isOpened():
            height, width = frame.shape[:2]
            if not writer.open(str(path), cv2.VideoWriter_fourcc(*CODEC), rate, (width, height)):
                raise OSError(f"The video {str(path)!r} cannot be written. Is the disk full?")
        writer.write(np.ascontiguousarray(frame[..., ::-1]))

    try:
        yield write
    finally:
        writer.release()


@contextlib.contextmanager
def _open(path):
    capture = cv2.VideoCapture(str(path))
    try:
        yield capture
    finally:
        capture.release()
