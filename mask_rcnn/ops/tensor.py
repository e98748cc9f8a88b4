"""Types of tensors and shapes in the annotations of ops, targets, losses and layers."""

from typing import Any, TypeAlias

# A `tf.Tensor`, or anything that TensorFlow converts to one, such as a NumPy array. It is `Any`, because the
# stubs of TensorFlow that type checkers contain reject valid code: `x[..., 1:]`, `x % 2`, `[count] + shape`.
Tensor: TypeAlias = Any

# Shape of a tensor. None is an unknown size.
Shape: TypeAlias = tuple[int | None, ...]
