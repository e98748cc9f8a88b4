"""Converts between tensors and the JSON of TensorFlow Serving's REST protocol, version 1.

Source: https://www.tensorflow.org/tfx/serving/api_rest. Signatures are dicts as in the reply of `/metadata`,
`{"inputs": {name: info}, "outputs": {name: info}, "method_name": text}`.
"""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from mask_rcnn.serving.request_error import RequestError

DEFAULT_SIGNATURE = "serving_default"
METHOD = "tensorflow/serving/predict"
DTYPES = {"uint8": "DT_UINT8", "uint16": "DT_UINT16", "float32": "DT_FLOAT", "int32": "DT_INT32"}
NUMPY_DTYPES = {text: name for name, text in DTYPES.items()}
STRING = "DT_STRING"
BINARY = "b64"  # the only key of a JSON object that represents bytes
BYTES_SUFFIX = "_bytes"  # suffix of the names of outputs with bytes
SIGNATURE_MAP = "type.googleapis.com/tensorflow.serving.SignatureDefMap"


@dataclass(frozen=True)
class PredictCall:
    """A request of `:predict`.

    Args:
        signature: Name of the signature.
        rows: Tuple of the values of the only input, one per image: an array `[H, W, C]`, or bytes.
        by_row: Whether the request has `instances`. Then the reply has `predictions`, else `outputs`.
    """

    signature: str
    rows: tuple[np.ndarray | bytes, ...]
    by_row: bool

    def location(self, index: int) -> str:
        """Returns the location in the request of the value of an image, such as "instances[0]"."""
        return f"{'instances' if self.by_row else 'inputs'}[{index}]"


def tensor_info(name: str, dtype: str, shape: Sequence[int]) -> dict[str, Any]:
    """Returns the dict that describes a tensor in `/metadata`. -1 is any size.

    Args:
        name: Name of the tensor.
        dtype: NumPy dtype name. A name that is not in DTYPES means strings.
        shape: Sizes of the axes.
    """
    dims = [{"size": str(size), "name": ""} for size in shape]
    tensor_shape = {"dim": dims, "unknown_rank": False}
    return {"dtype": DTYPES.get(dtype, STRING), "tensor_shape": tensor_shape, "name": name}


def parse_predict(body: bytes, signatures: Mapping[str, Any]) -> PredictCall:
    """Returns the `PredictCall` of a request.

    Args:
        body: Bytes of the request.
        signatures: `{name: signature}` of the model, each with one input.

    Raises:
        RequestError: The body is not a valid request, or does not fit the signature.
    """
    request = _decode_json(body)
    if not isinstance(request, dict):
        raise RequestError(
            400, f'Expected a JSON object with "instances" or "inputs". Received: {_kind(request)}.'
        )
    name = request.get("signature_name") or DEFAULT_SIGNATURE
    if not isinstance(name, str) or name not in signatures:
        raise RequestError(
            400,
            f'Serving signature key "{_short(name)}" not found. This model has: {", ".join(signatures)}.',
        )
    keys = [key for key in ("instances", "inputs") if key in request]
    if len(keys) != 1:
        received = " and ".join(keys) or "neither"
        raise RequestError(400, f'Expected either "instances" or "inputs". Received: {received}.')
    ((input_name, info),) = signatures[name]["inputs"].items()
    by_row = keys == ["instances"]
    values = _values(request[keys[0]], input_name, by_row)
    call = PredictCall(name, (), by_row)
    if not isinstance(values, list) or not values:
        raise RequestError(
            400, f'Expected a list of one or more values in "{keys[0]}". Received: {_kind(values)}.'
        )
    read = _read_bytes if info["dtype"] == STRING else _read_array
    rows = tuple(read(value, info, call.location(index)) for index, value in enumerate(values))
    if len({np.shape(row) for row in rows}) > 1:
        raise RequestError(400, f'Expected values of one shape in "{keys[0]}". Received: several shapes.')
    return PredictCall(name, rows, by_row)


def _decode_json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise RequestError(400, f"Expected JSON. Received: {str(error)[:200]}.") from error


def _values(content: Any, input_name: str, by_row: bool) -> Any:
    """Returns the list of values of the only input, with or without its name in the request."""
    if by_row:
        if not isinstance(content, list):
            return content
        is_named = [isinstance(value, dict) and set(value) != {BINARY} for value in content]
        if any(is_named) and not all(is_named):
            raise RequestError(400, 'Expected objects with named inputs in all "instances", or in none.')
        return [_named(value, input_name) for value in content] if any(is_named) else content
    if isinstance(content, dict) and set(content) != {BINARY}:
        return _named(content, input_name)
    return content


