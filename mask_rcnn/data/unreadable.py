"""Images that an evaluation cannot read: a few are not scored, too many end it."""

from absl import logging

from mask_rcnn.data.findings import listed


class UnreadableImages:
    """Counts the images of a data set that cannot be read, and reports each once.

    A file can pass the check of its header and fail to decode, or disappear after it.

    Args:
        dataset: A `Dataset`.
        max_bad_images: Fraction of the images that may be bad, together with those that the reader left out.

    Attributes:
        reasons: `{image id: why it cannot be read}`.
    """

    def __init__(self, dataset, max_bad_images):
        self.dataset = dataset
        self.max_bad_images = max_bad_images
        self.reasons = {}

    def add(self, record, error):
        """Adds an image; a known one changes nothing.

        Args:
            record: Its `ImageRecord`.
            error: `UnreadableImage` that says why, or its text.

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

    def warnings(self):
        """Returns a list of one sentence about the images that are not scored, or of none."""
        if not self.reasons:
            return []
        listing = "; ".join(listed(self._in_order()))
        return [f"{len(self.reasons)} images cannot be read and are not scored: {listing}"]

    def _in_order(self):
        """Returns the reasons, a list in the order of the data set."""
        return [self.reasons[image.id] for image in self.dataset.images if image.id in self.reasons]
