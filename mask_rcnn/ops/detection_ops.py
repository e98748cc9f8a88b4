"""The operations of anchors, NMS and RoI pooling that exports replace by those of their runtime."""

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mask_rcnn.ops.anchors import grid_anchors
from mask_rcnn.ops.nms import nms_per_class, nms_per_group
from mask_rcnn.ops.roi_align import pyramid_roi_align
from mask_rcnn.ops.roi_pool import pyramid_roi_pool
from mask_rcnn.ops.tensor import Tensor


@dataclass(frozen=True, kw_only=True)
class DetectionOps:
    """One implementation of the operations that not every runtime has.

    Each operation takes the same arguments and returns the same results as its default.

    Args:
        grid_anchors: Defaults to `mask_rcnn.ops.anchors.grid_anchors`.
        nms_per_group: Defaults to `mask_rcnn.ops.nms.nms_per_group`.
        nms_per_class: Defaults to `mask_rcnn.ops.nms.nms_per_class`.
        pyramid_roi_align: Defaults to `mask_rcnn.ops.roi_align.pyramid_roi_align`.
        pyramid_roi_pool: Defaults to `mask_rcnn.ops.roi_pool.pyramid_roi_pool`.
    """

    grid_anchors: Callable[..., Tensor] = grid_anchors
    nms_per_group: Callable[..., tuple[Tensor, Tensor, Tensor]] = nms_per_group
    nms_per_class: Callable[..., tuple[Tensor, Tensor, Tensor, Tensor]] = nms_per_class
    pyramid_roi_align: Callable[..., Tensor] = pyramid_roi_align
    pyramid_roi_pool: Callable[..., Tensor] = pyramid_roi_pool


TENSORFLOW = DetectionOps()
_SELECTED = contextvars.ContextVar("detection_ops", default=TENSORFLOW)


def current_detection_ops() -> DetectionOps:
    """Returns the operations that new layers use: those of `using_detection_ops`, by default TENSORFLOW."""
    return _SELECTED.get()


@contextlib.contextmanager
def using_detection_ops(ops: DetectionOps) -> Iterator[None]:
    """Context manager that sets the operations of all layers created inside it.

    Args:
        ops: `DetectionOps`.
    """
    token = _SELECTED.set(ops)
    try:
        yield
    finally:
        _SELECTED.reset(token)
