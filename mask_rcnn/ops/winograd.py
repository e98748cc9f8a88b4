"""3x3 convolutions by Winograd's minimal filtering F(4x4, 3x3), with a quarter of the multiplications.

They are faster on CPUs, where TensorFlow's kernels compute the direct sum. Lavin and Gray, "Fast Algorithms
for Convolutional Neural Networks", 2015, arXiv:1509.09308, section 4.

Letters: T tiles of 4x4 output pixels, C input channels, K output channels.
"""

import numpy as np
import tensorflow as tf

from mask_rcnn.ops.tensor import Tensor

OUT, IN = 4, 6  # side of a tile of the output and of the input, pixels

# Interpolation points of the polynomials, in addition to infinity. Differs from the paper: its points 0, 1,
# -1, 2, -2 have four times the rounding error. These points have small powers, and all factors are exact in
# binary.
POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)


def _matrices():
    """Returns the matrices of section 4.3 for input, kernel and output: `[36, 36]`, `[36, 9]`, `[16, 36]`.

    They are the Kronecker squares of the paper's BT, G and AT. One product with a flattened tile then
    replaces the products from both sides.
    """

    def powers(count):
        return np.array([[point**power for power in range(count)] for point in POINTS] + [np.eye(count)[-1]])

    others = [[other for other in POINTS if other != point] for point in POINTS]
    data = [np.append(np.poly(roots)[::-1], 0) for roots in others] + [np.poly(POINTS)[::-1]]
    lengths = [np.prod(np.subtract(point, roots)) for point, roots in zip(POINTS, others, strict=True)] + [1]
    kernel = powers(3) / np.array(lengths)[:, None]
    return tuple(np.kron(matrix, matrix) for matrix in (np.array(data), kernel, powers(OUT).T))


DATA, KERNEL, RESULT = _matrices()

# Tiles per chunk. Large enough that the matrix products rarely read the filters from memory again.
CHUNK = 1024


def conv2d(x: Tensor, kernel: Tensor) -> Tensor:
    """Returns `tf.nn.conv2d(x, kernel, 1, "SAME")` for a 3x3 kernel. Both gradients are fast, too.

    In float32 the result differs from the direct sum by about 1e-5 of the largest value.

    Args:
        x: `[B, H, W, C]`, of any size.
        kernel: `[3, 3, C, K]`.

    Returns:
        `[B, H, W, K]`.
    """
    return _conv2d(x, tf.convert_to_tensor(kernel))


@tf.custom_gradient
def _conv2d(x, kernel):
    def gradients(upstream):
        turned = tf.transpose(_after(upstream, kernel)[::-1, ::-1], [0, 1, 3, 2])
        return _convolve(upstream, turned), _kernel_gradient(_after(upstream, x), upstream)

    return _convolve(x, kernel), gradients


def _after(first, then):
    """Returns `then`, computed only after `first`.

    TensorFlow computes each operation as soon as its inputs are known. It would transform all kernels at the
    start of a step, and the maps for the backward pass already in the forward pass. Transformed kernels are
    four times and transformed maps two times as large as the originals. They would fill the memory until they
    are needed.
    """
    with tf.control_dependencies([first]):
        return tf.identity(then)


def _convolve(x, kernel):
    batch, height, width = tf.unstack(tf.shape(x)[:3])
    outputs = kernel.shape[-1]
    rows, columns = _grid(height, width)
    num_chunks, chunk = _chunks(batch * rows, columns)
    filters = _times(KERNEL, tf.reshape(_after(x, kernel), [9, -1, outputs]))  # [36, C, K]

    def convolve_chunk(first):
        tiles = _times(DATA, _tiles(x, tf.range(first, first + chunk), IN))  # [36, T, C]
        y = _times(RESULT, tf.matmul(tiles, filters))  # [16, T, K]
        y = tf.reshape(y, [OUT, OUT, chunk, columns, outputs])
        return tf.transpose(y, [2, 0, 3, 1, 4])  # [chunk, 4, columns, 4, K]

    spec = tf.TensorSpec([None, OUT, None, OUT, outputs], x.dtype)
    y = tf.map_fn(
        convolve_chunk, tf.range(num_chunks) * chunk, fn_output_signature=spec, parallel_iterations=1
    )
    y = tf.reshape(y, [-1, OUT, OUT * columns, outputs])[: batch * rows]
    y = tf.reshape(y, [batch, OUT * rows, OUT * columns, outputs])[:, :height, :width]
    return tf.ensure_shape(y, [*x.shape[:3], outputs])


