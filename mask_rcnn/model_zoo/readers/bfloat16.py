"""Converts bfloat16, the upper half of a float32, exactly to float32. NumPy has no bfloat16."""

import numpy as np

BFLOAT16 = np.dtype([("bfloat16", "<u2")])  # the bits as uint16; the field name distinguishes the dtype


def widen(array: np.ndarray) -> np.ndarray:
    """Converts an array of dtype `BFLOAT16` to float32. Returns any other array unchanged."""
    if array.dtype != BFLOAT16:
        return array
    return (array["bfloat16"].astype("<u4") << 16).view("<f4")
