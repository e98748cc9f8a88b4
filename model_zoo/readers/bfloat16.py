"""bfloat16: the upper half of a float32. NumPy has no such type, so these numbers become float32, exactly."""

import numpy as np

BFLOAT16 = np.dtype([("bfloat16", "<u2")])  # the bits; the field's name marks them


def widen(array):
    """Returns `array`, as float32 if it holds bfloat16 and untouched if not."""
    if array.dtype != BFLOAT16:
        return array
    return (array["bfloat16"].astype("<u4") << 16).view("<f4")