def _kernel_gradient(x, upstream):
    """Returns the gradient of the kernel `[3, 3, C, K]`: the transposed products of `_convolve`."""
    batch, height, width = tf.unstack(tf.shape(x)[:3])
    rows, columns = _grid(height, width)
    num_chunks, chunk = _chunks(batch * rows, columns)

    def add_chunk(index, total):
        tile_rows = tf.range(index * chunk, tf.minimum((index + 1) * chunk, batch * rows))
        tiles = _times(DATA, _tiles(x, tile_rows, IN))  # [36, T, C]
        results = _times(RESULT.T, _tiles(upstream, tile_rows, OUT))  # [36, T, K]
        return index + 1, total + tf.matmul(tiles, results, transpose_a=True)

    zeros = tf.zeros([IN * IN, x.shape[-1], upstream.shape[-1]], x.dtype)
    _, filters = tf.while_loop(
        lambda index, _: index < num_chunks, add_chunk, (0, zeros), parallel_iterations=1
    )
    return tf.reshape(_times(KERNEL.T, filters), [3, 3, *filters.shape[1:]])


def _grid(height, width):
    """Returns the numbers of rows and columns of tiles that cover a map."""
    return (height + OUT - 1) // OUT, (width + OUT - 1) // OUT


def _chunks(tile_rows, columns):
    """Returns the number of chunks, and the rows of tiles per chunk (about CHUNK tiles)."""
    most = tf.maximum(CHUNK // columns, 1)
    num_chunks = tf.maximum((tile_rows + most - 1) // most, 1)
    return num_chunks, (tile_rows + num_chunks - 1) // num_chunks


def _tiles(x, tile_rows, side):
    """Returns the tiles of `x` in some rows of tiles. Pixels outside `x` are 0.

    Args:
        x: `[B, H, W, C]`.
        tile_rows: `[R]` int32, numbered through all images of the batch. The content of rows after the last
            one is undefined.
        side: OUT, or IN for tiles that overlap by two pixels.

    Returns:
        `[side * side, R * columns, C]`.
    """
    batch, height, width = tf.unstack(tf.shape(x)[:3])
    rows, columns = _grid(height, width)
    start = tf.range(side)[:, None] - (side - OUT) // 2
    image = tf.minimum(tile_rows // rows, batch - 1)  # [R]
    y, x_ = start + OUT * (tile_rows % rows), start + OUT * tf.range(columns)  # [side, R], [side, columns]
    inside_y, inside_x = (y >= 0) & (y < height), (x_ >= 0) & (x_ < width)
    line = image * height + tf.clip_by_value(y, 0, height - 1)
    pixel = line[:, None, :, None] * width + tf.clip_by_value(x_, 0, width - 1)[:, None]
    inside = tf.cast(inside_y[:, None, :, None] & inside_x[:, None], x.dtype)  # [side, side, R, columns]
    tiles = tf.gather(tf.reshape(x, [-1, x.shape[-1]]), pixel) * inside[..., None]
    return tf.reshape(tiles, [side * side, -1, x.shape[-1]])


def _times(matrix, x):
    """Returns the product `[M, ...]` of `matrix` `[M, N]` and `x` `[N, ...]`."""
    product = tf.matmul(tf.constant(matrix, x.dtype), tf.reshape(x, [matrix.shape[1], -1]))
    return tf.reshape(product, tf.concat([[matrix.shape[0]], tf.shape(x)[1:]], axis=0))
