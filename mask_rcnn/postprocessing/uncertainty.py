"""Estimates how many corrections the detections of an image need, to choose which images to label next.

A detection has a score s, and an agreement a with other views of the image, which is 1 without them
(`--tta`). Take p = s * a as the probability that it is an object, and the threshold t of `detect`:

    uncertainty = sum over s >= t of (1 - p)  +  sum over s < t of p

The first sum is the expected number of wrong detections, the second that of missed objects. Both are correct
if scores are probabilities. To check that, see the calibration of `mask-rcnn evaluate --report`.

- 1 - p and p are the least confidence of a decision (Settles, Active Learning Literature Survey, 2009). A
  detection counts most near the threshold.
- Brust et al., Active Learning for Deep Object Detection, VISAPP 2019, obtained the best results with the sum
  over detections. It prefers images with many objects, which take longer to label. Therefore the mean per
  object is reported, too.
- Elezi et al., Not All Labels Are Equal, CVPR 2022, found inconsistency between an image and its mirror image
  more reliable than scores, and combined both. The product of score and agreement differs from their method.
"""

from dataclasses import dataclass

import numpy as np

from mask_rcnn.structures import Detections

AGREEMENT = "agreement"  # attribute of detections that were merged from several views
MIN_SCORE = 0.05  # detections with lower scores count as background, as in detectron2's evaluation of COCO


@dataclass(frozen=True, kw_only=True)
class Uncertainty:
    """The uncertainty of an image, in expected corrections.

    Args:
        wrong: Expected number of wrong detections due to low scores.
        disagreement: Expected number of wrong detections that other views do not find, or find elsewhere.
        missed: Expected number of objects among the detections below the threshold.
        num_objects: Number of detections from the threshold on.
        num_candidates: Number of detections below the threshold.
    """

    wrong: float
    disagreement: float
    missed: float
    num_objects: int
    num_candidates: int

    @property
    def total(self) -> float:
        """Expected number of corrections: the sum of the parts."""
        return self.wrong + self.disagreement + self.missed

    @property
    def per_object(self) -> float:
        """Expected number of corrections per detection above or below the threshold. 0 without any."""
        return self.total / max(self.num_objects + self.num_candidates, 1)

    @property
    def reason(self) -> str:
        """Name of the largest part, as text."""
        if not self.num_objects + self.num_candidates:
            return "nothing found"
        parts = {
            "objects with low scores": self.wrong,
            "views disagree": self.disagreement,
            "objects below the threshold": self.missed,
        }
        return max(parts, key=lambda name: parts[name])


def image_uncertainty(detections: Detections, score_threshold: float = 0.5) -> Uncertainty:
    """Returns the `Uncertainty` of an image.

    Args:
        detections: `Detections`. Scores below MIN_SCORE are ignored. The optional attribute "agreement"
            `[N]`, 0..1, is the agreement with other views.
        score_threshold: Lowest score of a detection that counts as an object. Defaults to 0.5.
    """
    scores = detections.scores.astype("float64")
    agreement = np.asarray(detections.attributes.get(AGREEMENT, np.ones(len(scores))), "float64")
    is_object = scores >= score_threshold
    is_candidate = ~is_object & (scores >= MIN_SCORE)
    return Uncertainty(
        wrong=float((1 - scores[is_object]).sum()),
        disagreement=float((scores * (1 - agreement))[is_object].sum()),
        missed=float((scores * agreement)[is_candidate].sum()),
        num_objects=int(is_object.sum()),
        num_candidates=int(is_candidate.sum()),
    )
