"""RoI poolers: layers that cut a map of fixed size out of the pyramid for each RoI."""

from mask_rcnn.layers.roi import RoiPool
from mask_rcnn.registry import Registry

POOLERS = Registry("roi_align.method")


@POOLERS.register("roi_align")
def roi_align(config, *, strides, pool_size, name, corner_grid=False):
    """Average of bilinear samples in each bin (Mask R-CNN, section 3).

    Args:
        config: A `RoiAlignConfig`.
        strides: Image pixels for each pixel of each map, powers of two.
        pool_size: Bins per side, P.
        name: Name of the layer.
        corner_grid: See `RoiPool`.

    Returns:
        A Keras layer: list of maps `[B, H, W, C]` and boxes `[B, N, 4]`, yxyx, to `[B * N, P, P, C]`.
    """
    levels = {
        "epsilon": config.level_epsilon,
        "offset": config.level_offset,
        "rounding": config.level_rounding,
        "first_level": strides[0].bit_length() - 1,
    }
    return RoiPool(strides, pool_size, config.sampling_ratio, config.aligned, levels, corner_grid, name=name)


@POOLERS.register("crop_and_resize")
def crop_and_resize(config, *, strides, pool_size, name):
    """One bilinear sample per bin, from corner to corner of the box (matterport).

    Args and the returned layer are those of `roi_align`.
    """
    return roi_align(config, strides=strides, pool_size=pool_size, name=name, corner_grid=True)
