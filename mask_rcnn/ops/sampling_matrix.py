"""The samples of RoIAlign as a sparse matrix, for an adaptive number of samples and for exact gradients.

Letters: R RoIs, P bins per side, T samples of all RoIs along one axis, B H W the map.
"""

import tensorflow as tf

from mask_rcnn.ops.tensor import Tensor


def sampling_matrix(
    map_size: Tensor,
    num_images: Tensor,
    start: Tensor,
    *,
    size: Tensor,
    image_indices: Tensor,
    pool_size: int,
    samples: Tensor,
) -> tf.SparseTensor:
    """Returns a sparse matrix with one row per bin: the bilinear weights of all its samples.

    Args:
        map_size: `[2]` int32, (height, width) of the map.
        num_images: Integer or int32 scalar.
        start, size: `[R, 2]`, top left corner and size of the RoIs, map pixels.
        image_indices: `[R]`, the image of each RoI.
        pool_size: Bins per side, P.
        samples: `[R, 2]` int64, samples per bin along each axis.

    Returns:
        `tf.SparseTensor` `[R P P, B H W]` float32. The same position may occur more than once.
    """
    height, width = tf.unstack(tf.cast(map_size, tf.int64))
    y_roi, y_bin, y_pixel, y_weight = _axis_weights(start[:, 0], size[:, 0], pool_size, height, samples[:, 0])
    x_roi, x_bin, x_pixel, x_weight = _axis_weights(start[:, 1], size[:, 1], pool_size, width, samples[:, 1])

    # One matrix entry for each pair of a vertical and a horizontal weight of the same RoI.
    num_rois = tf.shape(start, tf.int64)[0]
    x_count = 2 * pool_size * samples[:, 1]  # [R]
    x_first = tf.cumsum(x_count, exclusive=True)  # [R]
    partners = tf.gather(x_count, y_roi)
    y_index = tf.repeat(tf.range(tf.size(y_roi)), partners)  # [entries]
    roi = tf.gather(y_roi, y_index)
    x_index = tf.gather(x_first, roi) + tf.ragged.range(partners).flat_values

    row = (roi * pool_size + tf.gather(y_bin, y_index)) * pool_size + tf.gather(x_bin, x_index)
    image_row = tf.gather(tf.cast(image_indices, tf.int64), roi) * height + tf.gather(y_pixel, y_index)
    column = image_row * width + tf.gather(x_pixel, x_index)
    weight = tf.gather(y_weight, y_index) * tf.gather(x_weight, x_index)
    matrix_shape = [num_rois * pool_size**2, tf.cast(num_images, tf.int64) * height * width]
    return tf.SparseTensor(tf.stack([row, column], axis=-1), weight, matrix_shape)


def _axis_weights(start, size, pool_size, length, samples):
    """Returns the weight of each map row (or column) in each bin of each RoI.

    Args:
        start, size: `[R]`, start and size of the RoIs along this axis, map pixels.
        pool_size: Bins, P.
        length: int64 scalar, size of the map along this axis.
        samples: `[R]` int64, samples per bin.

    Returns:
        Four vectors with two entries per sample, sorted by RoI: index of the RoI, bin, map pixel (all int64)
        and weight (float32).
    """
    per_roi = samples * pool_size
    roi = tf.repeat(tf.range(tf.size(per_roi, tf.int64)), per_roi)  # [T]
    index = tf.ragged.range(per_roi).flat_values  # [T], number of the sample within its RoI
    step = tf.gather(size / tf.cast(per_roi, tf.float32), roi)
    position = tf.gather(start, roi) + (tf.cast(index, tf.float32) + 0.5) * step

    last = tf.cast(length - 1, tf.float32)
    inside = (position >= -1.0) & (position <= last + 1.0)
    position = tf.clip_by_value(position, 0.0, last)
    low = tf.floor(position)
    upper_weight = position - low
    pixel = tf.stack([low, tf.minimum(low + 1.0, last)], axis=-1)  # [T, 2]
    count = tf.cast(tf.gather(samples, roi), tf.float32)
    weight = tf.where(inside, 1.0 / count, 0.0)[:, None] * tf.stack(
        [1.0 - upper_weight, upper_weight], axis=-1
    )

    roi_bin = index // tf.gather(samples, roi)
    flat = [tf.reshape(pixel, [-1]), tf.reshape(weight, [-1])]
    return tf.repeat(roi, 2), tf.repeat(roi_bin, 2), tf.cast(flat[0], tf.int64), flat[1]
