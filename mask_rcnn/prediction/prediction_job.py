"""State of one image in the pipeline of a predictor, and the lock that limits the memory of large images."""

import contextlib
import threading
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

# Only one image with more pixels (16.8 million, 50 MB as RGB) is in memory at a time.
LARGE_PIXELS = 1 << 24

_large_image_lock = threading.Lock()


@dataclass(kw_only=True)
class PredictionJob:
    """State of one image in the pipeline.

    Args:
        number: Index of the image among the sources.
        source: The source, as given by the caller.
        key: Batch key. Images of a batch have equal keys. None if the image is a batch of its own.
        is_large: Whether the image is a file of more than `LARGE_PIXELS`.
        image: Pixels `[H, W, C]` if they are kept for `finish`, else None.
        inputs: Model inputs, the first result of `preprocess`.
        resize: The second result of `preprocess`.
        outputs: Model outputs of `detect_batch` for the image, such as `{name: array}`.
        error: The exception if a stage failed, else None.
    """

    number: int
    source: Any
    key: Hashable = None
    is_large: bool = False
    image: np.ndarray | None = None
    inputs: Any = None
    resize: Any = None
    outputs: Any = field(default_factory=dict)
    error: Exception | None = None

    def memory_lock(self) -> contextlib.AbstractContextManager:
        """Returns a context for the pixels of the image. Only one large image is in memory at a time."""
        return _large_image_lock if self.is_large else contextlib.nullcontext()
