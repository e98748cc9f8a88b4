"""The resize methods of `data.transforms` without antialiasing, as TensorFlow ops for a SavedModel."""

import tensorflow as tf


def resize_image(image: tf.Tensor, size: tf.Tensor, method: str) -> tf.Tensor:
    """Resizes an image as `data.transforms.resize_image` does for "bilinear" and "uint8".

    Args:
        image: `[H, W, C]` uint8 or uint16.
        size: `[2]` int32, (height, width), pixels.
        method: "bilinear" or "uint8".

    Returns:
        `[*size, C]` float32.
    """
    if method == "bilinear":
        return tf.image.resize(image, size, method="bilinear", antialias=False)
    resized = tf.maximum(_interpolate(image, size), tf.cast(tf.reduce_min(image), tf.float64))
    return tf.cast(tf.floor(resized), tf.float32)


def pad_image(image: tf.Tensor, size: tf.Tensor, origin: tf.Tensor) -> tf.Tensor:
    """Pads `[H, W, C]` with zeros to `size`, (height, width), with its first pixel at `origin`, (y, x)."""
    after = [size[axis] - origin[axis] - tf.shape(image)[axis] for axis in (0, 1)]
    paddings = [[origin[0], after[0]], [origin[1], after[1]], [0, 0]]
    return tf.pad(image, paddings)  # pyright: ignore[reportArgumentType]  # the stub allows no tensors in a list


def _interpolate(image: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Bilinear resize in float64, which `tf.image.resize` does not support, with a black border."""
    image = tf.pad(tf.cast(image, tf.float64), [[1, 1], [1, 1], [0, 0]])
    y, upper_y = _nearest_pixels(tf.shape(image)[0] - 2, size[0])  # [H'] each
    x, upper_x = _nearest_pixels(tf.shape(image)[1] - 2, size[1])
    resized = 0.0
    # Only this order of the additions has the rounding errors of scikit-image, which the floor depends on.
    for below, y_weight in ((0, 1 - upper_y), (1, upper_y)):
        rows = tf.gather(image, y + below) * y_weight[:, None, None]  # [H', W + 2, 3]
        for right, x_weight in ((0, 1 - upper_x), (1, upper_x)):
            resized += tf.gather(rows, x + right, axis=1) * x_weight[:, None]  # [H', W', 3]
    return resized


def _nearest_pixels(inputs: tf.Tensor, outputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the two source pixels of each sample along an axis with a border of one pixel before it.

    Returns:
        The index of the first pixel, `[outputs]` int32, and the weight of the second, `[outputs]` float64.
    """
    scale = tf.cast(inputs, tf.float64) / tf.cast(outputs, tf.float64)
    position = (tf.cast(tf.range(outputs), tf.float64) + 0.5) * scale - 0.5
    low = tf.floor(position)
    return tf.cast(low, tf.int32) + 1, position - low
