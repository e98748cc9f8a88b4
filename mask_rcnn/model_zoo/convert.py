"""Conversion of weights from other systems. Each system is described by a table of name patterns."""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mask_rcnn.weights import assign

if TYPE_CHECKING:  # it imports TensorFlow
    from mask_rcnn.model import Parts

# A key of TRANSPOSITIONS, or a function that converts an array to our layout.
Transposition = str | Callable[[np.ndarray], np.ndarray]
Row = tuple[str, str, Transposition]  # pattern of a name, replacement, transposition

TRANSPOSITIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "same": lambda x: x,
    "conv": lambda x: x.transpose(2, 3, 1, 0),  # OIHW to HWIO
    "depthwise_conv": lambda x: x.transpose(2, 3, 0, 1),  # C1HW to HWC1
    "transposed_conv": lambda x: x.transpose(2, 3, 1, 0),  # IOHW to HWOI
    "dense": lambda x: x.transpose(),
    "pointwise": lambda x: x[:, :, 0, 0].transpose(),  # 1x1 convolution to a matrix
    "deltas": lambda x: swap_xy(x),
    "deltas_conv": lambda x: swap_xy(x).transpose(2, 3, 1, 0),
    "deltas_dense": lambda x: swap_xy(x).transpose(),
}

# Variables of a batch normalization in PyTorch and here. A group normalization has only the first two.
BATCH_NORM = (
    ("weight", "gamma"),
    ("bias", "beta"),
    ("running_mean", "moving_mean"),
    ("running_var", "moving_variance"),
)


def norm_rows(pattern: str, target: str) -> list[Row]:
    """Returns the table rows of the normalization of the layer `target`.

    Args:
        pattern: Pattern of the name of the normalization in the other system.
        target: Path of the layer here, "part/layer". It may refer to groups of the pattern.
    """
    return [(rf"{pattern}\.{torch_name}", f"{target}/norm/{name}", "same") for torch_name, name in BATCH_NORM]


def affine_rows(
    pattern: str, target: str, kernel: Transposition, *, bias: Transposition = "same"
) -> list[Row]:
    """Returns the table rows of the kernel and the bias of a layer.

    Args:
        pattern: Pattern of the name of the layer in the other system.
        target: Path of the layer here, "part/layer". It may refer to groups of the pattern.
        kernel, bias: Transpositions, see `convert`. `bias` defaults to "same".
    """
    return [
        (rf"{pattern}\.weight", f"{target}/kernel", kernel),
        (rf"{pattern}\.bias", f"{target}/bias", bias),
    ]


def swap_xy(x: np.ndarray) -> np.ndarray:
    """Returns an array whose outputs (dx, dy, dw, dh), along the first axis, become (dy, dx, dh, dw)."""
    return x.reshape(-1, 2, 2, *x.shape[1:])[:, :, ::-1].reshape(x.shape)


def flattened_dense(pool_size: int) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the transposition for the first linear layer after a flattened RoI `[C, P, P]`.

    Args:
        pool_size: Side of the pooled RoI, P.
    """

    def transpose(x: np.ndarray) -> np.ndarray:
        x = x.reshape(len(x), -1, pool_size, pool_size)  # [out, C, P, P]
        return x.transpose(2, 3, 1, 0).reshape(-1, len(x))

    return transpose


def convert(
    parts: "Parts",
    state_dict: Mapping[str, np.ndarray],
    table: Iterable[Row],
    *,
    ignored: Iterable[str] = (),
    source: str | Path = "the state dict",
) -> None:
    """Loads the weights of another system into a model.

    Args:
        parts: `Parts`, built from the config of the system's preset.
        state_dict: `{name: array}` with the names and layouts of the other system.
        table: Rows (pattern, replacement, transposition). The first pattern that matches the whole name gives
            the path of our variable, "part/path", as in `re.sub`. The transposition is a key of
            TRANSPOSITIONS or a function of an array.
        ignored: Patterns of names that have no counterpart. Defaults to none.
        source: Where the state dict comes from, for the message. Defaults to "the state dict".

    Raises:
        ValueError: If a name matches no row, or names or shapes do not fit the model. The message lists both
            sides.
    """
    assign(parts, translate(state_dict, table, ignored), source)


def translate(
    state_dict: Mapping[str, np.ndarray], table: Iterable[Row], ignored: Iterable[str] = ()
) -> dict[str, np.ndarray]:
    """Returns the arrays of `state_dict` with our names and layouts. Names that match no row stay unchanged.

    Args:
        state_dict, table, ignored: See `convert`.

    Raises:
        ValueError: If two arrays belong to the same variable.
    """
    arrays = {}
    for name, array in state_dict.items():
        if not any(re.fullmatch(pattern, name) for pattern in ignored):
            target, transpose = _look_up(name, table)
            if target in arrays:
                raise ValueError(
                    f"Each variable must have one array. Received: {target} twice, the second as {name!r}. "
                    "Delete one of the two from the checkpoint."
                )
            arrays[target] = _transposed(np.asarray(array), transpose)
    fold_biases(arrays)
    return arrays


def fold_biases(arrays: dict[str, np.ndarray]) -> None:
    """Subtracts the bias of each convolution from the mean of its batch normalization, in place.

    Our convolutions with a normalization have no bias, because it has no effect. Those of matterport and
    keras.applications have one.

    Args:
        arrays: `{"part/layer/variable": array}`. A bias stays if there is no normalization of its shape.
    """
    for name in [name for name in arrays if name.endswith("/bias")]:
        mean = f"{name.removesuffix('/bias')}/norm/moving_mean"
        if mean in arrays and arrays[mean].shape == arrays[name].shape:
            arrays[mean] = arrays[mean] - arrays.pop(name)


def _transposed(array: np.ndarray, transpose: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    try:
        return transpose(array)
    except (ValueError, IndexError, TypeError):
        return array  # rank or size do not fit its name: `assign` reports its shape


def _look_up(name: str, table: Iterable[Row]) -> tuple[str, Callable[[np.ndarray], np.ndarray]]:
    """Returns the name of our variable for a name of another system, and the transposition of its array."""
    for pattern, replacement, transposition in table:
        match = re.fullmatch(pattern, name)
        if match:
            is_key = isinstance(transposition, str)
            return match.expand(replacement), TRANSPOSITIONS[transposition] if is_key else transposition
    return name, TRANSPOSITIONS["same"]  # `assign` reports it as unknown to the model
