"""Finds different kinds of image files in a data set: bit depth, gray and color, EXIF rotation."""

import numpy as np

from mask_rcnn.config import Config
from mask_rcnn.data.bit_depth import check_bit_depth
from mask_rcnn.data.image_io.exif import UPRIGHT
from mask_rcnn.data.records import Dataset
from mask_rcnn.data_check.decoded_images import DecodedImages
from mask_rcnn.data_check.report import MAX_EXAMPLES, Example, Finding


def bit_findings(dataset: Dataset, config: Config) -> list[Finding]:
    """Returns findings about the bits per sample of the image files, according to their headers.

    Args:
        dataset: `Dataset`.
        config: `Config`.
    """
    deep = np.array([image.bits == 16 for image in dataset.images], bool)
    findings = []
    if 0 < deep.sum() < len(deep):
        findings.append(
            Finding(
                kind="mixed_bits",
                severity="warning",
                title=f"Images of 16 bits per sample among {len(deep) - deep.sum()} of 8 bits",
                count=int(deep.sum()),
                advice="Check that they have the same brightness. `input.bit_depth` sets how many of the 16 "
                "bits are used. It is best to write all files with the same bit depth.",
                examples=_examples(dataset, deep, lambda index: "16 bits per sample"),
            )
        )
    try:
        sentence = check_bit_depth(dataset, config.input.bit_depth, **config.input.pixel_format)
    except (ValueError, OSError) as error:
        sentence = str(error)
    if sentence:
        findings.append(
            Finding(
                kind="unused_bits",
                severity="warning",
                title="16-bit images do not fit `input.bit_depth`",
                count=int(deep.sum()),
                advice="Set `input.bit_depth` to the bits that the camera writes.",
                examples=(Example(text=sentence),),
            )
        )
    return findings


def pixel_findings(dataset: Dataset, decoded: DecodedImages) -> list[Finding]:
    """Returns findings about gray and rotated images.

    Args:
        dataset: `Dataset` of N images.
        decoded: Their `DecodedImages`.
    """
    findings = []
    gray = decoded.gray & decoded.readable
    color = ~decoded.gray & decoded.readable
    if gray.any() and color.any():
        rare, name = (gray, "gray") if gray.sum() <= color.sum() else (color, "in color")
        findings.append(
            Finding(
                kind="mixed_color",
                severity="note",
                title=f"Images are {name}, the other {max(gray.sum(), color.sum())} are not",
                count=int(rare.sum()),
                advice="All become RGB. This is only a problem if some classes occur in only one kind of "
                "image. In this case, add images of both kinds for each class.",
                examples=_examples(dataset, rare, lambda index: name),
            )
        )
    rotated = decoded.orientations > UPRIGHT
    if rotated.any():
        findings.append(
            Finding(
                kind="rotated_images",
                severity="note",
                title="Image files have an EXIF rotation or mirroring, which is applied",
                count=int(rotated.sum()),
                advice="Some annotation tools ignore EXIF. Check that the outlines fit the objects in the "
                "pictures. If not, save the files upright and annotate them again.",
                examples=_examples(
                    dataset,
                    rotated,
                    lambda index: f"orientation {decoded.orientations[index]}",
                    field="file",
                ),
            )
        )
    return findings


def _examples(dataset, is_chosen, text_of, *, field=""):
    """Returns the examples of images. `is_chosen` is `[N]` bool. `text_of` is a function of the index."""
    rows = np.flatnonzero(is_chosen)[:MAX_EXAMPLES]
    return tuple(
        Example(
            text=text_of(row),
            image=dataset.images[row].path.name,
            field=field,
            drawn=((dataset.images[row], None),),
        )
        for row in rows
    )
