"""A share of detections, counted in some images, and what can be said of it for all images like them."""

import math

# One-sided 95 %: of 20 models that are as bad as the tolerance, one passes.
Z = 1.645


def share_of(counts, totals):
    """Estimates a share of detections with its confidence bounds.

    The bounds are Wilson's (1927), one-sided 95 % each. Detections of one image are alike, so that they count
    as fewer: the effective number is the number divided by the design effect of the ratio estimator (Korn and
    Graubard, Survey Methodology 24, 1998). None of this depends on the order of the images.

    Args:
        counts: per image, the number of detections of a kind.
        totals: per image, the number of all detections.

    Returns:
        Dict of `count`, `total`: sums; `effective`: number of independent detections that tell as much;
        `share`, `lower`, `upper`: 0..1, or 0, 0 and 1 without detections.
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
    """Returns about how many images would show that a share like this one is below a tolerance.

    None if it is not below.

    Args:
        share: result of `share_of`.
        tolerance: 0..1.
        num_images: those that it was estimated from.
    """
    distance = tolerance - share["share"]
    if distance <= 0 or not share["total"]:
        return None
    # Wilson's upper bound is the tolerance where (tolerance - share)^2 = Z^2 tolerance (1 - tolerance) / n.
    effective = tolerance * (1 - tolerance) * (Z / distance) ** 2
    return math.ceil(num_images * effective / share["effective"])


def _design_effect(counts, totals):
    """Returns the variance of a share over images, relative to that of independent detections, 1 or more."""
    images, total = len(totals), sum(totals)
    share = sum(counts) / total
    if images < 2 or share in (0.0, 1.0):
        return 1.0
    squares = sum((count - share * each) ** 2 for count, each in zip(counts, totals, strict=True))
    variance = images / (images - 1) * squares / total**2
    return max(variance / (share * (1 - share) / total), 1.0)
