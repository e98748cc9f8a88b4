"""One engine for all converters: a source is a table of name patterns."""

import re

import numpy as np

from mask_rcnn.weights import assign

TRANSPOSITIONS = {
    "same": lambda x: x,
    "conv": lambda x: x.transpose(2, 3, 1, 0),  # OIHW to HWIO
    "depthwise_conv": lambda x: x.transpose(2, 3, 0, 1),  # C1HW to HWC1
    "transposed_conv": lambda x: x.transpose(2, 3, 1, 0),  # IOHW to HWOI
    "dense": lambda x: x.transpose(),
    "pointwise": lambda x: x[:, :, 0, 0].transpose(),  # a 1x1 convolution as a matrix
    "deltas": lambda x: swap_xy(x),
    "deltas_conv": lambda x: swap_xy(x).transpose(2, 3, 1, 0),
    "deltas_dense": lambda x: swap_xy(x).transpose(),
}

# A batch normalisation in PyTorch's names and ours; a group normalisation has the first two.
BATCH_NORM = (
    ("weight", "gamma"),
    ("bias", "beta"),
    ("running_mean", "moving_mean"),
    ("running_var", "moving_variance"),
)


def norm_rows(pattern, target):
    """Returns the rows of the normalisation that belongs to the layer `target`."""
    return [(rf"{pattern}\.{theirs}", f"{target}/norm/{ours}", "same") for theirs, ours in BATCH_NORM]


def affine_rows(pattern, target, kernel, bias="same"):
    """Returns the rows of a layer's kernel and bias, transposed as `kernel` and `bias` say."""
    return [
        (rf"{pattern}\.weight", f"{target}/kernel", kernel),
        (rf"{pattern}\.bias", f"{target}/bias", bias),
    ]


def swap_xy(x):
    """Turns outputs (dx, dy, dw, dh) into (dy, dx, dh, dw), along the first axis."""
    return x.reshape(-1, 2, 2, *x.shape[1:])[:, :, ::-1].reshape(x.shape)


def flattened_dense(pool_size):
    """Returns the transposition of the first linear layer behind a flattened `[C, P, P]` RoI."""

    def transpose(x):
        x = x.reshape(len(x), -1, pool_size, pool_size)  # [out, C, P, P]
        return x.transpose(2, 3, 1, 0).reshape(-1, len(x))

    return transpose


def convert(parts, state_dict, table, ignored=(), source="the state dict"):
    """Reads the weights of another system into a model.

    Args:
        parts: `Parts` of the config that the source's preset gives.
        state_dict: `{name: array}` in the source's own names and layout.
        table: rows of (pattern, replacement, transposition). The first pattern that matches a whole name
            gives its variable, `"part/path"`, groups as in `re.sub`; the transposition is a key of
            TRANSPOSITIONS or a function of an array.
        ignored: patterns of names that have no counterpart on purpose.
        source: where the state dict comes from, for errors.

    Raises:
        ValueError: a name matches no row, or names and shapes do not fit the model; both sides are listed.
    """
    assign(parts, translate(state_dict, table, ignored), source)


def translate(state_dict, table, ignored=()):
    """Returns the arrays of `state_dict` in our names and layout; what no row matches stays as it is."""
    arrays = {}
    for name, array in state_dict.items():
        if not any(re.fullmatch(pattern, name) for pattern in ignored):
            target, transpose = _look_up(name, table)
            if target in arrays:
                raise ValueError(
                    f"Every variable needs one array. Received: {target} twice, the second as {name!r}. "
                    "Delete one of the two from the checkpoint."
                )
            arrays[target] = _transposed(np.asarray(array), transpose)
    fold_biases(arrays)
    return arrays


def fold_biases(arrays):
    """Moves the bias of each convolution into the mean of the batch normalisation behind it, in place.

    Ours have no such bias, for it has no effect of its own; matterport's and keras.applications' do.

    Args:
        arrays: `{"part/layer/variable": array}`; a bias without such a normalization of its shape stays.
    """
    for name in [name for name in arrays if name.endswith("/bias")]:
        mean = f"{name.removesuffix('/bias')}/norm/moving_mean"
        if mean in arrays and arrays[mean].shape == arrays[name].shape:
            arrays[mean] = arrays[mean] - arrays.pop(name)


def _transposed(array, transpose):
    try:
        return transpose(array)
    except (ValueError, IndexError, TypeError):
        return array  # of a rank or size that does not go with its name: `assign` lists it as misshaped


def _look_up(name, table):
    for pattern, replacement, transposition in table:
        match = re.fullmatch(pattern, name)
        if match:
            return match.expand(replacement), TRANSPOSITIONS.get(transposition, transposition)
    return name, TRANSPOSITIONS["same"]  # `assign` reports it among the unexpected
