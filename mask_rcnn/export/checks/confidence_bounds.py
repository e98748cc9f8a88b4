"""Estimates the fraction of detections with some property from a sample of images, with confidence bounds."""

import math
from collections.abc import Sequence
from typing import TypedDict

# Normal quantile, one-sided 95 %. Of 20 models whose true fraction equals the tolerance, about one passes.
Z = 1.645


class FractionEstimate(TypedDict):
    """An estimated fraction of detections, see `estimate_fraction`."""

    count: int
    total: int
    effective: float
    fraction: float
    lower: float
    upper: float


def estimate_fraction(counts: Sequence[int], totals: Sequence[int]) -> FractionEstimate:
    """Returns the estimated fraction of detections with some property, with its confidence bounds.

    The bounds are Wilson's (1927), one-sided 95 % each. Detections in one image are correlated, so they carry
    less information than independent ones. The effective number is the number of detections divided by the
    design effect of the ratio estimator (Korn and Graubard, Survey Methodology 24, 1998). The result does not
    depend on the order of the images.

    Args:
        counts: Number of detections with the property in each image.
        totals: Number of all detections in each image.

    Returns:
        Dict of:

        - `count`, `total`: sums of `counts` and of `totals`.
        - `effective`: float, number of independent detections with the same information.
        - `fraction`: estimate, 0..1. 0.0 without detections.
        - `lower`, `upper`: its bounds, 0..1. 0.0 and 1.0 without detections.
    """
    count, total = sum(counts), sum(totals)
    if not total:
        return {"count": 0, "total": 0, "effective": 0.0, "fraction": 0.0, "lower": 0.0, "upper": 1.0}
    fraction = count / total
    effective = total / _design_effect(counts, totals)
    center = fraction + Z**2 / (2 * effective)
    margin = Z * math.sqrt(fraction * (1 - fraction) / effective + (Z / (2 * effective)) ** 2)
    scale = 1 + Z**2 / effective
    return {
        "count": count,
        "total": total,
        "effective": effective,
        "fraction": fraction,
        "lower": max((center - margin) / scale, 0.0),
        "upper": min((center + margin) / scale, 1.0),
    }


def images_needed(estimate: FractionEstimate, tolerance: float, num_images: int) -> int | None:
    """Returns about how many images would show that a fraction is below a tolerance.

    Args:
        estimate: Dict, result of `estimate_fraction`.
        tolerance: Float, 0..1.
        num_images: Number of images that the fraction was estimated from.

    Returns:
        Int, or None if the estimate is not below the tolerance or there are no detections.
    """
    distance = tolerance - estimate["fraction"]
    if distance <= 0 or not estimate["total"]:
        return None
    # Wilson's upper bound is the tolerance if (tolerance - fraction)^2 = Z^2 tolerance (1 - tolerance) / n.
    effective = tolerance * (1 - tolerance) * (Z / distance) ** 2
    return math.ceil(num_images * effective / estimate["effective"])


def _design_effect(counts: Sequence[int], totals: Sequence[int]) -> float:
    """Returns the variance of a fraction over images divided by that of independent detections, >= 1."""
    num_images, total = len(totals), sum(totals)
    fraction = sum(counts) / total
    if num_images < 2 or fraction in (0.0, 1.0):
        return 1.0
    squares = sum((count - fraction * size) ** 2 for count, size in zip(counts, totals, strict=True))
    variance = num_images / (num_images - 1) * squares / total**2
    return max(variance / (fraction * (1 - fraction) / total), 1.0)
