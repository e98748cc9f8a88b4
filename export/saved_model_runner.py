"""Runs a SavedModel of `mask-rcnn export` with TensorFlow alone: nothing of mask_rcnn is imported."""

from pathlib import Path

import tensorflow as tf


def set_threads(threads):
    """Lets an op use so many threads; None leaves them as they are.

    Raises:
        RuntimeError: TensorFlow has computed something before, and now keeps the threads it has.
    """
    if threads in (None, tf.config.threading.get_intra_op_parallelism_threads()):
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    except RuntimeError as error:
        raise RuntimeError(
            "The number of threads must be set before TensorFlow's first op in a process. "
            f"Received: threads={threads}. Load the model first of all, or leave `threads` out."
        ) from error


class Runner:
    """A SavedModel, fed with one image at a time.

    Args:
        path: its folder.
        threads: as in `set_threads`.

    Attributes:
        assets: `{name: text}`: `labels.txt`, `categories.json`, `config.yaml`.
        versions: `{name: version}` of what runs it.

    Call arguments:
        image: `[H, W, 3]` uint8 RGB.

    Returns:
        `{name: array}`: `detection_boxes` `[D, 4]` and the others, without the batch.
    """

    def __init__(self, path, threads=None):
        set_threads(threads)
        self._model = tf.saved_model.load(path)  # the signatures live as long as it does
        self._detect = self._model.signatures["serving_default"]
        self.assets = {file.name: file.read_text("utf-8") for file in Path(path, "assets").iterdir()}
        self.versions = {"tensorflow": tf.__version__}

    def __call__(self, image):
        outputs = self._detect(input_tensor=tf.constant(image[None]))
        return {name: output[0].numpy() for name, output in outputs.items()}
