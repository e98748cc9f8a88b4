"""Ground truth of the mask and keypoint heads: arrays of a fixed shape from a finished `Sample`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MaskGroundTruth:
    """Masks of the objects in their boxes.

    Args:
        max_instances: rows, G.
        side: cells along each side of a mask, M.
    """

    max_instances: int
    side: int

    def ground_truth_spec(self):
        """Returns `{name: (shape without the batch, dtype)}`."""
        return {"gt_masks": ((self.max_instances, self.side, self.side), "uint8")}

    def ground_truth(self, sample):
        """Returns `{name: array}`, with at most G rows."""
        return {"gt_masks": sample.output_masks(self.side)}


@dataclass(frozen=True)
class KeypointGroundTruth:
    """Keypoints of the objects, (y, x, visibility).

    Args:
        max_instances: rows, G.
        num_keypoints: keypoints of an object, J.
    """

    max_instances: int
    num_keypoints: int

    def ground_truth_spec(self):
        """Returns `{name: (shape without the batch, dtype)}`."""
        return {"gt_keypoints": ((self.max_instances, self.num_keypoints, 3), "float32")}

    def ground_truth(self, sample):
        """Returns `{name: array}`, with at most G rows."""
        return {"gt_keypoints": sample.output_keypoints()[: sample.num_objects]}


def ground_truths(config):
    """Returns the ground truth of each head of a `Config` that has one beside boxes and classes."""
    instances, found = config.input.max_instances, []
    if config.mask_head is not None:
        found.append(MaskGroundTruth(instances, config.input.mask_crop_size))
    if config.keypoint_head is not None:
        found.append(KeypointGroundTruth(instances, len(config.keypoint_head.names)))
    return tuple(found)
