"""Smaller numbers in a TFLite file: weights alone, or the convolutions with what flows between them.

Boxes, NMS and RoIAlign stay float32: in 256 steps a coordinate of a 512 pixel frame is 2 pixels off.
"""

import contextlib
import io
import warnings

import numpy as np

# The networks, by the names that Keras gives their operations; what they hand on to a branch below is float.
NETWORKS = r"(?:rpn_)?backbone|(?:rpn_)?fpn|roi_stage|\w+_head"
# The last layers of the heads: their outputs are what is ranked, decoded and thresholded. Only their weights
# become int8.
LAST_LAYERS = "objectness|deltas|class_logits|predictor"
INT8_SCOPE = rf"mask_rcnn[^;]*/({NETWORKS})[_0-9]*/(?!{LAST_LAYERS})"
LAST_SCOPE = rf"mask_rcnn[^;]*/({NETWORKS})[_0-9]*/({LAST_LAYERS})"


def quantize(content, method, inputs=()):
    """Quantizes a float32 TFLite file with ai-edge-quantizer.

    Args:
        content: bytes of the file.
        method: "dynamic": weights are int8, what flows is float32 and quantized anew by each operation;
            "int8": what flows through backbone, pyramid and heads is int8, in ranges seen on `inputs`.
        inputs: dicts of the signature's inputs, for "int8".

    Returns:
        bytes of the quantized file.
    """
    from ai_edge_quantizer import qtyping
    from ai_edge_quantizer.quantizer import Quantizer

    every = qtyping.TFLOperationName.ALL_SUPPORTED
    with quiet():
        quantizer = Quantizer(content)
        if method == "dynamic":
            quantizer.add_dynamic_config(".*", every, num_bits=8)
            return bytes(quantizer.quantize().quantized_model)
        quantizer.add_static_config(INT8_SCOPE, every, activation_num_bits=8, weight_num_bits=8)
        quantizer.add_dynamic_config(LAST_SCOPE, every, num_bits=8)
        ranges = quantizer.calibrate({"serving_default": list(inputs)}, num_threads=2)
        return bytes(quantizer.quantize(ranges).quantized_model)


@contextlib.contextmanager
def quiet():
    """The quantizer prints progress, sizes and warnings of its own."""
    nowhere = io.StringIO()
    with (
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
        np.errstate(invalid="ignore"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield
