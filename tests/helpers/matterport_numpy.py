"""matterport's Mask R-CNN in NumPy, with its own layers and without mask_rcnn.

Boxes have its format: yxyx in 0..1 of the padded image, whose last pixel is 1.
"""

import numpy as np
from matterport_layers import BLOCKS

NORM_EPSILON = 1e-3


def resized(image, size):
    """Resizes as scikit-image with order 1 and a border of zeros, then converts to uint8.

    No output is below the smallest value of the image.
    """

    rows, columns = (resize_weights(*sides) for sides in zip(image.shape, size, strict=False))
    values = along_axes(image.astype("float64"), rows, columns)
    return np.floor(np.maximum(values, image.min()) + 1e-9)


def resize_weights(inputs, outputs):
    """Returns `[outputs, inputs]` weights: linear between pixel centers, zero outside."""
    position = (np.arange(outputs) + 0.5) * inputs / outputs - 0.5
    return np.maximum(1 - np.abs(position[:, None] - np.arange(inputs)), 0)


def along_axes(x, rows, columns):
    """Multiplies `[H, W, C]` with `[Y, H]` and `[X, W]`; returns `[Y, X, C]`."""
    return np.moveaxis(np.tensordot(columns, np.tensordot(rows, x, 1), (1, 1)), 0, 1)


def conv(x, layers, name, stride=1, pad=0):
    kernel = layers[f"{name}/kernel"]
    x = np.pad(x, ((pad, pad), (pad, pad), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], (0, 1))[::stride, ::stride]
    return np.tensordot(windows, kernel, ((3, 4, 2), (0, 1, 2))) + layers[f"{name}/bias"]


def norm(x, layers, name):
    gamma, beta, mean, variance = (
        layers[f"{name}/{variable}"] for variable in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    return (x - mean) / np.sqrt(variance + NORM_EPSILON) * gamma + beta


def relu(x):
    return np.maximum(x, 0)


def same_pool(x):
    """Max pooling of 3x3 with stride 2 and "same" padding of an even map.

    The padding adds one row at the bottom and one column at the right.
    """
    x = np.pad(x, ((0, 1), (0, 1), (0, 0)), constant_values=-np.inf)
    return np.lib.stride_tricks.sliding_window_view(x, (3, 3), (0, 1))[::2, ::2].max((-1, -2))


def backbone(x, layers):
    """Returns C2..C5 of `[H, W, 3]`. The first 1x1 convolution of a stage has the stride."""
    x = same_pool(relu(norm(conv(x, layers, "conv1", 2, 3), layers, "bn_conv1")))
    maps = []
    for stage, letters in BLOCKS.items():
        for letter in letters:
            stride = 2 if letter == "a" and stage != "2" else 1
            res, bn = f"res{stage}{letter}_branch", f"bn{stage}{letter}_branch"
            y = relu(norm(conv(x, layers, f"{res}2a", stride), layers, f"{bn}2a"))
            y = relu(norm(conv(y, layers, f"{res}2b", 1, 1), layers, f"{bn}2b"))
            y = norm(conv(y, layers, f"{res}2c"), layers, f"{bn}2c")
            if letter == "a":
                x = norm(conv(x, layers, f"{res}1", stride), layers, f"{bn}1")
            x = relu(x + y)
        maps.append(x)
    return maps


def pyramid(maps, layers):
    """Returns P2..P6 of C2..C5."""
    merged = conv(maps[3], layers, "fpn_c5p5")
    levels = [merged]
    for level in (4, 3, 2):
        above = merged.repeat(2, axis=0).repeat(2, axis=1)
        merged = above + conv(maps[level - 2], layers, f"fpn_c{level}p{level}")
        levels.insert(0, merged)
    levels = [conv(x, layers, f"fpn_p{i}", 1, 1) for i, x in enumerate(levels, start=2)]
    return [*levels, levels[-1][::2, ::2]]


def anchors(side, sizes):
    """Returns all anchors of a square image, in 0..1.

    Each cell has a tall, a square and a wide anchor, because ratios are width / height.
    """
    boxes = []
    for level, size in enumerate(sizes, start=2):
        y, x, ratio = np.meshgrid(
            np.arange(0, side, 2**level), np.arange(0, side, 2**level), [0.5, 1, 2], indexing="ij"
        )
        height, width = size / np.sqrt(ratio), size * np.sqrt(ratio)
        corners = [y - height / 2, x - width / 2, y + height / 2, x + width / 2]
        boxes.append(np.stack(corners, axis=-1).reshape(-1, 4))
    return normalized(np.concatenate(boxes), (side, side))


def normalized(boxes, size):
    return (boxes - [0, 0, 1, 1]) / (np.tile(size, 2) - 1)


def pixels(boxes, size):
    return np.round(boxes * (np.tile(size, 2) - 1) + [0, 0, 1, 1])


def moved(boxes, deltas):
    size = boxes[:, 2:] - boxes[:, :2]
    center = boxes[:, :2] + 0.5 * size + deltas[:, :2] * size
    size = size * np.exp(deltas[:, 2:])
    return np.concatenate([center - 0.5 * size, center + 0.5 * size], axis=1)


def suppressed(boxes, scores, threshold, most):
    """Returns the indices after NMS, best score first."""
    order, kept = list(np.argsort(-scores, kind="stable")), []
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    while order and len(kept) < most:
        best, others = order[0], np.array(order[1:], int)
        kept.append(best)
        near = np.maximum(boxes[best, :2], boxes[others, :2])
        far = np.minimum(boxes[best, 2:], boxes[others, 2:])
        shared = np.prod(np.maximum(far - near, 0), axis=1)
        order = list(others[shared <= threshold * (area[best] + area[others] - shared)])
    return np.array(kept, int)


def rpn(levels, layers):
    """Returns (background, foreground) probabilities and deltas of all anchors."""
    probabilities, deltas = [], []
    for x in levels:
        x = relu(conv(x, layers, "rpn_conv_shared", 1, 1))
        logits = conv(x, layers, "rpn_class_raw").reshape(-1, 2)
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities.append(exponents / exponents.sum(axis=1, keepdims=True))
        deltas.append(conv(x, layers, "rpn_bbox_pred").reshape(-1, 4))
    return np.concatenate(probabilities), np.concatenate(deltas)


def proposals(probabilities, deltas, boxes, pre_nms, post_nms):
    best = np.argsort(-probabilities[:, 1], kind="stable")[:pre_nms]
    boxes = np.clip(moved(boxes[best], deltas[best] * [0.1, 0.1, 0.2, 0.2]), 0, 1)
    return boxes[suppressed(boxes, probabilities[best, 1], 0.7, post_nms)]


def pooled(levels, boxes, side, pool_size):
    """Pools with one sample per bin, from corner to corner; returns `[N, P, P, C]`."""
    size = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)) + 1e-12
    level = 4 + np.round(np.log2(size / (224 / side))).astype(int)
    return np.stack(
        [
            crop(levels[index - 2], box, pool_size)
            for index, box in zip(np.clip(level, 2, 5), boxes, strict=True)
        ]
    )


