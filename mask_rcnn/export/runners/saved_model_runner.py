"""Runs a SavedModel of `mask-rcnn export` with TensorFlow only, without importing mask_rcnn."""

import hashlib
import json
from pathlib import Path

import numpy as np
import tensorflow as tf

CHECKSUMS = "assets.extra/sha256.json"  # file in the model folder, `{path of a file: SHA-256}`


def set_threads(threads: int | None) -> None:
    """Sets the number of threads that an op may use.

    Args:
        threads: Int, or None to keep the current setting.

    Raises:
        RuntimeError: TensorFlow has already run an op in this process and can no longer change the setting.
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
    """Runs a SavedModel on one image, or on a batch of images of one size.

    Args:
        path: Folder of the SavedModel.
        threads: Int or None, as in `set_threads`.

    Attributes:
        assets: `{file name: text}` of `labels.txt`, `categories.json` and `config.yaml`.
        versions: `{package: version}` of TensorFlow.
        signatures: `{name: function}` of the SavedModel.

    Call arguments:
        image: `[H, W, C]` array, uint8 RGB unless the model takes another format.

    Returns:
        `{name: array}`: `detection_boxes` `[D, 4]` and the other outputs, without the batch axis.
    """

    def __init__(self, path: Path | str, threads: int | None = None):
        set_threads(threads)
        check_files(path)
        self._model = tf.saved_model.load(str(path))  # keeps a reference: the signatures need it
        self.signatures = self._model.signatures
        self._detect = self.signatures["serving_default"]
        self.assets = {file.name: file.read_text("utf-8") for file in Path(path, "assets").iterdir()}
        self.versions = {"tensorflow": tf.__version__}

    def __call__(self, image: np.ndarray) -> dict[str, np.ndarray]:
        return self.detect_batch(image[None])[0]

    def detect_batch(self, images: np.ndarray) -> list[dict[str, np.ndarray]]:
        """Returns a list with the outputs for each image of a batch.

        Args:
            images: `[B, H, W, C]` array, as in the call.

        Returns:
            List of `{name: array}`, without the batch axis.
        """
        outputs = self._detect(input_tensor=tf.constant(images))
        arrays = {name: output.numpy() for name, output in outputs.items()}
        return [{name: array[index] for name, array in arrays.items()} for index in range(len(images))]


def checksums(folder: Path | str) -> dict[str, str]:
    """Returns `{path: SHA-256}` of the files of a SavedModel, without those in `assets.extra`."""
    files = sorted(file for file in Path(folder).rglob("*") if file.is_file())
    names = {file: file.relative_to(folder).as_posix() for file in files}
    return {
        name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file, name in names.items()
        if not name.startswith("assets.extra/")
    }


def check_files(folder: Path | str) -> None:
    """Raises a ValueError if files of a SavedModel are damaged or missing.

    Folders from earlier versions have no checksums. For them, only the folder `assets` must exist.
    """
    file = Path(folder, CHECKSUMS)
    if not file.is_file():
        if not Path(folder, "assets").is_dir():
            raise damaged(folder, "without assets")
        return
    try:
        expected = dict(json.loads(file.read_text("utf-8")))
    except (ValueError, TypeError, RecursionError) as error:
        raise damaged(folder, f"{CHECKSUMS} cannot be read: {error}") from error
    found = checksums(folder)
    if missing := sorted(set(expected) - set(found)):
        raise damaged(folder, f"without {', '.join(missing)}")
    if wrong := [name for name in expected if found[name] != expected[name]]:
        raise damaged(folder, f"the checksum is wrong: {', '.join(wrong)}")


def damaged(path: Path | str, reason: str) -> ValueError:
    """Returns the ValueError for an incomplete or damaged model."""
    return ValueError(
        f"Expected a complete model of `mask-rcnn export`. Received: {str(path)!r} ({reason}). "
        "Copy the folder again, or export the weights again."
    )
