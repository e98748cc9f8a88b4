"""Anchors, NMS and RoI poolers built from ops that TFLite and ONNX runtimes have.

Each function replaces the function of the same name in `mask_rcnn.ops`. It has the same arguments and gives
the same results, for a batch of one image. TensorFlow's `CombinedNonMaxSuppression` and `CropAndResize` exist
in no other runtime.

Letters: N RoIs, P bins per side, S samples per bin and axis, H W a map, C channels.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mask_rcnn.ops.nms import DROPPED
from mask_rcnn.ops.roi_pool import bin_edges, whole_pixel_rois

# Class-wise NMS considers this many pairs of a box and a class, best scores first. COCO's limit is 100
# detections.
MAX_CANDIDATES = 2000

# Adaptive sampling takes ceil(size / P) samples per bin and axis. A graph of fixed size needs an upper bound.
# On the pyramid level that FPN's equation 1 assigns, a square RoI spans fewer than 28 pixels, 4 per bin for
# 7 bins.
MAX_ADAPTIVE_SAMPLES = 4


def grid_anchors(
    map_size: Sequence[int], stride: Sequence[float], base: np.ndarray, *, zero: tf.Tensor
) -> tf.Tensor:
    """Returns the base anchors at every cell of a map; see `mask_rcnn.ops.anchors.grid_anchors`.

    Args:
        map_size: (height, width) of the map, integers.
        stride: (vertical, horizontal) distance between cells, image pixels.
        base: `[A, 4]` float32, yxyx, pixels, centered at the origin.
        zero: `[]` float32, a 0 computed from the model's input. With a constant, a converter would compute
            all anchors and store them: 2 MB for 512 x 704 pixels, half of the weights of a quantized model.

    Returns:
        `[height * width * A, 4]` float32, yxyx, image pixels.
    """
    rows = tf.cast(tf.range(map_size[0]) * stride[0], tf.float32) + zero
    columns = tf.cast(tf.range(map_size[1]) * stride[1], tf.float32) + zero
    y = tf.tile(rows[:, None], [1, map_size[1]])  # [height, width]
    x = tf.tile(columns[None, :], [map_size[0], 1])
    origins = tf.stack([y, x, y, x], axis=-1)  # [height, width, 4]
    return tf.reshape(origins[:, :, None, :] + tf.constant(base), [-1, 4])


def nms_per_group(
    boxes: tf.Tensor,
    scores: tf.Tensor,
    groups: tf.Tensor,
    *,
    num_groups: int,
    iou_threshold: float,
    max_output: int,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Applies NMS within each group of boxes; `mask_rcnn.ops.nms.nms_per_group` for one image."""
    boxes, scores = boxes[0], scores[0]
    kept, valid = _suppress(
        boxes,
        scores,
        groups,
        num_groups=num_groups,
        iou_threshold=iou_threshold,
        score_threshold=0.5 * DROPPED,
        max_output=max_output,
    )
    boxes = tf.where(valid[:, None], tf.gather(boxes, kept), 0.0)
    scores = tf.where(valid, tf.gather(scores, kept), 0.0)
    return boxes[None], scores[None], valid[None]