def crop(x, box, pool_size):
    """Returns bilinear samples of a map whose first pixel is at 0 and last pixel at 1."""
    steps = np.arange(pool_size) / (pool_size - 1)
    weights = []
    for axis in (0, 1):
        position = (box[axis] + steps * (box[axis + 2] - box[axis])) * (x.shape[axis] - 1)
        weights.append(np.maximum(1 - np.abs(position[:, None] - np.arange(x.shape[axis])), 0))
    return along_axes(x, *weights)


def box_head(rois, layers):
    """Returns class probabilities `[N, K + 1]` and deltas `[N, K + 1, 4]`."""
    x = np.tensordot(rois, layers["mrcnn_class_conv1/kernel"], 3)
    x = relu(norm(x + layers["mrcnn_class_conv1/bias"], layers, "mrcnn_class_bn1"))
    x = x @ layers["mrcnn_class_conv2/kernel"][0, 0] + layers["mrcnn_class_conv2/bias"]
    x = relu(norm(x, layers, "mrcnn_class_bn2"))
    logits = x @ layers["mrcnn_class_logits/kernel"] + layers["mrcnn_class_logits/bias"]
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    deltas = x @ layers["mrcnn_bbox_fc/kernel"] + layers["mrcnn_bbox_fc/bias"]
    return exponents / exponents.sum(axis=1, keepdims=True), deltas.reshape(len(x), -1, 4)


def detections(boxes, probabilities, deltas, window, threshold):
    """Returns boxes, classes and scores. Only the best class of each RoI counts."""
    classes = probabilities.argmax(axis=1)
    rows = np.arange(len(boxes))
    scores = probabilities[rows, classes]
    boxes = moved(boxes, deltas[rows, classes] * [0.1, 0.1, 0.2, 0.2])
    boxes = np.clip(boxes, np.tile(window[:2], 2), np.tile(window[2:], 2))
    kept = []
    for class_id in set(classes) - {0}:
        mine = np.flatnonzero((classes == class_id) & (scores >= threshold))
        kept += list(mine[suppressed(boxes[mine], scores[mine], 0.3, 100)])
    kept = sorted(kept, key=lambda index: -scores[index])[:100]
    return boxes[kept], classes[kept], scores[kept]


def masks(rois, classes, layers):
    """Returns the probabilities of the given classes, `[N, 28, 28]`."""
    found = []
    for x, class_id in zip(rois, classes, strict=True):
        for index in (1, 2, 3, 4):
            x = conv(x, layers, f"mrcnn_mask_conv{index}", 1, 1)
            x = relu(norm(x, layers, f"mrcnn_mask_bn{index}"))
        x = np.tensordot(x, layers["mrcnn_mask_deconv/kernel"], (2, 3)).transpose(0, 2, 1, 3, 4)
        x = x.reshape(2 * len(rois[0]), 2 * len(rois[0]), -1)
        x = relu(x + layers["mrcnn_mask_deconv/bias"])
        logits = x @ layers["mrcnn_mask/kernel"][0, 0, :, class_id] + layers["mrcnn_mask/bias"][class_id]
        found.append(1 / (1 + np.exp(-logits)))
    return np.array(found)
