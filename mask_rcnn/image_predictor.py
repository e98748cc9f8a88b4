"""What every predictor can do with many images: read ahead, detect in batches, finish beside the model.

    sources -> threads: read, preprocess -> batches of one shape -> model -> threads: postprocess -> in order

The model runs in a thread of its own, so that neither reading nor the loop of the caller makes it wait. Every
stage is bounded: when the caller is slow, the stages before wait.
"""

import contextlib
import functools
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from absl import logging

from mask_rcnn.data.array_images import checked_image
from mask_rcnn.data.image_headers import MAX_PIXELS
from mask_rcnn.data.images import is_image_file, read_header, read_image
from mask_rcnn.errors import UnreadableImage, short_message
from mask_rcnn.parallel import default_threads, equal_batches, in_background, in_order, submit_ahead

# Of larger images (16.8 million pixels, 50 MB) only one is in memory at a time.
LARGE_PIXELS = 1 << 24
WINDOW_BATCHES = 4  # an image waits for others of its shape while so many batches of images come

_large_image = threading.Lock()


@dataclass
class _Job:
    """An image on its way through the stages.

    Args:
        number: Position among the sources.
        source: As the caller gave it.
        key: What it has in common with the images of its batch; None if it is a batch of its own.
        large: Whether it is a very large file.
        image: Pixels `[H, W, 3]` if they are kept for `finish`, else None.
        inputs: Of `detect_batch`.
        resize: The second result of `preprocess`.
        outputs: Of `detect_batch`.
        error: What failed, or None.
    """

    number: int
    source: object
    key: object = None
    large: bool = False
    image: np.ndarray | None = None
    inputs: object = None
    resize: object = None
    outputs: dict = field(default_factory=dict)
    error: Exception | None = None