def nms_per_class(
    boxes: tf.Tensor, scores: tf.Tensor, *, iou_threshold: float, score_threshold: float, max_output: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Applies NMS within each class; `mask_rcnn.ops.nms.nms_per_class` for one image."""
    num_classes = _static_shape(scores)[-1]
    classes_per_box = num_classes // _static_shape(boxes)[2]  # 1, or all classes
    flat = tf.reshape(scores, [-1])  # [N K]
    scores, candidates = tf.math.top_k(flat, min(MAX_CANDIDATES, _static_shape(flat)[0]))
    boxes = tf.gather(tf.reshape(boxes, [-1, 4]), candidates // classes_per_box)
    classes = tf.math.floormod(candidates, num_classes)
    kept, valid = _suppress(
        boxes,
        scores,
        classes,
        num_groups=num_classes,
        iou_threshold=iou_threshold,
        score_threshold=score_threshold,
        max_output=max_output,
    )
    boxes = tf.where(valid[:, None], tf.gather(boxes, kept), 0.0)
    scores = tf.where(valid, tf.gather(scores, kept), 0.0)
    classes = tf.where(valid, tf.gather(classes, kept), 0)
    return boxes[None], scores[None], classes[None], valid[None]


def _suppress(
    boxes: tf.Tensor,
    scores: tf.Tensor,
    groups: tf.Tensor,
    *,
    num_groups: int,
    iou_threshold: float,
    score_threshold: float,
    max_output: int,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the indices `[max_output]` of the kept boxes, best score first, and which of them are valid.

    Boxes of different groups are shifted apart so that they never overlap. The groups form a square grid,
    which keeps coordinates small: large ones lose float32 precision.
    """
    if num_groups > 1:
        columns = math.ceil(math.sqrt(num_groups))
        row, column = groups // columns, tf.math.floormod(groups, columns)
        cell = tf.cast(tf.stack([row, column] * 2, axis=-1), tf.float32)  # [N, 4]
        boxes = boxes + cell * (tf.reduce_max(boxes) + 1.0)
    kept, count = tf.raw_ops.NonMaxSuppressionV4(
        boxes=boxes,
        scores=scores,
        max_output_size=max_output,
        iou_threshold=iou_threshold,
        score_threshold=score_threshold,
        pad_to_max_output_size=True,
    )
    return kept, tf.range(max_output) < count


def pyramid_roi_align(
    pyramid: Sequence[tf.Tensor],
    boxes: tf.Tensor,
    levels: tf.Tensor,
    *,
    strides: Sequence[int],
    pool_size: int,
    sampling_ratio: int = 2,
    aligned: bool = True,
) -> tf.Tensor:
    """Pools each RoI from its own level; `ops.roi_align.pyramid_roi_align` for one image.

    The maps of all levels are concatenated into one table of pixels. A bin is the weighted sum of the pixels
    next to its samples. The loop gathers, weights and adds the first neighbor of every bin, then the second,
    and so on.

    With `sampling_ratio` 0, a bin has at most MAX_ADAPTIVE_SAMPLES samples per axis.
    """
    table, channels = _pixel_table(pyramid), pyramid[0].shape[-1]
    first_pixel, map_size, scale = _level_geometry(pyramid, strides, levels[0])
    rois = boxes[0] * scale[:, None] - (0.5 if aligned else 0.0)
    start, size = rois[:, :2], rois[:, 2:] - rois[:, :2]  # [N, 2] each
    if not aligned:
        size = tf.maximum(size, 1.0)
    options = {"pool_size": pool_size, "sampling_ratio": sampling_ratio}
    rows, row_weights = _axis_neighbors(start[:, 0], size[:, 0], map_size[:, 0], **options)
    columns, column_weights = _axis_neighbors(start[:, 1], size[:, 1], map_size[:, 1], **options)

    pooled = 0.0
    for row, row_weight in zip(rows, row_weights, strict=True):  # [N, P] each
        # float32 represents integers below 2 ** 24 exactly, and runtimes compute fastest in it.
        row_start = first_pixel[:, None] + row * map_size[:, 1:]
        for column, column_weight in zip(columns, column_weights, strict=True):
            pixel = tf.cast(row_start[:, :, None] + column[:, None, :], tf.int32)  # [N, P, P]
            weight = row_weight[:, :, None] * column_weight[:, None, :]
            pooled += tf.gather(table, tf.reshape(pixel, [-1])) * tf.reshape(weight, [-1, 1])
    return tf.reshape(pooled, [1, -1, pool_size, pool_size, channels])


def pyramid_roi_pool(
    pyramid: Sequence[tf.Tensor],
    boxes: tf.Tensor,
    levels: tf.Tensor,
    *,
    strides: Sequence[int],
    pool_size: int,
) -> tf.Tensor:
    """Pools each RoI from its own level; `mask_rcnn.ops.roi_pool.pyramid_roi_pool` for one image.

    Each step of a loop reads one pixel of each bin of each RoI. The largest bin determines the number of
    steps.
    """
    table, channels = _pixel_table(pyramid), pyramid[0].shape[-1]
    first_pixel, map_size, scale = _level_geometry(pyramid, strides, levels[0])
    first_pixel, map_size = tf.cast(first_pixel, tf.int32), tf.cast(map_size, tf.int32)
    rois, sides = whole_pixel_rois(boxes[0], scale[:, None]), map_size[:, :, None, None]
    rows, row_ends = tf.unstack(
        bin_edges(rois[:, 0], rois[:, 2], length=sides[:, 0], pool_size=pool_size), axis=1
    )  # [N, P]
    columns, column_ends = tf.unstack(
        bin_edges(rois[:, 1], rois[:, 3], length=sides[:, 1], pool_size=pool_size), axis=1
    )
    height, width = (
        tf.maximum(tf.reduce_max(ends - starts, axis=1, keepdims=True), 1)  # [N, 1], size of the largest bin
        for starts, ends in ((rows, row_ends), (columns, column_ends))
    )

    def is_inside(row, column):
        inside = (row < row_ends)[:, :, None] & (column < column_ends)[:, None]  # [N, P, P]
        return tf.reshape(inside, [-1, 1])

    def max_step(step, pooled):
        row, column = rows + step // width, columns + step % width
        inside = is_inside(row, column)  # [N P P, 1]
        pixel = first_pixel[:, None, None] + row[:, :, None] * map_size[:, 1:, None] + column[:, None]
        values = tf.gather(table, tf.where(inside[:, 0], tf.reshape(pixel, [-1]), 0))  # [N P P, C]
        return step + 1, tf.where(inside, tf.maximum(pooled, values), pooled)

    num_bins = _static_shape(rois)[0] * pool_size**2
    start = tf.where(is_inside(rows, columns), -math.inf, tf.zeros([num_bins, channels]))  # an empty bin is 0
    num_steps = tf.reduce_max(height * width)
    _, pooled = tf.while_loop(lambda step, _: step < num_steps, max_step, (0, start))
    return tf.reshape(pooled, [1, -1, pool_size, pool_size, channels])


def _static_shape(tensor: tf.Tensor) -> list[int]:
    """Returns the shape of a tensor. In a graph of a fixed frame, all sizes are known."""
    shape: Any = tensor.shape
    return list(shape)


def _pixel_table(pyramid: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns the pixels of the maps of one image, concatenated over the levels, `[sum of H W, C]`."""
    return tf.concat([tf.reshape(x, [-1, x.shape[-1]]) for x in pyramid], axis=0)


def _level_geometry(
    pyramid: Sequence[tf.Tensor], strides: Sequence[int], levels: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns data of each RoI's level: first row in the table `[N]`, (H, W) `[N, 2]`, 1 / stride `[N]`."""
    sizes = [_static_shape(x)[1:3] for x in pyramid]
    firsts = np.cumsum([0, *(height * width for height, width in sizes[:-1])])
    table = [[first, *size, 1 / stride] for first, size, stride in zip(firsts, sizes, strides, strict=True)]
    rows = tf.gather(tf.constant(table, tf.float32), levels)  # [N, 4]
    return rows[:, 0], rows[:, 1:3], rows[:, 3]


def _axis_neighbors(
    start: tf.Tensor, size: tf.Tensor, length: tf.Tensor, *, pool_size: int, sampling_ratio: int
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Returns the map rows (or columns) that each bin sums, and their weights.

    Args:
        start, size: `[N]`, start and size of the RoIs along this axis, map pixels.
        length: `[N]`, side of each RoI's map, pixels.
        pool_size: Number of bins per side, P.
        sampling_ratio: Number of samples per bin. 0 is adaptive.

    Returns:
        Two lists of 2 S tensors `[N, P]`, float32.
    """
    bin_size = (size / pool_size)[:, None]  # [N, 1]
    last = (length - 1.0)[:, None]
    samples = sampling_ratio or MAX_ADAPTIVE_SAMPLES
    count = float(samples) if sampling_ratio else tf.minimum(tf.math.ceil(bin_size), samples)
    step = bin_size / tf.maximum(count, 1.0)  # an empty RoI has no samples
    bins = tf.range(pool_size, dtype=tf.float32)[None]  # [1, P]
    pixels, weights = [], []
    for sample in range(samples):
        position = start[:, None] + bins * bin_size + (sample + 0.5) * step  # [N, P]
        is_inside = (position >= -1.0) & (position <= last + 1.0) & (sample < count)
        position = tf.minimum(tf.maximum(position, 0.0), last)
        low = tf.floor(position)
        sample_weight = tf.where(is_inside, 1.0 / tf.maximum(count, 1.0), 0.0)
        pixels += [low, tf.minimum(low + 1.0, last)]
        weights += [sample_weight * (1.0 - (position - low)), sample_weight * (position - low)]
    return pixels, weights
