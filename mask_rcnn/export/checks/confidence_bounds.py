"""Estimates a share of detections from a sample of images, with confidence bounds."""

import math

# Normal quantile, one-sided 95 %. Of 20 models whose true share equals the tolerance, about one passes.
Z = 1.645


def share_of(counts, totals):
    """Returns the estimated share of detections of a kind, with its confidence bounds.

    The bounds are Wilson's (1927), one-sided 95 % each. Detections in one image are correlated, so they carry
    less information than independent ones. The effective number is the number of detections divided by the
    design effect of the ratio estimator (Korn and Graubard, Survey Methodology 24, 1998). The result does not
    depend on the order of the images.

    Args:
        counts: List of int, the number of detections of the kind in each image.
        totals: List of int, the number of all detections in each image.

    Returns:
        Dict of:

        - `count`, `total`: sums of `counts` and of `totals`.
        - `effective`: float, number of independent detections with the same information.
        - `share`: estimate, 0..1. 0.0 without detections.
        - `lower`, `upper`: its bounds, 0..1. 0.0 and 1.0 without detections.
    """
    count, total = sum(counts), sum(totals)
    if not total:
        return {"count": 0, "total": 0, "effective": 0.0, "share": 0.0, "lower": 0.0, "upper": 1.0}
    share = count / total
    effective = total / _design_effect(counts, totals)
    center = share + Z**2 / (2 * effective)
    margin = Z * math.sqrt(share * (1 - share) / effective + (Z / (2 * effective)) ** 2)
    scale = 1 + Z**2 / effective
    lower, upper = max((center - margin) / scale, 0.0), min((center + margin) / scale, 1.0)
    numbers = {"count": count, "total": total, "effective": effective}
    return {**numbers, "share": share, "lower": lower, "upper": upper}


def images_needed(share, tolerance, num_images):
    """Returns about how many images would show that a share is below a tolerance.

    Args:
        share: Dict, result of `share_of`.
        tolerance: Float, 0..1.
        num_images: Number of images that `share` was estimated from.

    Returns:
        Int, or None if the estimate is not below the tolerance or there are no detections.
    """
    distance = tolerance - share["share"]
    if distance <= 0 or not share["total"]:
        return None
    # Wilson's upper bound is the tolerance where (tolerance - share)^2 = Z^2 tolerance (1 - tolerance) / n.
    effective = tolerance * (1 - tolerance) * (Z / distance) ** 2
    return math.ceil(num_images * effective / share["effective"])


def _design_effect(counts, totals):
    """Returns the variance of a share over images divided by that of independent detections; at least 1."""
    images, total = len(totals), sum(totals)
    share = sum(counts) / total
    if images < 2 or share in (0.0, 1.0):
        return 1.0
    squares = sum((count - share * each) ** 2 for count, each in zip(counts, totals, strict=True))
    variance = images / (images - 1) * squares / total**2
    return max(variance / (share * (1 - share) / total), 1.0)
