"""Kinds of image files in a data set: bits, gray and color, EXIF rotation."""

import numpy as np

from mask_rcnn.data.bit_depth import check_bit_depth
from mask_rcnn.data.exif import UPRIGHT
from mask_rcnn.data_check.report import MAX_EXAMPLES, Example, Finding


def bit_findings(dataset, config):
    """Returns findings about the bits of the image files, which their headers tell.

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
                advice="Look whether they are equally bright: `input.bit_depth` says how many of the 16 bits "
                "are used. Write all files the same way.",
                examples=_examples(dataset, deep, "16 bits per sample"),
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


def pixel_findings(dataset, decoded):
    """Returns findings about gray and rotated images.

    Args:
        dataset: `Dataset` of N images.
        decoded: `DecodedImages` of them.
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
                advice="All become RGB. It is a problem only where the kind of image tells the class: give "
                "each class images of both kinds.",
                examples=_examples(dataset, rare, name),
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
                advice="Some annotation tools ignore EXIF. Look whether the outlines fit the objects in the "
                "pictures; else save the files upright and annotate them again.",
                examples=_examples(
                    dataset, rotated, lambda index: f"orientation {decoded.orientations[index]}", "file"
                ),
            )
        )
    return findings


def _examples(dataset, chosen, text, field=""):
    rows = np.flatnonzero(chosen)[:MAX_EXAMPLES]
    return tuple(
        Example(
            text=text(row) if callable(text) else text,
            image=dataset.images[row].path.name,
            field=field,
            drawn=((dataset.images[row], None),),
        )
        for row in rows
    )
