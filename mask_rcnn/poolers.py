"""Registry of RoI poolers: layers that extract features of fixed size from the pyramid for each RoI."""

from collections.abc import Sequence
from typing import Any

from mask_rcnn.config import RoiAlignConfig
from mask_rcnn.layers.roi_poolers import CropAndResize, RoiAlign, RoiPool, RoiPooler, RoiWarp
from mask_rcnn.registry import Registry

POOLERS = Registry("roi_align.method")


@POOLERS.register("roi_align")
def roi_align(config: RoiAlignConfig, *, strides: Sequence[int], pool_size: int, name: str) -> RoiPooler:
    """Bilinear samples in each bin, without quantization (Mask R-CNN, section 3).

    Args:
        config: A `RoiAlignConfig`.
        strides: Image pixels per map pixel, for each map. Powers of two.
        pool_size: Bins per side, P.
        name: Name of the layer.

    Returns:
        A Keras layer: list of maps `[B, H, W, C]` and boxes `[B, N, 4]`, yxyx, to `[B * N, P, P, C]`.
    """
    sampling = {**_samples(config), "aligned": config.aligned}
    return RoiAlign(strides, pool_size, _levels(config, strides), **sampling, name=name)


@POOLERS.register("roi_warp")
def roi_warp(config: RoiAlignConfig, *, strides: Sequence[int], pool_size: int, name: str) -> RoiPooler:
    """Bilinear samples of RoIs rounded to whole pixels (Dai et al. 2016; Mask R-CNN, table 2c).

    Arguments and returned layer are the same as for `roi_align`. `config.aligned` has no effect.
    """
    return RoiWarp(strides, pool_size, _levels(config, strides), **_samples(config), name=name)


@POOLERS.register("roi_pool")
def roi_pool(config: RoiAlignConfig, *, strides: Sequence[int], pool_size: int, name: str) -> RoiPooler:
    """Maximum of the whole pixels in each bin (Fast R-CNN, section 2.1).

    Arguments and returned layer are the same as for `roi_align`. The sampling fields of `config` have no
    effect.
    """
    return RoiPool(strides, pool_size, _levels(config, strides), name=name)


@POOLERS.register("crop_and_resize")
def crop_and_resize(
    config: RoiAlignConfig, *, strides: Sequence[int], pool_size: int, name: str
) -> RoiPooler:
    """One bilinear sample per bin, on a grid from corner to corner of the box (matterport).

    Arguments and returned layer are the same as for `roi_align`. The sampling fields of `config` have no
    effect.
    """
    return CropAndResize(strides, pool_size, _levels(config, strides), name=name)


def _samples(config: RoiAlignConfig) -> dict[str, Any]:
    """Returns the sampling arguments of `RoiAlign` as a dict."""
    names = ("sampling_ratio", "pooling", "sample_points")
    return {name: getattr(config, name) for name in names}


def _levels(config: RoiAlignConfig, strides: Sequence[int]) -> dict[str, Any]:
    """Returns the arguments of `ops.roi_align.pyramid_levels` as a dict."""
    return {
        "epsilon": config.level_epsilon,
        "offset": config.level_offset,
        "rounding": config.level_rounding,
        "first_level": strides[0].bit_length() - 1,
    }
