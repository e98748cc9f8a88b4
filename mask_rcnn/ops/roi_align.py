"""RoIAlign (section 3), exact, with a fixed or an adaptive number of samples per bin.

Letters: R RoIs, P bins per side, S samples per bin and axis, H W the map, C channels.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

from mask_rcnn.ops.implementation import has_gpu
from mask_rcnn.ops.sampling_matrix import sampling_matrix
from mask_rcnn.ops.tensor import Tensor


def roi_align(
    features: Tensor,
    boxes: Tensor,
    image_indices: Tensor,
    *,
    scale: float,
    pool_size: int,
    sampling_ratio: int = 2,
    aligned: bool = True,
) -> Tensor:
    """Returns RoIAlign of one feature map: the mean of bilinear samples in each bin of each RoI.

    A sample more than one pixel outside the map is 0. A sample less than one pixel outside takes the value of
    the border. All published implementations do this.

    Args:
        features: `[B, H, W, C]`.
        boxes: `[R, 4]`, yxyx, image pixels.
        image_indices: `[R]` int32, the image of each RoI.
        scale: Map pixels per image pixel, 1 / stride.
        pool_size: Bins per side, P.
        sampling_ratio: Samples per bin and axis, S. 0 means adaptive: ceil(RoI size / P) for each RoI.
            Defaults to 2.
        aligned: Whether to shift by half a pixel, so that the center of map pixel 0 is at 0.5. False is the
            convention of Caffe2 and torchvision: no shift, and RoIs are at least one map pixel high and wide.
            Defaults to True.

    Returns:
        `[R, P, P, C]` float32.
    """
    boxes = tf.cast(boxes, tf.float32) * scale
    if aligned:
        boxes = boxes - 0.5
    start, size = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]  # [R, 2] each
    if not aligned:
        size = tf.maximum(size, 1.0)
    features = tf.cast(features, tf.float32)  # crop_and_resize does not support bfloat16
    if sampling_ratio == 0:
        samples = tf.cast(tf.math.ceil(size / pool_size), tf.int64)
        return _adaptive(features, start, size, image_indices, pool_size, samples)
    if has_gpu():  # on GPUs, the gradient of crop_and_resize uses atomic additions and is correct
        return _fixed(features, start, size, image_indices, pool_size, sampling_ratio)
    return _fixed_with_gradient(features, start, size, image_indices, pool_size, sampling_ratio)


def _fixed(features, start, size, image_indices, pool_size, samples):
    """Samples a (P S) x (P S) grid with `tf.image.crop_and_resize`, then averages the samples of each bin.

    crop_and_resize puts its first and last sample on the edges of its box, so the box goes through the outer
    samples. It returns 0 outside the map, so the map is padded by one repeated border pixel.
    """
    features = tf.pad(features, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")
    step = size / (pool_size * samples)  # [R, 2]
    first, last = start + 0.5 * step, start + size - 0.5 * step
    extent = tf.cast(tf.shape(features)[1:3] - 1, tf.float32)
    edges = tf.concat([(first + 1.0) / extent, (last + 1.0) / extent], axis=-1)  # [R, 4]
    grid = [pool_size * samples, pool_size * samples]
    sampled = tf.image.crop_and_resize(features, edges, image_indices, grid)  # [R, P S, P S, C]
    return sampled if samples == 1 else tf.nn.avg_pool2d(sampled, samples, samples, "VALID")


def _fixed_with_gradient(features, start, size, image_indices, pool_size, samples):
    """Returns `_fixed` with an exact and deterministic gradient, for CPUs.

    The threads of TensorFlow's CropAndResizeGradImage add to the same pixels without a lock, so that sums get
    lost (https://github.com/tensorflow/tensorflow/issues/42033). Only
    `tf.config.experimental.enable_op_determinism` prevents that. Boxes get no gradient.
    """

    @tf.custom_gradient
    def align(features):
        def gradient(upstream):
            rois = (start, size, image_indices)
            return _gradient_by_image(upstream, tf.shape(features), rois, pool_size, samples)

        return _fixed(features, start, size, image_indices, pool_size, samples), gradient

    return align(features)


def _gradient_by_image(upstream, shape, rois, pool_size, samples):
    """Returns the gradient of the map, computed image by image to limit the memory.

    Args:
        upstream: `[R, P, P, C]`, the gradient of the result.
        shape: `[4]` int32, the shape of the map.
        rois: Tuple of start `[R, 2]` and size `[R, 2]` in map pixels, and image index `[R]`.
        pool_size: Bins per side, P.
        samples: Samples per bin and axis, S.

    Returns:
        `[B, H, W, C]`.
    """
    start, size, image_indices = rois
    channels = upstream.shape[-1]

    def of_image(index):
        roi_indices = tf.where(image_indices == index)[:, 0]
        flat = tf.reshape(tf.gather(upstream, roi_indices), [-1, channels])  # [R P P, C]
        image_start, image_size = tf.unstack(tf.gather(tf.stack([start, size]), roi_indices, axis=1))
        counts = tf.cast(tf.fill([tf.size(roi_indices), 2], samples), tf.int64)
        indices = tf.zeros_like(roi_indices)
        matrix = sampling_matrix(
            shape[1:3],
            1,
            image_start,
            size=image_size,
            image_indices=indices,
            pool_size=pool_size,
            samples=counts,
        )
        return tf.sparse.sparse_dense_matmul(matrix, flat, adjoint_a=True)  # [H W, C]

    flat = tf.map_fn(of_image, tf.range(shape[0]), fn_output_signature=tf.float32, parallel_iterations=2)
    return tf.reshape(flat, shape)


def _adaptive(features, start, size, image_indices, pool_size, samples):
    """Returns RoIAlign as the product of the sparse matrix of all samples and the map."""
    shape, channels = tf.shape(features), features.shape[-1]
    matrix = sampling_matrix(
        shape[1:3],
        shape[0],
        start,
        size=size,
        image_indices=image_indices,
        pool_size=pool_size,
        samples=samples,
    )
    flat = tf.reshape(features, [-1, channels])  # [B H W, C]
    pooled = tf.sparse.sparse_dense_matmul(matrix, flat)  # [R P P, C]
    return tf.reshape(pooled, [-1, pool_size, pool_size, channels])


def pyramid_levels(
    boxes: Tensor,
    num_levels: int,
    *,
    epsilon: float = 1e-8,
    offset: float = 0.0,
    rounding: str = "floor",
    first_level: int = 2,
) -> Tensor:
    """Returns the pyramid level that each RoI is pooled from (FPN, equation 1).

    Args:
        boxes: `[..., 4]`, yxyx, image pixels.
        num_levels: Number of levels, starting with `first_level`.
        epsilon: Added to sqrt(area) / 224 inside the logarithm, as in detectron2. Defaults to 1e-8.
        offset: Added to the level before rounding. Defaults to 0; torchvision uses 1e-6.
        rounding: "floor", or "nearest" with half to even (matterport). Defaults to "floor".
        first_level: Level of the finest map. Defaults to 2, which is P2.

    Returns:
        `[...]` int32 in 0..num_levels-1. 0 is the finest level.
    """
    size = boxes[..., 2:] - boxes[..., :2]
    root = tf.sqrt(tf.maximum(size[..., 0] * size[..., 1], 0.0))
    level = 4.0 + tf.math.log(root / 224.0 + epsilon) / tf.math.log(2.0) + offset
    level = {"floor": tf.floor, "nearest": tf.round}[rounding](level)
    return tf.cast(tf.clip_by_value(level - first_level, 0.0, num_levels - 1.0), tf.int32)


def corner_grid_boxes(
    boxes: Tensor, levels: Tensor, map_sizes: Tensor, *, strides: Sequence[float], pool_size: int
) -> Tensor:
    """Returns boxes for which RoIAlign with one sample per bin samples like `tf.image.crop_and_resize`.

    matterport pools with that op. Its positions 0 and 1 are the centers of the first and the last pixel, in
    the image and in the map. Its P samples go from one corner of the box to the other.

    Args:
        boxes: `[B, N, 4]`, yxyx, image pixels.
        levels: `[B, N]` int32 of `pyramid_levels`.
        map_sizes: `[L, 2]` int32, (height, width) of the maps.
        strides: Image pixels per map pixel, for each map. The image size must be map size * stride.
        pool_size: Samples per side, P.

    Returns:
        `[B, N, 4]`, yxyx, image pixels, for `pyramid_roi_align` with `sampling_ratio=1` and `aligned=True`.
    """
    column = tf.constant(strides, tf.float32)[:, None]  # [L, 1]
    sides = tf.cast(map_sizes, tf.float32)
    scale = tf.gather((sides - 1.0) / (sides * column - 1.0), levels)  # [B, N, 2]
    stride = tf.gather(column, levels)  # [B, N, 1]
    start, end = boxes[..., :2] * scale, boxes[..., 2:] * scale  # the outer samples, map pixels
    margin = (end - start) * (0.5 / max(pool_size - 1, 1))  # half a bin; a single sample is in the center
    if pool_size == 1:
        margin = tf.zeros_like(margin)
    return tf.concat([start - margin + 0.5, end + margin + 0.5], axis=-1) * stride


def pyramid_roi_align(
    pyramid: Sequence[Tensor],
    boxes: Tensor,
    levels: Tensor,
    *,
    strides: Sequence[float],
    pool_size: int,
    sampling_ratio: int = 2,
    aligned: bool = True,
) -> Tensor:
    """Returns RoIAlign of each RoI, pooled from its own pyramid level.

    Args:
        pyramid: List of maps `[B, H, W, C]`, such as P2..P5.
        boxes: `[B, N, 4]`, yxyx, image pixels.
        levels: `[B, N]` int32 of `pyramid_levels`.
        strides: Image pixels per map pixel, for each map.
        pool_size, sampling_ratio, aligned: See `roi_align`.

    Returns:
        `[B, N, P, P, C]` float32.
    """

    def pool(features, rois, image_indices, scale):
        return roi_align(
            features,
            rois,
            image_indices,
            scale=scale,
            pool_size=pool_size,
            sampling_ratio=sampling_ratio,
            aligned=aligned,
        )

    return pool_by_level(pool, pyramid, boxes, levels=levels, strides=strides)


def pool_by_level(
    pool: Callable[[Tensor, Tensor, Tensor, float], Tensor],
    pyramid: Sequence[Tensor],
    boxes: Tensor,
    *,
    levels: Tensor,
    strides: Sequence[float],
) -> Tensor:
    """Pools each RoI from its own pyramid level with the function `pool`.

    The RoIs of each level are selected by a dynamic gather. This takes a third of the time of pooling every
    RoI from every level and selecting afterwards.

    Args:
        pool: Function of `(features, boxes, image_indices, scale)`, see `roi_align`, that returns
            `[R, P, P, C]`.
        pyramid, boxes, levels, strides: See `pyramid_roi_align`.

    Returns:
        `[B, N, P, P, C]` float32.
    """
    num_images, num_rois = tf.shape(boxes)[0], tf.shape(boxes)[1]
    flat = tf.reshape(boxes, [-1, 4])  # [B N, 4]
    image_indices = tf.repeat(tf.range(num_images), num_rois)
    order = tf.dynamic_partition(tf.range(num_images * num_rois), tf.reshape(levels, [-1]), len(pyramid))
    pooled = [
        pool(features, tf.gather(flat, rois), tf.gather(image_indices, rois), 1.0 / stride)
        for features, stride, rois in zip(pyramid, strides, order, strict=True)
    ]
    merged = tf.dynamic_stitch(order, pooled)  # [B N, P, P, C]
    return tf.reshape(merged, [num_images, num_rois, *merged.shape[1:]])
