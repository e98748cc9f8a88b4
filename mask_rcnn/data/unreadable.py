"""Unreadable images during evaluation: a few are not scored, too many stop it with an error."""

from absl import logging

from mask_rcnn.data.findings import listed
from mask_rcnn.data.records import Dataset, ImageRecord


class UnreadableImages:
    """Counts the images of a data set that cannot be read, and reports each of them once.

    A file can pass the check of its header and still fail to decode, or disappear after the check.

    Args:
        dataset: `Dataset`.
        max_bad_images: Maximum fraction of bad images, including those that the reader left out.

    Attributes:
        reasons: `{image id: error message}`.
    """

    def __init__(self, dataset: Dataset, max_bad_images: float):
        self.dataset = dataset
        self.max_bad_images = max_bad_images
        self.reasons = {}

    def add(self, record: ImageRecord, error: Exception | str) -> None:
        """Adds an image that cannot be read. Adding it again has no effect.

        Args:
            record: Its `ImageRecord`.
            error: `UnreadableImage` or its message.

        Raises:
            ValueError: Too many images are bad.
        """
        if record.id not in self.reasons:
            self.reasons[record.id] = str(error)
            logging.warning("%s: an image is not scored. %s", self.dataset.name, error)
        left_out = self.dataset.num_left_out
        num_bad, num_images = len(self.reasons) + left_out, len(self.dataset) + left_out
        if num_bad > self.max_bad_images * num_images:
            listing = "\n  ".join(listed(self._in_order()))
            raise ValueError(
                f"Expected at most {self.max_bad_images:.1%} of the images to be unusable. "
                f"Received: {self.dataset.name}, {num_bad} of {num_images}; {len(self.reasons)} found in the "
                f"evaluation:\n  {listing}\nCorrect them, or allow more with `data.max_bad_images`."
            )

    def warnings(self) -> list[str]:
        """Returns a list with a sentence about the images that are not scored, or an empty list."""
        if not self.reasons:
            return []
        listing = "; ".join(listed(self._in_order()))
        return [f"{len(self.reasons)} images cannot be read and are not scored: {listing}"]

    def _in_order(self):
        """Returns the list of error messages in the order of the data set."""
        return [self.reasons[image.id] for image in self.dataset.images if image.id in self.reasons]