def _named(inputs: Mapping[str, Any], name: str) -> Any:
    if set(inputs) != {name}:
        received = ", ".join(_short(key) for key in list(inputs)[:5]) or "none"
        raise RequestError(400, f'Expected the input "{name}". Received: {received}.')
    return inputs[name]


def _read_bytes(value: Any, info: Mapping[str, Any], location: str) -> bytes:
    """Returns the bytes of a JSON value: a string, or an object with base64."""
    if isinstance(value, str):
        return value.encode("utf-8")
    if not (isinstance(value, dict) and set(value) == {BINARY} and isinstance(value[BINARY], str)):
        raise RequestError(400, f'Expected {{"b64": "..."}} in {location}. Received: {_kind(value)}.')
    text = "".join(value[BINARY].split())
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(400, f"Expected base64 in {location}. Received: {error}.") from error


def _read_array(value: Any, info: Mapping[str, Any], location: str) -> np.ndarray:
    """Returns the array of nested lists of integers."""
    dtype = np.dtype(NUMPY_DTYPES[info["dtype"]])
    expected = [int(dim["size"]) for dim in info["tensor_shape"]["dim"]][1:]
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError) as error:  # lists of different lengths
        raise RequestError(
            400, f"Expected nested lists of equal lengths in {location}. Received: different lengths."
        ) from error
    fits = array.ndim == len(expected) and all(
        size == limit or limit == -1 for size, limit in zip(array.shape, expected, strict=True)
    )
    if not fits or not array.size:
        raise RequestError(
            400,
            f"Expected {location} of shape {expected}, where -1 is any size but 0. "
            f"Received: shape {list(array.shape)}.",
        )
    limits = np.iinfo(dtype)
    if array.dtype.kind not in "iu" or array.min() < limits.min or array.max() > limits.max:
        raise RequestError(
            400,
            f"Expected whole numbers from {limits.min} to {limits.max} in {location}. Received: others.",
        )
    return array.astype(dtype)


def encode_predict(results: Sequence[Mapping[str, np.ndarray]], call: PredictCall) -> bytes:
    """Returns the JSON of a reply, bytes.

    Args:
        results: List with `{name: array}` for each row of the call, without the batch axis. Arrays of one
            name may differ in their first axis. Shorter ones are padded with zeros.
        call: The `PredictCall`.
    """
    outputs = {name: _stack([np.asarray(result[name]) for result in results]) for name in results[0]}
    columns = {name: _to_json(array, name) for name, array in outputs.items()}
    if len(columns) == 1:  # the protocol leaves out the name of a single output
        (content,) = columns.values()
    elif call.by_row:
        content = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    else:
        content = columns
    # json.dumps writes NaN and Infinity, which the protocol allows although JSON does not.
    return json.dumps({"predictions" if call.by_row else "outputs": content}).encode("utf-8")


def _stack(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Stacks arrays along a new first axis. Arrays with fewer rows are padded with zeros."""
    if len({array.shape for array in arrays}) == 1:
        return np.stack(arrays)
    rows = max(len(array) for array in arrays)
    padded = [np.pad(array, [(0, rows - len(array)), *[(0, 0)] * (array.ndim - 1)]) for array in arrays]
    return np.stack(padded)


def _to_json(array: np.ndarray, name: str) -> Any:
    if array.dtype.kind not in "OSU":
        return array.tolist()
    is_binary = name.endswith(BYTES_SUFFIX)
    texts = [_text(value, is_binary) for value in array.ravel().tolist()]
    return np.array(texts, object).reshape(array.shape).tolist()


def _text(value: bytes | str, is_binary: bool) -> dict[str, str] | str:
    value = value.encode("utf-8") if isinstance(value, str) else value
    if is_binary:
        return {BINARY: base64.b64encode(value).decode("ascii")}
    return value.decode("utf-8", "replace")


def metadata(name: str, version: int, signatures: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the reply of `/metadata`, a `GetModelMetadataResponse` in JSON form.

    Args:
        name: Name of the model.
        version: Int, version number.
        signatures: `{name: signature}`.
    """
    definitions = {"@type": SIGNATURE_MAP, "signature_def": signatures}
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(version)},
        "metadata": {"signature_def": definitions},
    }


def status(states: Sequence[tuple[int, str, str | None]]) -> dict[str, Any]:
    """Returns the reply to a status request, a `GetModelStatusResponse` in JSON form.

    Args:
        states: List of (version, state, error message or None).
    """
    return {
        "model_version_status": [
            {
                "version": str(version),
                "state": state,
                "status": {
                    "error_code": "UNKNOWN" if error else "OK",
                    "error_message": error or "",
                },
            }
            for version, state, error in states
        ]
    }


def _kind(value: Any) -> str:
    """Returns the JSON type of a value as text for messages."""
    kinds = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}
    if isinstance(value, list) and not value:
        return "an empty list"
    return kinds.get(type(value), "a number")


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
