"""RoI poolers: layers that cut a map of fixed size out of the pyramid for each RoI."""

from mask_rcnn.layers.roi_poolers import CornerGrid, RoiAlign, RoiPool, RoiWarp
from mask_rcnn.registry import Registry

POOLERS = Registry("roi_align.method")


@POOLERS.register("roi_align")
def roi_align(config, *, strides, pool_size, name):
    """Bilinear samples in each bin, without quantization (Mask R-CNN, section 3).

    Args:
        config: A `RoiAlignConfig`.
        strides: Image pixels per pixel of each map, powers of two.
        pool_size: Bins per side, P.
        name: Name of the layer.

    Returns:
        A Keras layer: list of maps `[B, H, W, C]` and boxes `[B, N, 4]`, yxyx, to `[B * N, P, P, C]`.
    """
    sampling = {**_samples(config), "aligned": config.aligned}
    return RoiAlign(strides, pool_size, _levels(config, strides), **sampling, name=name)


@POOLERS.register("roi_warp")
def roi_warp(config, *, strides, pool_size, name):
    """Bilinear samples of RoIs that are rounded to whole pixels (Dai et al. 2016; Mask R-CNN, table 2c).

    Args and the returned layer are those of `roi_align`. `aligned` has no effect.
    """
    return RoiWarp(strides, pool_size, _levels(config, strides), **_samples(config), name=name)


@POOLERS.register("roi_pool")
def roi_pool(config, *, strides, pool_size, name):
    """Largest value of the whole pixels in each bin (Fast R-CNN, section 2.1).

    Args and the returned layer are those of `roi_align`. The fields for samples have no effect.
    """
    return RoiPool(strides, pool_size, _levels(config, strides), name=name)


@POOLERS.register("crop_and_resize")
def crop_and_resize(config, *, strides, pool_size, name):
    """One bilinear sample per bin, from corner to corner of the box (matterport).

    Args and the returned layer are those of `roi_align`. The fields for samples have no effect.
    """
    return CornerGrid(strides, pool_size, _levels(config, strides), name=name)


def _samples(config):
    """Returns which samples a bin has, as arguments of `RoiAlign`."""
    names = ("sampling_ratio", "pooling", "sample_points")
    return {name: getattr(config, name) for name in names}


def _levels(config, strides):
    """Returns how the level of a RoI is chosen, as arguments of `ops.roi_align.pyramid_levels`."""
    return {
        "epsilon": config.level_epsilon,
        "offset": config.level_offset,
        "rounding": config.level_rounding,
        "first_level": strides[0].bit_length() - 1,
    }
