"""Base class of predictors: a pipeline that reads, detects and post-processes many images in parallel.

    sources -> threads: read, preprocess -> batches of one shape -> model -> threads: postprocess -> in order

The model runs in its own thread, so it waits neither for image reading nor for the loop of the caller. All
queues are bounded: when the caller is slow, the earlier stages wait.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Hashable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from mask_rcnn.config import Config
from mask_rcnn.data.image_io.array_images import checked_image
from mask_rcnn.data.image_io.image_headers import MAX_PIXELS
from mask_rcnn.data.image_io.images import is_image_file, read_header, read_image
from mask_rcnn.errors import UnreadableImage, short_message
from mask_rcnn.prediction.prediction_job import LARGE_PIXELS, PredictionJob
from mask_rcnn.structures import Category, Detections
from mask_rcnn.system.parallel import default_threads, equal_batches, in_background, in_order, submit_ahead
from mask_rcnn.system.paths import AnyPath

WINDOW_BATCHES = 4  # an image waits for others of its shape for at most this many batches of images


class ImagePredictor:
    """Base class of predictors: detects objects in one image, or in many with all cores and in batches.

    A subclass sets the attributes `config` and `categories`. It defines the methods `preprocess`,
    `batch_key`, `detect_batch` and `postprocess`. The types of the model inputs, of the model outputs and of
    `resize` depend on the subclass.

    Attributes:
        config: The `Config` of the model.
        categories: Tuple of `Category`. Class id i is `categories[i - 1]`.
        max_pixels: Maximum height times width of an image file. Defaults to `MAX_PIXELS`. A `Predictor` takes
            it from the config field `data.max_pixels`.
    """

    config: Config
    categories: tuple[Category, ...]
    max_pixels: int = MAX_PIXELS

    def preprocess(self, image: np.ndarray) -> tuple[Any, Any]:
        """Prepares one image for the model.

        Args:
            image: `[H, W, C]`, with the channels and dtype of the config's `input` section. By default
                uint8 RGB.

        Returns:
            Tuple (inputs, resize): the model's inputs, and what `postprocess` needs.
        """
        raise NotImplementedError

    def batch_key(self, image_size: tuple[int, int]) -> Hashable:
        """Returns the batch key of an image: only images with equal keys share a batch.

        Args:
            image_size: (height, width) of the image, pixels.

        Returns:
            A hashable value. None if the image must be a batch of its own.
        """
        raise NotImplementedError

    def detect_batch(self, inputs: list) -> list:
        """Runs the model on a batch.

        Args:
            inputs: List with the model inputs of each image. All images have the same `batch_key`.

        Returns:
            List with the model outputs of each image, `{name: array}`.
        """
        raise NotImplementedError

    def postprocess(self, outputs: Any, resize: Any, score_threshold: float = 0.0) -> Detections:
        """Converts the model outputs of one image to detections.

        Args:
            outputs: Model outputs of the image, from `detect_batch`.
            resize: The second result of `preprocess` for the image.
            score_threshold: Detections with lower scores are removed. Defaults to 0.

        Returns:
            `Detections` in the pixels of the image.
        """
        raise NotImplementedError

    def scaled(self, scale: float) -> ImagePredictor:
        """Returns a predictor of the same model that resizes images to `scale` times the config's sides.

        Raises a ValueError if the model is an export, which has one input size, and `scale` is not 1.
        """
        if scale == 1:
            return self
        raise ValueError(
            "This model resizes images itself, so it has only one input size. "
            f"Received: a scale of {scale:g}. Omit the scales, or use the weights that were exported."
        )

    def default_batch_size(self) -> int:
        """Returns the number of images per batch that is fast on this machine."""
        return 1

    def max_detections(self, image_size: tuple[int, int]) -> int:
        """Returns the maximum number of detections in an image of (height, width) `image_size`."""
        return self.config.box_head.max_detections

    def predict(self, image: np.ndarray | str | Path) -> Detections:
        """Detects the objects in one image.

        Args:
            image: `[H, W, C]` array, or the path of an image file. The config fields `input.channels` and
                `input.dtype` set C and the dtype of an array. Their defaults are 3 (RGB) and uint8.

        Returns:
            `Detections` in the pixels of the image, sorted by descending score.

        Raises:
            OSError: If the file cannot be read.
            ValueError: If the file is not a readable image, or the array has another shape or dtype.
        """
        inputs, resize = self.preprocess(self._read(image))
        return self.postprocess(self.detect_batch([inputs])[0], resize)

    def predict_many(
        self,
        sources: Iterable[Any],
        *,
        batch_size: int | None = None,
        threads: int | None = None,
        image_of: Callable[[Any], np.ndarray | AnyPath] | None = None,
        batch_of: Callable[[Any], Hashable] | None = None,
        finish: Callable[[Any, Detections, Callable[[], np.ndarray]], Any] | None = None,
        keep_images: bool = False,
        score_threshold: float = 0.0,
    ) -> Generator[tuple[Any, Any], None, None]:
        """Detects the objects in many images, in bounded memory.

        Images with equal padded shapes are detected in batches. The results equal those of `predict`, up to
        rounding in the operations of the model. An image that fails does not stop the others.

        Args:
            sources: Iterable of images as for `predict`, or of any objects if `image_of` is given. Another
                thread iterates over it, a few images ahead.
            batch_size: Number of images per batch, on all replicas together. Defaults to None, the number
                that is fast on this machine.
            threads: Number of threads that read images and post-process detections. Defaults to None, one
                per core, at most 8.
            image_of: Function of a source that returns an array or a path. Defaults to None, the source
                itself.
            batch_of: Function of a source. Only images with equal results share a batch. Defaults to None:
                sources do not limit the batches.
            finish: Function of `(source, detections, pixels)`, called in a thread. `pixels()` returns the
                image, `[H, W, C]`. Its result is yielded instead of the detections. Defaults to None.
            keep_images: Whether to keep the pixels in memory for `finish`. Files of more than 16.8 million
                pixels are read again in any case. Defaults to False: `pixels()` reads the file again.
            score_threshold: Detections with lower scores are removed. Defaults to 0.

        Yields:
            `(source, result)` in the order of `sources`. The result is a `Detections`, the return value of
            `finish`, or an exception. The exception is `UnreadableImage` if the image cannot be read or used.

        Raises:
            ValueError: If `batch_size` or `threads` is less than 1.
        """
        batch_size = self.default_batch_size() if batch_size is None else batch_size
        threads = default_threads() if threads is None else threads
        _check_positive(batch_size=batch_size, threads=threads)
        image_of = image_of or (lambda source: source)
        batch_of = batch_of or (lambda source: None)
        prepare = functools.partial(
            self._prepare, image_of=image_of, batch_of=batch_of, keep_image=keep_images
        )
        complete = functools.partial(
            self._complete, image_of=image_of, finish=finish, score_threshold=score_threshold
        )
        pool = ThreadPoolExecutor(threads, "predict_many")
        jobs = (PredictionJob(number=number, source=source) for number, source in enumerate(sources))
        prepared = (
            future.result() for _, future in submit_ahead(pool, prepare, jobs, ahead=threads + batch_size)
        )
        window = WINDOW_BATCHES * batch_size if batch_size > 1 else 0
        batches = equal_batches(prepared, lambda job: job.key, batch_size=batch_size, window=window)
        background = in_background(self._detect_batches(batches, pool, complete), threads + batch_size)
        try:
            for future in in_order(background):
                yield future.result()
        finally:  # also if the caller leaves the loop early: jobs that have not started are canceled
            pool.shutdown(wait=False, cancel_futures=True)
            background.close()
            pool.shutdown()

    def _detect_batches(self, batches, pool, complete):
        """Runs the model on each batch. Yields (number, future of (source, result)) for each image."""
        for batch in batches:
            self._detect(batch)
            for job in batch:
                yield job.number, pool.submit(complete, job)

    def _read(self, image):
        """Returns the pixels of an array or a file, `[H, W, C]`."""
        settings = self.config.input
        if is_image_file(image):
            return read_image(image, settings.bit_depth, self.max_pixels, **settings.pixel_format)
        return checked_image(image, settings)

    def _is_large(self, image):
        """Returns whether an image is a file of more than `LARGE_PIXELS`. An array is already in memory."""
        if not is_image_file(image):
            return False
        header = read_header(image, self.max_pixels, self.config.input.channels)
        return header.height * header.width > LARGE_PIXELS

    def _prepare(self, job, *, image_of, batch_of, keep_image):
        """Reads and preprocesses the image of a job. Stores an exception in the job."""
        try:
            image_source = image_of(job.source)
            job.is_large = self._is_large(image_source)
            with job.memory_lock():
                image = self._read(image_source)
                job.inputs, job.resize = self.preprocess(image)
            shape_key = self.batch_key(image.shape[:2])
            job.key = shape_key and (batch_of(job.source), shape_key)
            if keep_image and not job.is_large:
                job.image = image
        except (ValueError, OSError) as error:
            job.error = UnreadableImage(str(error))
        except Exception as error:  # one bad image must not stop the others
            job.error = error
        return job

    def _detect(self, batch):
        """Sets the outputs of the jobs of a batch. If the batch fails, retries its images one by one."""
        if batch[0].error:
            return
        try:
            outputs = self.detect_batch([job.inputs for job in batch])
        except Exception as error:  # one bad image must not stop the others
            if len(batch) == 1:
                batch[0].error = error
                return
            logging.warning(
                "A batch of %d images failed (%s). Its images are detected one by one.",
                len(batch),
                short_message(error),
            )
            for job in batch:
                self._detect([job])
            return
        for job, image_outputs in zip(batch, outputs, strict=True):
            job.outputs, job.inputs = image_outputs, None  # frees the pixels

    def _complete(self, job, *, image_of, finish, score_threshold):
        """Returns (source, result) of a job. The result may be an exception."""
        try:
            if job.error:
                return job.source, job.error
            detections = self.postprocess(job.outputs, job.resize, score_threshold)
            if finish is None:
                return job.source, detections
            with job.memory_lock():
                return job.source, finish(
                    job.source, detections, functools.partial(self._pixels, job, image_of)
                )
        except Exception as error:
            return job.source, error

    def _pixels(self, job, image_of):
        return self._read(image_of(job.source)) if job.image is None else job.image


def _check_positive(**values):
    for name, value in values.items():
        if value < 1:
            raise ValueError(
                f"`{name}` must be at least 1. Received: {name}={value}. Omit it to use the default."
            )
