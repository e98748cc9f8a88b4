"""Quantizes TFLite files: the weights only, or the convolutions with their activations.

Boxes, NMS and RoIAlign stay float32. With 256 levels, coordinates in a frame of 512 pixels have steps of 2
pixels.
"""

import contextlib
import io
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

# Names that Keras gives to the ops of the networks. Outputs that a network passes to other parts are float.
NETWORKS = r"(?:rpn_)?backbone|(?:rpn_)?fpn|roi_stage|\w+_head"
# The last layers of the heads. Their outputs are ranked, decoded and thresholded, so only the weights become
# int8.
LAST_LAYERS = "objectness|deltas|class_logits|predictor"
INT8_SCOPE = rf"mask_rcnn[^;]*/({NETWORKS})[_0-9]*/(?!{LAST_LAYERS})"
LAST_SCOPE = rf"mask_rcnn[^;]*/({NETWORKS})[_0-9]*/({LAST_LAYERS})"


def quantize(content: bytes, method: str, inputs: Sequence[dict[str, np.ndarray]] = ()) -> bytes:
    """Quantizes a float32 TFLite file with ai-edge-quantizer.

    Args:
        content: Bytes of the file.
        method: "dynamic": weights are int8. Activations are float32, and each op quantizes them at run time.
            "int8": weights and activations of backbone, pyramid and heads are int8. Their ranges are measured
            on `inputs`.
        inputs: List of dicts, the signature's inputs for each calibration image of "int8". Defaults to none.

    Returns:
        Bytes of the quantized file.
    """
    from ai_edge_quantizer import qtyping
    from ai_edge_quantizer.quantizer import Quantizer

    all_ops = qtyping.TFLOperationName.ALL_SUPPORTED
    with suppress_output():
        quantizer = Quantizer(content)
        if method == "dynamic":
            quantizer.add_dynamic_config(".*", all_ops, num_bits=8)
            return _content(quantizer.quantize())
        quantizer.add_static_config(INT8_SCOPE, all_ops, activation_num_bits=8, weight_num_bits=8)
        quantizer.add_dynamic_config(LAST_SCOPE, all_ops, num_bits=8)
        ranges = quantizer.calibrate({"serving_default": list(inputs)}, num_threads=2)
        return _content(quantizer.quantize(ranges))


def _content(result: Any) -> bytes:
    """Returns the file of a `QuantizationResult`."""
    return bytes(result.quantized_model)


@contextlib.contextmanager
def suppress_output() -> Iterator[None]:
    """Suppresses the progress, sizes and warnings that the quantizer prints."""
    discarded = io.StringIO()
    with (
        contextlib.redirect_stdout(discarded),
        contextlib.redirect_stderr(discarded),
        np.errstate(invalid="ignore"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield
