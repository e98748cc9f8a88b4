"""Training targets of anchors and RoIs. No gradient flows through them."""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from mask_rcnn.ops import boxes as box_ops
from mask_rcnn.ops import keypoints as keypoint_ops
from mask_rcnn.ops import masks as mask_ops
from mask_rcnn.ops.matching import IGNORED, POSITIVE, match
from mask_rcnn.ops.sampling import sample
from mask_rcnn.ops.tensor import Tensor


def rpn_targets(
    anchors: Tensor,
    batch: Mapping[str, Tensor],
    *,
    samples: int,
    positive_fraction: float,
    positive_iou: float,
    negative_iou: float,
) -> dict[str, Tensor]:
    """Returns a random sample of anchors per image and their training targets (Faster R-CNN, section 3.1.2).

    Args:
        anchors: `[A, 4]`, yxyx.
        batch: Dict with `gt_boxes` `[B, T, 4]`, `gt_class_ids` `[B, T]` and `seeds` `[B, 2]`.
        samples: Number of sampled anchors per image, S.
        positive_fraction: Maximum fraction of positives, 0..1.
        positive_iou: An anchor is positive from this IoU on. The anchors with the highest IoU of each object
            are always positive.
        negative_iou: Other anchors are negative below this IoU. Anchors in between are ignored.

    Returns:
        Dict of
        `indices`: `[B, S]` int32, the sampled anchors, positives first.
        `objectness`: `[B, S]` float32, 1 for an object, 0 for background.
        `deltas`: `[B, S, 4]` float32, (dy, dx, dh, dw) from the anchor to its object.
        `positive`: `[B, S]` bool: whether `deltas` count in the loss.
        `valid`: `[B, S]` bool: whether `objectness` counts in the loss.
    """
    thresholds = (negative_iou, positive_iou)
    matched, labels = match(
        anchors[None], batch["gt_boxes"], batch["gt_class_ids"], thresholds=thresholds, keep_best=True
    )
    indices, valid = sample(labels, batch["seeds"], num_samples=samples, positive_fraction=positive_fraction)
    positive = valid & (tf.gather(labels, indices, batch_dims=1) == POSITIVE)
    objects = tf.gather(batch["gt_boxes"], tf.gather(matched, indices, batch_dims=1), batch_dims=1)
    return {
        "indices": indices,
        "objectness": tf.cast(positive, tf.float32),
        "deltas": box_ops.encode_deltas(objects, tf.gather(anchors, indices)),
        "positive": positive,
        "valid": valid,
    }


def roi_targets(
    proposals: Tensor,
    proposals_valid: Tensor,
    batch: Mapping[str, Tensor],
    *,
    samples: int,
    positive_fraction: float,
    positive_iou: float,
    delta_weights: Sequence[float],
) -> dict[str, Tensor]:
    """Returns a random sample of RoIs per image and their training targets (Fast R-CNN, section 2.3).

    The ground-truth boxes are candidates, too, so that there are positives before the RPN is trained.

    Args:
        proposals: `[B, N, 4]`, yxyx.
        proposals_valid: `[B, N]` bool.
        batch: Dict with `gt_boxes` `[B, T, 4]`, `gt_class_ids` `[B, T]` and `seeds` `[B, 2]`.
        samples: Number of sampled RoIs per image, S.
        positive_fraction: Maximum fraction of positives, 0..1.
        positive_iou: A RoI is positive from this IoU on, and negative below.
        delta_weights: Four factors for the target deltas (dy, dx, dh, dw).

    Returns:
        Dict of
        `rois`: `[B, S, 4]`, yxyx, positives first.
        `class_ids`: `[B, S]` int32, 0 is background.
        `deltas`: `[B, S, 4]` float32, (dy, dx, dh, dw) from the RoI to its object.
        `matched`: `[B, S]` int32, the row in `gt_boxes` of the object of a positive RoI.
        `positive`: `[B, S]` bool: whether `deltas` count in the loss.
        `valid`: `[B, S]` bool: whether `class_ids` count in the loss.
    """
    is_object = (batch["gt_class_ids"] > 0) & (box_ops.area(batch["gt_boxes"]) > 0)
    candidates = tf.concat([proposals, batch["gt_boxes"]], axis=1)  # [B, N + T, 4]
    usable = tf.concat([proposals_valid, is_object], axis=1)
    thresholds = (positive_iou, positive_iou)
    matched, labels = match(candidates, batch["gt_boxes"], batch["gt_class_ids"], thresholds=thresholds)
    labels = tf.where(usable, labels, IGNORED)

    seeds = batch["seeds"] + tf.constant([0, 1])  # other random numbers than for the RPN
    indices, valid = sample(labels, seeds, num_samples=samples, positive_fraction=positive_fraction)
    positive = valid & (tf.gather(labels, indices, batch_dims=1) == POSITIVE)
    matched = tf.gather(matched, indices, batch_dims=1)  # [B, S]
    rois = tf.gather(candidates, indices, batch_dims=1)
    return _roi_dict(rois, matched, positive, valid, batch, delta_weights)


def refined_targets(
    rois: Tensor,
    valid: Tensor,
    batch: Mapping[str, Tensor],
    *,
    positive_iou: float,
    delta_weights: Sequence[float],
) -> dict[str, Tensor]:
    """Returns the targets of all RoIs of a later box head of a cascade, without sampling.

    Cascade R-CNN, section 4.2: the boxes improve from head to head, so each head can use a higher IoU.

    Args:
        rois: `[B, S, 4]`, yxyx: the boxes of the previous head.
        valid: `[B, S]` bool.
        batch, positive_iou, delta_weights: See `roi_targets`.

    Returns:
        The dict of `roi_targets`, in the order of `rois`.
    """
    thresholds = (positive_iou, positive_iou)
    matched, labels = match(rois, batch["gt_boxes"], batch["gt_class_ids"], thresholds=thresholds)
    valid = valid & (labels != IGNORED)
    return _roi_dict(rois, matched, valid & (labels == POSITIVE), valid, batch, delta_weights)


def _roi_dict(rois, matched, positive, valid, batch, delta_weights) -> dict[str, Tensor]:
    objects = tf.gather(batch["gt_boxes"], matched, batch_dims=1)
    class_ids = tf.gather(batch["gt_class_ids"], matched, batch_dims=1)
    return {
        "rois": tf.stop_gradient(rois),
        "class_ids": tf.where(positive, class_ids, 0),
        "deltas": box_ops.encode_deltas(objects, rois, delta_weights),
        "matched": matched,
        "positive": positive,
        "valid": valid,
    }


def mask_targets(rois: Tensor, matched: Tensor, batch: Mapping[str, Tensor], *, size: int) -> Tensor:
    """Returns the ground-truth mask of each RoI's object in the grid of the RoI.

    Args:
        rois: `[B, S, 4]`, yxyx.
        matched: `[B, S]` int32, the object of each RoI.
        batch: Dict with `gt_boxes` `[B, T, 4]` and `gt_masks` `[B, G, C, C]` uint8, cropped to the boxes.
        size: Side of the result, M.

    Returns:
        `[B, S, M, M]` float32 of 0 and 1.
    """
    masks = tf.cast(batch["gt_masks"], tf.float32)  # GPUs have no gather for uint8
    masks = tf.gather(masks, matched, batch_dims=1)  # [B, S, C, C]
    boxes = tf.gather(batch["gt_boxes"], matched, batch_dims=1)  # [B, S, 4]
    side, num_rois = masks.shape[-1], rois.shape[1]
    crops = mask_ops.crop_masks(
        tf.reshape(masks, [-1, side, side]), tf.reshape(boxes, [-1, 4]), tf.reshape(rois, [-1, 4]), size=size
    )
    return tf.reshape(crops, [-1, num_rois, size, size])


def keypoint_targets(
    rois: Tensor, matched: Tensor, batch: Mapping[str, Tensor], *, size: int
) -> tuple[Tensor, Tensor]:
    """Returns the target cell of each keypoint in the heatmap of each RoI.

    Args:
        rois: `[B, S, 4]`, yxyx.
        matched: `[B, S]` int32, the object of each RoI.
        batch: Dict with `gt_keypoints` `[B, G, J, 3]`, (y, x, visibility).
        size: Side of the heatmaps, cells.

    Returns:
        Tuple of `cells` `[B, S, J]` int32 and `counts` `[B, S, J]` bool, see `ops.keypoints.keypoint_cells`.
    """
    keypoints = tf.gather(batch["gt_keypoints"], matched, batch_dims=1)  # [B, S, J, 3]
    return keypoint_ops.keypoint_cells(keypoints, rois, size)
