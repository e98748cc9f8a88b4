"""Serves a SavedModel of `mask-rcnn export` with KServe's V1 protocol: nothing of mask_rcnn is imported.

    pip install kserve tensorflow
    python kserve_model.py --model_name=fruits --model_dir=models/fruits/1

Requests and answers are those of TensorFlow Serving: `{"signature_name": "image_bytes", "instances": [{"b64":
"..."}]}`, or `{"instances": [[[[r, g, b], ...]]]}` for `serving_default`.

KServe needs another protobuf than a newer TensorFlow brings: give both an environment of their own. Its V2
protocol fails on image files, whose bytes it reads as UTF-8 text: use V1.
"""

import argparse
import asyncio
import base64
import binascii
import threading

import kserve
import numpy as np
import tensorflow as tf
from kserve.errors import InvalidInput

DEFAULT_SIGNATURE = "serving_default"


class SavedModel(kserve.Model):
    """A SavedModel, in KServe.

    Args:
        name: In urls.
        folder: Of the SavedModel.
    """

    def __init__(self, name, folder):
        super().__init__(name)
        self._folder = folder
        self._lock = threading.Lock()  # one request at a time: each uses all cores
        self._model = None

    def load(self):
        self._model = tf.saved_model.load(self._folder)
        self.ready = True
        return self.ready

    async def predict(self, payload, headers=None, response_headers=None):
        return await asyncio.to_thread(self._answer, payload)

    def _answer(self, payload):
        """Returns `{"predictions": [{name: value}]}`, one for each instance of the payload."""
        name = payload.get("signature_name", DEFAULT_SIGNATURE)
        if name not in self._model.signatures:
            raise InvalidInput(f"Expected signature_name, one of {', '.join(self._model.signatures)}.")
        signature = self._model.signatures[name]
        ((input_name, spec),) = signature.structured_input_signature[1].items()
        inputs = _read_instances(payload.get("instances"), spec)
        try:
            with self._lock:
                outputs = signature(**{input_name: inputs})
        except tf.errors.InvalidArgumentError as error:  # an image that cannot be decoded, with its index
            lines = [line for line in error.message.splitlines() if line and not line.startswith("\t")]
            raise InvalidInput(lines[-1]) from error
        columns = {name: output.numpy().tolist() for name, output in outputs.items()}
        rows = zip(*columns.values(), strict=True)
        return {"predictions": [dict(zip(columns, row, strict=True)) for row in rows]}


def _read_instances(instances, spec):
    """Returns the tensor of the instances of a request: bytes in base64, or nested lists of numbers."""
    if not isinstance(instances, list) or not instances:
        raise InvalidInput('Expected a list of one or more values in "instances".')
    try:
        if spec.dtype == tf.string:
            return tf.constant([base64.b64decode(each["b64"], validate=True) for each in instances])
        pixels = np.array(instances)
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        kind = '{"b64": "..."}' if spec.dtype == tf.string else "nested lists of equal lengths"
        raise InvalidInput(f'Expected {kind} in "instances". Received: {error}.') from error
    limits = np.iinfo(spec.dtype.as_numpy_dtype)
    is_whole = (
        pixels.dtype.kind in "iu" and pixels.size and limits.min <= pixels.min() <= pixels.max() <= limits.max
    )
    if not is_whole or not spec.shape.is_compatible_with(pixels.shape):
        raise InvalidInput(
            f"Expected {spec.dtype.name} of shape {spec.shape}. Received: shape {pixels.shape}."
        )
    return tf.constant(pixels, spec.dtype)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(parents=[kserve.model_server.parser])
    parser.add_argument("--model_dir", required=True, help="folder of the SavedModel")
    args, _ = parser.parse_known_args()
    model = SavedModel(args.model_name, args.model_dir)
    model.load()
    kserve.ModelServer().start([model])
