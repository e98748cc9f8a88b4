"""Arrays that users give as images: checked, with advice for those in another form."""

import numpy as np

MAX_ARRAY_PIXELS = 1 << 30  # 3 GB, which TensorFlow copies


def checked_image(image):
    """Returns an image that the user gave as uint8 array `[H, W, 3]`; a clear error if it is not one."""
    image = np.asarray(image)
    shape_fits = image.ndim == 3 and image.shape[-1] == 3 and image.size
    if image.dtype != np.uint8 or not shape_fits or image.size > 3 * MAX_ARRAY_PIXELS:
        raise ValueError(
            "An image must be an RGB array [H, W, 3] of uint8. "
            f"Received: shape={image.shape}, dtype={image.dtype}. {_conversion(image)} "
            "`mask_rcnn.data.images.read_image` reads files; OpenCV's images are BGR: use image[..., ::-1]."
        )
    return image


def _conversion(image):
    """Returns what turns an array into an image: the first step, if it takes several."""
    if image.ndim not in (2, 3):
        return "Give one image, not a batch, a path or a list of them."
    if not image.size:
        return "It has no pixels."
    if image.size > 3 * MAX_ARRAY_PIXELS:
        return f"It has more than {MAX_ARRAY_PIXELS} pixels: cut it into tiles."
    if image.ndim == 2 or image.shape[-1] == 1:
        return "Repeat a gray image: np.stack([image] * 3, axis=-1) of [H, W]."
    if image.shape[-1] == 4:
        return "Drop the alpha channel: image[..., :3]."
    if image.shape[-1] != 3:
        return "Put the channels last: image.transpose(1, 2, 0) of [3, H, W]."
    if image.dtype.kind == "f":
        return _float_conversion(image)
    if image.dtype == np.uint16:
        return "Keep the upper 8 bits that are used: (image >> 4).astype('uint8') of 12 bits."
    return "If the values are 0..255: image.astype('uint8')."


def _float_conversion(image):
    if not np.isfinite(image).all():
        return "Replace the values that are NaN or infinite."
    if image.max() <= 1:
        return "If the values are 0..1: (image * 255).round().astype('uint8')."
    return "If the values are 0..255: image.round().astype('uint8')."
