"""Transforms that change only pixel values; see `data.augmentation.augment` for `color_jitter`."""

from dataclasses import replace

import cv2
import numpy as np

from mask_rcnn.data.augmentation import affine
from mask_rcnn.data.augmentation.apply_geometry import apply_geometry
from mask_rcnn.data.augmentation.sample import Sample
from mask_rcnn.data.image_io.channels import by_channels


def blur(
    sample: Sample, rng: np.random.Generator, *, low: float = 0.1, high: float = 2.0, probability: float = 0.5
) -> Sample:
    """Blurs with a Gaussian of random sigma.

    Args:
        sample: `Sample`.
        rng: NumPy generator.
        low: Smallest sigma, in pixels of the output, above 0. Defaults to 0.1, as in SimCLR (Chen et al.
            2020).
        high: Largest sigma, in pixels of the output. Defaults to 2.0, as in SimCLR.
        probability: Probability of a change. Defaults to 0.5, as in SimCLR.
    """
    if rng.random() >= probability:
        return sample
    sigma = rng.uniform(low, high) / affine.scale(sample.matrix)  # converted to pixels of the image
    image = by_channels(lambda part: cv2.GaussianBlur(part, (0, 0), sigma), sample.image)
    return replace(sample, image=image)


def noise(
    sample: Sample, rng: np.random.Generator, *, high: float = 10.0, probability: float = 0.5
) -> Sample:
    """Adds Gaussian noise to each channel of each pixel of the output.

    Args:
        sample: `Sample`. Its geometric change is applied first, see `apply_geometry`.
        rng: NumPy generator.
        high: Largest standard deviation in gray levels of 0..255. The standard deviation is drawn from [0,
            high]. Defaults to 10, half of the weakest noise of ImageNet-C (Hendrycks and Dietterich 2019).
        probability: Probability of a change. Defaults to 0.5.
    """
    if rng.random() >= probability:
        return sample
    sample = apply_geometry(sample)
    levels = sample.image + rng.uniform(0, high) * rng.standard_normal(sample.image.shape, "float32")
    return replace(sample, image=np.clip(np.round(levels), 0, 255).astype("uint8"))


def jpeg(
    sample: Sample, rng: np.random.Generator, *, low: int = 30, high: int = 95, probability: float = 0.5
) -> Sample:
    """Compresses the output as JPEG, which causes block artifacts and ringing at edges.

    Args:
        sample: `Sample`. Its geometric change is applied first, see `apply_geometry`.
        rng: NumPy generator.
        low: Lowest quality, 1 to 100. Defaults to 30. The weakest compression of ImageNet-C has quality 25.
        high: Highest quality, 1 to 100. Defaults to 95.
        probability: Probability of a change. Defaults to 0.5.
    """
    if rng.random() >= probability:
        return sample
    sample = apply_geometry(sample)
    quality = int(rng.integers(low, high + 1))
    _, encoded = cv2.imencode(".jpg", sample.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    image = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))[..., ::-1]
    return replace(sample, image=np.ascontiguousarray(image))


def hue(sample: Sample, rng: np.random.Generator, degrees: float = 18.0) -> Sample:
    """Shifts the hue of all pixels by the same random angle of the color circle.

    Args:
        sample: `Sample`.
        rng: NumPy generator.
        degrees: Largest angle in both directions, in degrees. Defaults to 18, as in torchvision's training of
            SSD.
    """
    shift = round(rng.uniform(-degrees, degrees) * 256 / 360)  # in OpenCV's full range, 256 are 360 degrees
    if not shift:
        return sample
    hsv = cv2.cvtColor(sample.image, cv2.COLOR_RGB2HSV_FULL)
    hsv[..., 0] += np.uint8(shift % 256)
    return replace(sample, image=cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL))


def grayscale(sample: Sample, rng: np.random.Generator, probability: float = 0.2) -> Sample:
    """Converts the image to gray, still with three channels.

    Args:
        sample: `Sample`.
        rng: NumPy generator.
        probability: Probability of a change. Defaults to 0.2, as in SimCLR (Chen et al. 2020).
    """
    if rng.random() >= probability:
        return sample
    gray = cv2.cvtColor(sample.image, cv2.COLOR_RGB2GRAY)
    return replace(sample, image=cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB))
