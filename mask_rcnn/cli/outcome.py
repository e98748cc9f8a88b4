"""Record of what a run of `mask-rcnn detect` has done so far."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mask_rcnn.cli.inputs import Skipped
from mask_rcnn.data.image_io.image_headers import MAX_PIXELS


@dataclass
class Outcome:
    """Results and messages that a run has collected so far.

    Args:
        results: Entries of a COCO results file. Empty without `--json`. Defaults to empty.
        ranking: Rows of `uncertainty_row`. Empty without `--rank-uncertain`. Defaults to empty.
        failures: A line for each file that failed. Defaults to empty.
        failed: Set of these files. No more frames of them are read. Defaults to empty.
        skipped: `Skipped` files. Defaults to none.
        renamed: Pictures whose name was already in use, as "INPUT -> PICTURE". Defaults to empty.
        used_bits: `{path: used_bits}` of the 16-bit images. Defaults to empty.
        num_frames: Number of images and video frames that are done. Defaults to 0.
        max_pixels: Largest image file that is read, height times width. Defaults to `MAX_PIXELS`.
    """

    results: list[dict[str, Any]] = field(default_factory=list)
    ranking: list[dict[str, Any]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    failed: set[Path] = field(default_factory=set)
    skipped: Skipped = field(default_factory=Skipped)
    renamed: list[str] = field(default_factory=list)
    used_bits: dict[Path, int] = field(default_factory=dict)
    num_frames: int = 0
    max_pixels: int = MAX_PIXELS