class ImagePredictor:
    """Finds the objects in images of any size: one, or many with all cores and in batches.

    A subclass has the attributes `config` and `categories`, and the methods `preprocess`, `detect_batch` and
    `postprocess`.

    Attributes:
        max_pixels: Largest height times width of an image file that is read; of a `Predictor`, that of
            `data.max_pixels`.
    """

    max_pixels = MAX_PIXELS

    def preprocess(self, image):
        """Returns `(inputs, resize)`: the model's input for one image, and what `postprocess` needs.

        Args:
            image: `[H, W, 3]` uint8 RGB.
        """
        raise NotImplementedError

    def batch_key(self, image_size):
        """Returns what images of one batch have in common; None if a batch is one image.

        Args:
            image_size: (height, width) of an image.
        """
        raise NotImplementedError

    def detect_batch(self, inputs):
        """Runs the model.

        Args:
            inputs: List of the inputs of images with the same `batch_key`.

        Returns:
            A list with the outputs for each image, `{name: array}`.
        """
        raise NotImplementedError

    def postprocess(self, outputs, resize, score_threshold=0.0):
        """Returns the `Detections` of one image, in its pixels, without those below `score_threshold`."""
        raise NotImplementedError

    def scaled(self, scale):
        """Returns a predictor of the same model that resizes each image to `scale` times the usual sides."""
        if scale == 1:
            return self
        raise ValueError(
            "This model resizes images itself, so that it has one size only. "
            f"Received: a scale of {scale:g}. Leave scales out, or take the weights that were exported."
        )

    def default_batch_size(self):
        """Returns the number of images of a batch that is fast on this machine."""
        return 1

    def max_detections(self, image_size):
        """Returns how many objects the model may find in an image of (height, width) pixels."""
        return self.config.box_head.max_detections

    def predict(self, image):
        """Finds the objects in one image.

        Args:
            image: `[H, W, 3]` uint8 RGB array, or the path of an image file. The arrays of other models have
                `input.channels` and `input.dtype`.

        Returns:
            `Detections` in the pixels of the image, best first.
        """
        inputs, resize = self.preprocess(self._read(image))
        return self.postprocess(self.detect_batch([inputs])[0], resize)

    def predict_many(
        self,
        sources,
        *,
        batch_size=None,
        threads=None,
        image_of=None,
        batch_of=None,
        finish=None,
        keep_images=False,
        score_threshold=0.0,
    ):
        """Finds the objects in many images, in bounded memory.

        Images whose padded shapes are equal are detected together. The results are those of `predict`, up to
        the rounding of the model's operations. An image that fails does not stop the others.

        Args:
            sources: Iterable of images as for `predict`, or of anything that `image_of` turns into one. It is
                iterated in another thread, a few images ahead.
            batch_size: Images that the model sees at once, on all replicas together. Defaults to what is fast
                on this machine.
            threads: Threads that read images and finish detections. Defaults to one for each core, at most 8.
            image_of: Function of a source that returns an array or a path. Defaults to the source itself.
            batch_of: Function of a source. Only images for which it returns the same share a batch. Defaults
                to none: all images may.
            finish: Function of `(source, detections, pixels)` that is called in a thread; `pixels()` returns
                the image `[H, W, 3]`. Its result takes the place of the detections. Defaults to none.
            keep_images: Keep the pixels for `finish`, except of very large images, which are read again.
                Defaults to False: `pixels()` reads the file again.
            score_threshold: Detections with lower scores are left out. Defaults to 0.

        Yields:
            `(source, result)` in the order of `sources`. The result is a `Detections`, or what `finish`
            returned, or an exception: `UnreadableImage` for an image that cannot be used, or what the model
            or `finish` raised.
        """
        batch_size = self.default_batch_size() if batch_size is None else batch_size
        threads = default_threads() if threads is None else threads
        _check_positive(batch_size=batch_size, threads=threads)
        image_of = image_of or (lambda source: source)
        batch_of = batch_of or (lambda source: None)
        prepare = functools.partial(self._prepare, image_of=image_of, batch_of=batch_of, keep=keep_images)
        complete = functools.partial(
            self._complete, image_of=image_of, finish=finish, threshold=score_threshold
        )
        pool = ThreadPoolExecutor(threads, "predict_many")
        jobs = (_Job(number, source) for number, source in enumerate(sources))
        prepared = (future.result() for _, future in submit_ahead(pool, prepare, jobs, threads + batch_size))
        window = WINDOW_BATCHES * batch_size if batch_size > 1 else 0
        batches = equal_batches(prepared, lambda job: job.key, batch_size, window)
        background = in_background(self._finishing(batches, pool, complete), threads + batch_size)
        try:
            for future in in_order(background):
                yield future.result()
        finally:  # also when the caller leaves the loop early: what has not begun is not begun
            pool.shutdown(wait=False, cancel_futures=True)
            background.close()
            pool.shutdown()

    def _finishing(self, batches, pool, complete):
        """Runs the model on each batch; yields (number, future of (source, result)) of its images."""
        for batch in batches:
            self._detect(batch)
            for job in batch:
                yield job.number, pool.submit(complete, job)

    def _read(self, image):
        """Returns the pixels of an array or a file."""
        settings = self.config.input
        if is_image_file(image):
            return read_image(image, settings.bit_depth, self.max_pixels, **settings.pixel_format)
        return checked_image(image, settings)

    def _is_large(self, image):
        """Returns whether an image is a very large file. An array is in memory already."""
        if not is_image_file(image):
            return False
        header = read_header(image, self.max_pixels, self.config.input.channels)
        return header.height * header.width > LARGE_PIXELS

    def _prepare(self, job, image_of, batch_of, keep):
        """Reads and preprocesses the image of a job."""
        try:
            where = image_of(job.source)
            job.large = self._is_large(where)
            with _room(job):
                image = self._read(where)
                job.inputs, job.resize = self.preprocess(image)
            shape_key = self.batch_key(image.shape[:2])
            job.key = shape_key and (batch_of(job.source), shape_key)
            if keep and not job.large:
                job.image = image
        except (ValueError, OSError) as error:
            job.error = UnreadableImage(str(error))
        except Exception as error:  # one bad image must not stop the others
            job.error = error
        return job

    def _detect(self, batch):
        """Fills the outputs of jobs; those of a batch that fails are tried one by one."""
        if batch[0].error:
            return
        try:
            outputs = self.detect_batch([job.inputs for job in batch])
        except Exception as error:  # one bad image must not stop the others
            if len(batch) == 1:
                batch[0].error = error
                return
            logging.warning(
                "A batch of %d images failed (%s). They are tried one by one.",
                len(batch),
                short_message(error),
            )
            for job in batch:
                self._detect([job])
            return
        for job, each in zip(batch, outputs, strict=True):
            job.outputs, job.inputs = each, None  # the pixels are not needed any more

    def _complete(self, job, image_of, finish, threshold):
        """Returns the source of a job, and its result or error."""
        try:
            if job.error:
                return job.source, job.error
            detections = self.postprocess(job.outputs, job.resize, threshold)
            if finish is None:
                return job.source, detections
            with _room(job):
                return job.source, finish(
                    job.source, detections, functools.partial(self._pixels, job, image_of)
                )
        except Exception as error:
            return job.source, error

    def _pixels(self, job, image_of):
        return self._read(image_of(job.source)) if job.image is None else job.image


def _room(job):
    """A context in which the pixels of a job may be in memory: of very large images, one at a time."""
    return _large_image if job.large else contextlib.nullcontext()


def _check_positive(**values):
    for name, value in values.items():
        if value < 1:
            raise ValueError(
                f"`{name}` must be at least 1. Received: {name}={value}. Leave it out for a default."
            )
