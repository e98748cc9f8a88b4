"""RoI poolers: layers that extract features of fixed size from the pyramid for each RoI."""

import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mask_rcnn.layers.float32 import Float32Layer
from mask_rcnn.ops.detection_ops import DetectionOps, current_detection_ops
from mask_rcnn.ops.roi_align import corner_grid_boxes, pyramid_levels
from mask_rcnn.ops.roi_pool import whole_pixel_rois
from mask_rcnn.ops.tensor import Tensor


class RoiPooler(Float32Layer):
    """Base class of RoI poolers. Each RoI is pooled from its own pyramid level (FPN, equation 1).

    Args:
        strides: Image pixels per map pixel, for each map.
        pool_size: Bins per side, P.
        levels: Dict of further arguments of `ops.roi_align.pyramid_levels`. Defaults to none.
        ops: `DetectionOps` with RoIAlign and RoIPool. Defaults to `current_detection_ops`. It depends on the
            runtime and is therefore not part of the saved config.

    Call arguments:
        pyramid: List of maps `[B, H, W, C]`.
        boxes: `[B, N, 4]`, yxyx, image pixels.

    Output shape:
        `[B * N, P, P, C]`.
    """

    def __init__(
        self,
        strides: Sequence[int],
        pool_size: int,
        levels: Mapping[str, Any] | None = None,
        *,
        ops: DetectionOps | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.ops = ops or current_detection_ops()
        self.strides = tuple(strides)
        self.pool_size = pool_size
        self.levels = dict(levels or {})

    def call(self, pyramid: Sequence[Tensor], boxes: Tensor) -> Tensor:
        pooled = self.pool(pyramid, boxes)  # [B, N, P, P, C]
        return tf.reshape(pooled, [-1, *pooled.shape[2:]])

    def pool(self, pyramid: Sequence[Tensor], boxes: Tensor) -> Tensor:
        """Returns the pooled RoIs `[B, N, P, P, C]`. Subclasses must implement it.

        Args:
            pyramid: List of maps `[B, H, W, C]`.
            boxes: `[B, N, 4]`, yxyx, image pixels.
        """
        raise NotImplementedError

    def levels_of(self, boxes: Tensor) -> Tensor:
        """Returns the index of the map that each of `boxes` `[B, N, 4]` is pooled from, `[B, N]` int32."""
        return pyramid_levels(boxes, len(self.strides), **self.levels)

    def compute_output_spec(self, pyramid: Sequence[Tensor], boxes: Tensor) -> keras.KerasTensor:
        return keras.KerasTensor((None, self.pool_size, self.pool_size, pyramid[0].shape[-1]))

    def get_config(self) -> dict[str, Any]:
        config = {"strides": self.strides, "pool_size": self.pool_size, "levels": self.levels}
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable(package="mask_rcnn")
class RoiAlign(RoiPooler):
    """RoIAlign (Mask R-CNN, section 3): bilinear samples in each bin, without quantization.

    Args:
        strides, pool_size, levels, ops: See `RoiPooler`.
        sampling_ratio: Samples per bin and axis. 0 means adaptive. Defaults to 2: four samples per bin.
        aligned: Whether to shift by half a pixel, see `ops.roi_align.roi_align`. Defaults to True.
        pooling: "average" or "max" of the samples of a bin. Defaults to "average".
        sample_points: Flat sequence y1, x1, y2, x2, ... of the sample positions in a bin, in 0..1. Defaults
            to empty: the regular grid of `sampling_ratio`.
    """

    def __init__(
        self,
        strides: Sequence[int],
        pool_size: int,
        levels: Mapping[str, Any] | None = None,
        *,
        sampling_ratio: int = 2,
        aligned: bool = True,
        pooling: str = "average",
        sample_points: Sequence[float] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(strides, pool_size, levels, **kwargs)
        self.sampling_ratio = sampling_ratio
        self.aligned = aligned
        self.pooling = pooling
        self.sample_points = tuple(sample_points)

    def pool(self, pyramid: Sequence[Tensor], boxes: Tensor) -> Tensor:
        return self.sample(pyramid, boxes, self.levels_of(boxes))

    def sample(self, pyramid: Sequence[Tensor], boxes: Tensor, levels: Tensor) -> Tensor:
        """Returns RoIAlign `[B, N, P, P, C]` of boxes whose pyramid levels `[B, N]` int32 are given."""

        def align(rois, sampling_ratio):
            return self.ops.pyramid_roi_align(
                pyramid,
                rois,
                levels,
                strides=self.strides,
                pool_size=self.pool_size,
                sampling_ratio=sampling_ratio,
                aligned=self.aligned,
            )

        if self.pooling == "average" and not self.sample_points:
            return align(boxes, self.sampling_ratio)
        size = boxes[..., 2:] - boxes[..., :2]
        if not self.aligned:  # RoIs are at least one map pixel high and wide
            size = tf.maximum(size, tf.gather(tf.constant(self.strides, tf.float32), levels)[..., None])
        bin_size = size / self.pool_size  # [B, N, 2]
        # With one sample per bin, the sample is in the center. Shifting the RoI moves it to another point.
        shifts = (bin_size * (np.array(point, "float32") - 0.5) for point in self._points())
        samples = (align(boxes + tf.tile(shift, [1, 1, 2]), 1) for shift in shifts)
        if self.pooling == "max":
            return functools.reduce(tf.maximum, samples)
        return tf.add_n(list(samples)) / len(self._points())

    def _points(self):
        """Returns the list of positions (y, x) of the samples in a bin, in 0..1."""
        if self.sample_points:
            return list(zip(self.sample_points[::2], self.sample_points[1::2], strict=True))
        positions = [(index + 0.5) / self.sampling_ratio for index in range(self.sampling_ratio)]
        return list(itertools.product(positions, positions))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "sampling_ratio": self.sampling_ratio,
            "aligned": self.aligned,
            "pooling": self.pooling,
            "sample_points": self.sample_points,
        }


@keras.saving.register_keras_serializable(package="mask_rcnn")
class CropAndResize(RoiPooler):
    """Samples one point per bin, on a grid from corner to corner of the box (matterport).

    See `ops.roi_align.corner_grid_boxes`.

    Args:
        strides, pool_size, levels, ops: See `RoiPooler`.
    """

    def pool(self, pyramid: Sequence[Tensor], boxes: Tensor) -> Tensor:
        map_sizes = tf.stack([tf.shape(features)[1:3] for features in pyramid])  # [L, 2]
        side = tf.cast(map_sizes[0] * self.strides[0], tf.float32)
        # matterport computes the level from the box in 0..1 (see `corner_grid_boxes`) times the image size.
        levels = self.levels_of(boxes * tf.tile(side / (side - 1.0), [2]))
        boxes = corner_grid_boxes(boxes, levels, map_sizes, strides=self.strides, pool_size=self.pool_size)
        return self.ops.pyramid_roi_align(
            pyramid,
            boxes,
            levels,
            strides=self.strides,
            pool_size=self.pool_size,
            sampling_ratio=1,
            aligned=True,
        )


@keras.saving.register_keras_serializable(package="mask_rcnn")
class RoiWarp(RoiAlign):
    """RoIWarp (Dai et al. 2016, section 3.2): bilinear samples of a RoI rounded to whole map pixels.

    As Mask R-CNN describes it (table 2c): the RoI is quantized as in RoIPool, but its bins are not.

    Args:
        strides, pool_size, levels, ops, sampling_ratio, pooling, sample_points: See `RoiAlign`.
    """

    def pool(self, pyramid: Sequence[Tensor], boxes: Tensor) -> Tensor:
        levels = self.levels_of(boxes)
        stride = tf.gather(tf.constant(self.strides, tf.float32), levels)[..., None]  # [B, N, 1]
        return self.sample(pyramid, whole_pixel_rois(boxes, 1.0 / stride) * stride, levels)


@keras.saving.register_keras_serializable(package="mask_rcnn")
class RoiPool(RoiPooler):
    """RoIPool (Fast R-CNN, section 2.1): maximum in each bin of whole map pixels.

    See `ops.roi_pool.roi_pool`.

    Args:
        strides, pool_size, levels, ops: See `RoiPooler`.
    """

    def pool(self, pyramid: Sequence[Tensor], boxes: Tensor) -> Tensor:
        return self.ops.pyramid_roi_pool(
            pyramid, boxes, self.levels_of(boxes), strides=self.strides, pool_size=self.pool_size
        )
