"""Unreadable images during training: a few are replaced, too many stop the run with an error."""

from collections.abc import Iterator
from types import TracebackType

from absl import logging

from mask_rcnn.config import Config
from mask_rcnn.data.findings import listed
from mask_rcnn.data.records import Dataset


class BadImages:
    """Counts and reports the images of a run that cannot be read.

    A file can pass the check of its header and still fail to decode, or disappear during the run.

    Use it as a context manager around the training loop. If there were too many bad images, it replaces the
    error of the TensorFlow op that requested the last image by `error`, which lists all of them.

    Args:
        dataset: `Dataset`.
        config: `Config`. At most the fraction `data.max_bad_images` of the images may be bad, including those
            that the reader left out.

    Attributes:
        reasons: {index of the image: error message}.
        error: ValueError about too many bad images, or None.
    """

    def __init__(self, dataset: Dataset, config: Config):
        self.dataset = dataset
        self.max_bad_images = config.data.max_bad_images
        self.reasons = {}
        self.error = None

    def first_good(self, indices: Iterator[int]) -> int:
        """Returns the first image that is not known to be bad.

        Args:
            indices: Iterator of candidate image indices.

        Raises:
            ValueError: All of them are bad.
        """
        for index in indices:
            if index not in self.reasons:
                return index
        raise self._too_many()

    def add(self, index: int, reason: str) -> None:
        """Adds an image that cannot be used. Adding it again has no effect.

        Args:
            index: Index of the image.
            reason: Text that names its file and the problem.

        Raises:
            ValueError: Too many images are bad.
        """
        if index in self.reasons:
            return
        self.reasons[index] = reason
        logging.warning("%s: an image is replaced by another one. %s", self.dataset.name, reason)
        num_bad, num_images = self._counts()
        if num_bad > self.max_bad_images * num_images:
            raise self._too_many()

    def _counts(self):
        """Returns the numbers of bad images and of all images, including those that the reader left out."""
        left_out = self.dataset.num_left_out
        return len(self.reasons) + left_out, len(self.dataset) + left_out

    def _too_many(self):
        """Returns the error that lists the bad images, and stores it as `error`."""
        reasons = [reason for _, reason in sorted(self.reasons.items())]
        listing = "\n  ".join(listed(reasons))
        num_bad, num_images = self._counts()
        self.error = ValueError(
            f"Expected at most {self.max_bad_images:.1%} of the images to be unusable. "
            f"Received: {self.dataset.name}, {num_bad} of {num_images}; {len(reasons)} found in training:\n"
            f"  {listing}\nCorrect them, or allow more with `data.max_bad_images`."
        )
        return self.error

    def __enter__(self) -> "BadImages":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.error is not None and isinstance(error, Exception):
            raise self.error from error
