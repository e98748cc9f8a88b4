"""How many corrections an image needs, as far as the model can tell: which images to label next.

A detection i has a score s and an agreement a with other views of the image, 1 without them (`--tta`). With
p = s * a as the probability that it is an object, and the threshold t of `detect`:

    uncertainty = sum over s >= t of (1 - p)  +  sum over s < t of p

The first sum is the expected number of wrong detections, the second is that of missed objects. Both are right
if the scores are probabilities; see the calibration of `mask-rcnn evaluate --report`.

- 1 - p and p are the least confidence of a decision (Settles, Active Learning Literature Survey, 2009). A
  detection counts most near the threshold.
- The sum over detections was best in Brust et al., Active Learning for Deep Object Detection, VISAPP 2019.
  It prefers images with many objects. These take longer to label: the mean per object is given, too.
- Elezi et al., Not All Labels Are Equal, CVPR 2022, found inconsistency between an image and its mirror image
  more reliable than scores, and united both. The product of score and agreement is ours.
"""

from dataclasses import dataclass

import numpy as np

AGREEMENT = "agreement"  # attribute of detections that were merged from several views
LEAST_SCORE = 0.05  # what is less sure counts as background, as in COCO's evaluation of detectron2


@dataclass(frozen=True)
class Uncertainty:
    """The parts of the uncertainty of an image, in expected corrections.

    Args:
        wrong: Of found objects whose score is low.
        disagreement: Of found objects that other views do not find, or find elsewhere.
        missed: Of what scored below the threshold.
        num_objects: Number of found objects.
        num_candidates: Number of detections below the threshold.
    """

    wrong: float
    disagreement: float
    missed: float
    num_objects: int
    num_candidates: int

    @property
    def total(self):
        """Expected corrections, all parts together."""
        return self.wrong + self.disagreement + self.missed

    @property
    def per_object(self):
        """Expected corrections for each object that is found or may be missing; 0 without."""
        return self.total / max(self.num_objects + self.num_candidates, 1)

    @property
    def reason(self):
        """The largest part, in words."""
        if not self.num_objects + self.num_candidates:
            return "nothing found"
        parts = {
            "objects with low scores": self.wrong,
            "views disagree": self.disagreement,
            "objects below the threshold": self.missed,
        }
        return max(parts, key=parts.get)


def image_uncertainty(detections, score_threshold=0.5):
    """Returns the `Uncertainty` of an image.

    Args:
        detections: `Detections` with scores from `LEAST_SCORE` on; lower ones are left out. The attribute
            "agreement" `[N]`, 0 to 1, is that of other views.
        score_threshold: Detections from this score on are objects. Defaults to 0.5.
    """
    scores = detections.scores.astype("float64")
    agreement = np.asarray(detections.attributes.get(AGREEMENT, np.ones(len(scores))), "float64")
    found = scores >= score_threshold
    candidate = ~found & (scores >= LEAST_SCORE)
    return Uncertainty(
        wrong=float((1 - scores[found]).sum()),
        disagreement=float((scores * (1 - agreement))[found].sum()),
        missed=float((scores * agreement)[candidate].sum()),
        num_objects=int(found.sum()),
        num_candidates=int(candidate.sum()),
    )
